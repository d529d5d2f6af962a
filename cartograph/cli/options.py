"""What is asked of options beside what Typer checks: numbers that are finite, places that can be written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer


def finite(value: float | None) -> float | None:
    """The value; `nan` and `inf`, which Python reads and no bound keeps out, are a mistake."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number to count with.")
    return value


@contextmanager
def written(place: Path) -> Iterator[None]:
    """The block writes at `place`; where that is not possible it is a mistake that names it."""
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError, FileNotFoundError) as error:
        at = f" ({error.filename})" if error.filename and error.filename != str(place) else ""
        raise typer.BadParameter(f"{place} cannot be written: {error.strerror}{at}. Name another place.") from None
