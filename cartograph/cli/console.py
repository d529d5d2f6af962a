"""The two consoles (results, errors) and how numbers and sizes are written on them."""

from __future__ import annotations

from rich.console import Console

output = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def count(number: int | None) -> str:
    """A count with thousands separators, or a dash where there is none."""
    return "–" if number is None else f"{number:,}"


def size(number: int) -> str:
    """A size in bytes in a unit that a reader takes in."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
