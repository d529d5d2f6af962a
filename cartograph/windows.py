"""Time windows: the half-open UTC intervals that partitions, lake overwrites and source reads share.

Pure arithmetic on dates. Dagster's partition definitions are built from these in each code location.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

Grain = Literal["daily", "weekly", "monthly"]


@dataclass(frozen=True, order=True)
class Window:
    """A half-open interval `[start, end)` of aware UTC timestamps."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError(f"a window needs aware timestamps, got {self.start!r} and {self.end!r}")
        if self.start >= self.end:
            raise ValueError(f"a window must end after it starts, got {self.start} to {self.end}")

    @property
    def key(self) -> str:
        """The partition key: the start's date as `YYYY-MM-DD`."""
        return self.start.date().isoformat()

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


def at_midnight(day: date) -> datetime:
    """Midnight UTC at the start of `day`."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def floor(moment: datetime, grain: Grain) -> datetime:
    """The start of the `grain` window that holds `moment`; weeks start on Monday."""
    day = at_midnight(moment.astimezone(UTC).date())
    if grain == "monthly":
        return day.replace(day=1)
    if grain == "weekly":
        return day - timedelta(days=day.weekday())
    return day


def advance(start: datetime, grain: Grain) -> datetime:
    """The start of the window after the one that starts at `start`."""
    if grain == "monthly":
        return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return start + timedelta(days=7 if grain == "weekly" else 1)


def windows(start: datetime, end: datetime, grain: Grain) -> Iterator[Window]:
    """The consecutive `grain` windows that cover `[start, end)`, oldest first; the ends are rounded outwards."""
    left = floor(start, grain)
    while left < end:
        right = advance(left, grain)
        yield Window(left, right)
        left = right
