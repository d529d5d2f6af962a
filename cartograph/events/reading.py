"""Reading the log: segments in order, each line held against its checksum.

What is read is what is complete; the line that a process is about to write, or was killed at, is not there yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cartograph.events.files import SUFFIX
from cartograph.events.framing import Event, unframed


class Segment(NamedTuple):
    """One segment: its events in order, and how many lines are damaged."""

    events: list[Event]
    damaged: int


def segments(folder: Path) -> list[Path]:
    """The segments of a log, by day; none where there is no log yet."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def read(path: Path) -> Segment:
    """The complete lines of a segment; one that was removed meanwhile is empty."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Segment([], 0)
    found = [unframed(line) for line in content.split(b"\n")[:-1]]
    events = [event for event in found if event is not None]
    return Segment(events, len(found) - len(events))
