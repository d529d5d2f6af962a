"""Numbers and lists in messages: what every part of the platform says to people.

What a message says stands where it is made.
"""

from __future__ import annotations

from collections.abc import Sequence

_MOST = 10


def counted(number: int, noun: str) -> str:
    """A number with thousands separators and its noun: `1 row`, `1,200 rows`. For nouns that end in `s` as several."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(names: Sequence[str], between: str = ", ") -> str:
    """The first ten of `names`, and how many more there are."""
    more = f"{between}and {len(names) - _MOST:,} more" if len(names) > _MOST else ""
    return f"{between.join(names[:_MOST])}{more}"
