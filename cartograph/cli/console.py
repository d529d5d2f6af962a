"""The two consoles (results, errors) and how numbers and sizes are written on them."""

from __future__ import annotations

import os
import sys

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.style import StyleType
from rich.table import Table
from rich.text import Text

WIDE = 400
"""Columns of what is no terminal: a file or another program has no width to fit into, so nothing is broken or cut."""

output = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE)
errors = Console(stderr=True, highlight=False)


def say_error(heading: str, message: str) -> None:
    """Print a message on the error channel as it is: not wrapped, and no part of it taken for markup."""
    errors.print(f"[bold red]{heading}[/] {escape(message)}", soft_wrap=True)


def say_warning(message: str) -> None:
    """Print a message that stops nothing on the error channel, as it is."""
    errors.print(f"[yellow]Warning:[/] {escape(message)}", soft_wrap=True)


def say(text: str) -> None:
    """Print a line that a reader may copy from: never broken, whatever the width of the terminal."""
    output.print(text, soft_wrap=True)


class _Plain(Table):
    """A table whose cells are printed as they are: what somebody wrote is not taken for markup."""

    def add_row(self, *cells: RenderableType | None, style: StyleType | None = None, end_section: bool = False) -> None:
        """Add a row."""
        plain = (Text(cell) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*plain, style=style, end_section=end_section)


def names_and_numbers(*names: str, numbers: tuple[str, ...] = (), title: str | None = None) -> Table:
    """A table whose columns of names, which other commands take, are folded and never cut off."""
    table = _Plain(title=title, title_justify="left", header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    for number in numbers:
        table.add_column(number, justify="right")
    return table


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
