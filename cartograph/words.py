"""Numbers in messages: what every part of the platform says to people. What a message says stands where it is made."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number with thousands separators and its noun: `1 row`, `1,200 rows`. For nouns that end in `s` as several."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
