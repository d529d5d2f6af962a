"""Reading the log: segments in order, each line held against its checksum, and the tail of a log that goes on growing.

What is read is what is complete; the line that a process is about to write, or was killed at, is not there yet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from cartograph.events.files import SUFFIX
from cartograph.events.framing import Event, unframed


class Segment(NamedTuple):
    """A part of one segment: its events in order, how many lines are damaged, and the place after the last line."""

    name: str
    events: list[Event]
    damaged: int
    end: int


def segments(folder: Path) -> list[Path]:
    """The segments of a log, by day; none where there is no log yet."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def read(path: Path, start: int = 0) -> Segment:
    """The complete lines of a segment from byte `start` on, which must be the beginning of a line.

    A segment that was removed meanwhile is empty.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            content = file.read()
    except FileNotFoundError:
        return Segment(path.name, [], 0, start)
    whole = content[: content.rfind(b"\n") + 1]
    found = [unframed(line) for line in whole.split(b"\n")[:-1]]
    events = [event for event in found if event is not None]
    return Segment(path.name, events, len(found) - len(events), start + len(whole))


class Tail:
    """What has come to a log since it was last asked; at first all that is there, from the day `since` on.

    An event comes twice where its segment was replaced in between: its reader tells events by their id.
    """

    def __init__(self, folder: Path, *, since: str = "") -> None:
        self._folder, self._since = folder, since
        self._ends: dict[str, tuple[int, int]] = {}
        """By name, the file that was read and how far."""

    def new(self, *, but: Collection[str] = ()) -> Iterator[Event]:
        """The events of the log's further lines, by segment, but for those of the segments named in `but`."""
        for path in segments(self._folder):
            if path.name < self._since or path.name in but:
                continue
            try:
                now = path.stat()
            except FileNotFoundError:
                continue
            file, end = self._ends.get(path.name, (now.st_ino, 0))
            if file != now.st_ino:
                end = 0
            if now.st_size > end:
                found = read(path, end)
                self._ends[path.name] = (now.st_ino, found.end)
                yield from found.events
