"""Changing a log while services may write to it: mending torn ends, taking customers out, removing what is not needed.

A segment is changed under its lock and replaced as a whole; its writer then begins another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from cartograph import durable
from cartograph.events.files import locked, opened
from cartograph.events.framing import Event, framed
from cartograph.events.reading import read, segments

_CHUNK = 64 * 1024
_REMOVED = "removed.json"


def recover(folder: Path) -> dict[str, int]:
    """Cut off what processes that were killed left half-written; by segment, how many bytes that was.

    No event in it was acknowledged: that takes a whole line, and the disk's word for it.
    """
    cut: dict[str, int] = {}
    for path in segments(folder):
        with opened(path, os.O_RDWR) as file, locked(file) as is_there:
            size, end = os.fstat(file).st_size, _last_end(file)
            if is_there and end < size:
                os.ftruncate(file, end)
                os.fsync(file)
                cut[path.name] = size - end
    return cut


def rewrite(folder: Path, change: Callable[[Sequence[Event]], Sequence[Event]]) -> list[str]:
    """Replace the events of each segment by what `change` makes of them; the segments that it changed.

    Stopped anywhere, each segment is either the old or the new one. Damaged lines of a changed one are gone. One
    process at a time does this.
    """
    for left in folder.glob(".*.new"):  # by one that was killed
        left.unlink()
    changed = []
    for path in segments(folder):
        with opened(path, os.O_RDONLY) as file, locked(file) as is_there:
            found = read(path)
            events = change(found.events) if is_there else found.events
            if list(events) == found.events:
                continue
            durable.replace(path, b"".join(map(framed, events)))
            changed.append(path.name)
    return changed


def remove(folder: Path, is_done: Callable[[str, Sequence[Event]], bool]) -> list[str]:
    """Remove the segments of which, by name and events, `is_done` is true; their names, which `removed` gives later."""
    gone = []
    for path in segments(folder):
        with opened(path, os.O_RDONLY) as file, locked(file) as is_there:
            found = read(path)
            if is_there and not found.damaged and is_done(path.name, found.events):
                durable.replace(folder / _REMOVED, orjson.dumps([*removed(folder), path.name]))
                path.unlink()
                gone.append(path.name)
    if gone:
        durable.sync(folder)
    return gone


def removed(folder: Path) -> list[str]:
    """The segments that were removed from a log, oldest first: what they held, others have."""
    path = folder / _REMOVED
    names: list[str] = orjson.loads(path.read_bytes()) if path.is_file() else []
    return names


def _last_end(file: int) -> int:
    """The place behind the last line feed of an open file."""
    end = os.fstat(file).st_size
    while end > 0:
        start = max(0, end - _CHUNK)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
