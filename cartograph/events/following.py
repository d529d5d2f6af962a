"""Following the log: what its end holds, and then what any process appends to it, each event as soon as it is there.

A follower keeps the segments that grow open. So it reads what an erasure's rewriting or a removal takes from their
folder to the end, and never looks into what was put in their place: there is nothing new in it.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cartograph.events.framing import Event, unframed
from cartograph.events.reading import segments

MOST_OPEN = 128
"""Segments, those that grew last: a process of the service appends to one."""
_DAY = len("2026-01-31")

logger = logging.getLogger(__name__)


class _Open(NamedTuple):
    """A segment: its open file, and the place behind the last line that was read."""

    file: int
    place: int


class Follower:
    """Follows the log in `folder`, from so many bytes before its end on. One thread at a time may call it."""

    def __init__(self, folder: Path, *, first_bytes: int) -> None:
        self._folder, self._first_bytes = folder, first_bytes
        self._begun = False
        self._known: set[str] = set()
        self._open: OrderedDict[str, _Open] = OrderedDict()  # the one that grew last is the last

    def new(self) -> list[Event]:
        """The events that have come since the last call, of all processes, by when they happened.

        An event may be told again, as one that two processes took. It is told as soon as its line is whole, which may
        be a moment before the disk has it. A segment that cannot be read is passed over and logged.

        Raises:
            OSError: the folder cannot be read now; call again.
        """
        self._look()
        events = [event for name in list(self._open) for event in self._appended(name)]
        while len(self._open) > MOST_OPEN:
            self._let_go(next(iter(self._open)))
        return sorted(events, key=lambda event: event["occurred_at"])

    def close(self) -> None:
        """Let go of the segments."""
        for name in list(self._open):
            self._let_go(name)

    def _look(self) -> None:
        """Open the segments that are new; at first the latest, until what is to be read of them is enough."""
        there = {path.name: path for path in segments(self._folder)}
        found = sorted(((*_age(path), path) for name, path in there.items() if name not in self._known), reverse=True)
        left = self._first_bytes
        for *_, path in found if self._begun else found[:MOST_OPEN]:
            left -= self._begin(path, None if self._begun else left)
        if not self._begun:
            self._open = OrderedDict(reversed(self._open.items()))
        self._known = set(there)
        self._begun = True

    def _begin(self, path: Path, most: int | None) -> int:
        """Follow a segment, from at most so many bytes before its end on; how many are to be read."""
        try:
            file = os.open(path, os.O_RDONLY)
        except (FileNotFoundError, PermissionError) as error:
            if isinstance(error, PermissionError):
                logger.warning("Event log: %s cannot be followed: %s", path.name, error.strerror)
            self._known.add(path.name)
            return 0
        self._known.add(path.name)
        size = os.fstat(file).st_size
        taken = size if most is None else min(size, most)
        self._open[path.name] = _Open(file, size - taken)  # amid a line: what is left of it fails its checksum
        return taken

    def _appended(self, name: str) -> list[Event]:
        """The whole lines behind those that were read of a segment. One that is out of its folder is let go of.

        One that is full is not: of the write that filled it, more may be to come.
        """
        file, place = self._open[name]
        try:
            found = os.fstat(file)  # before reading: nothing is appended to what is out of its folder
            content = os.pread(file, found.st_size - place, place) if found.st_size > place else b""
        except OSError as error:
            logger.warning("Event log: %s is no longer followed: %s", name, error.strerror)
            self._let_go(name)
            return []
        end = content.rfind(b"\n") + 1
        if end:
            self._open[name] = _Open(file, place + end)
            self._open.move_to_end(name)
        if found.st_nlink == 0:
            self._let_go(name)
        events = map(unframed, content[:end].split(b"\n")[:-1])
        return [event for event in events if event is not None]

    def _let_go(self, name: str) -> None:
        with suppress(OSError):
            os.close(self._open.pop(name).file)


def _age(path: Path) -> tuple[str, int]:
    """When a segment was written last, as far as can be told: rewriting gives it another time, and not another day."""
    try:
        return path.name[:_DAY], path.stat().st_mtime_ns
    except FileNotFoundError:
        return path.name[:_DAY], 0
