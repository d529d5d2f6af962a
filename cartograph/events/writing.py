"""Appending to the log: what `append` returned from is on the disk, and what it raised at is not acknowledged."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cartograph import durable
from cartograph.events.files import SUFFIX, locked, write_all
from cartograph.events.framing import Event, framed
from cartograph.events.reading import segments

SEGMENT_BYTES = 16 * 1024 * 1024
"""A segment is rewritten, and read, in one piece."""


class LogUnavailableError(OSError):
    """Nothing can be made durable now. The message has the cause and the cure; what was to be appended is not taken."""


class EventSink(Protocol):
    """Where accepted events go. When `append` returns they are durable, all of them, and a reader will see each."""

    def append(self, events: Sequence[Event], at: datetime) -> None:
        """Take the events, which came at `at`, or none of them. Raises LogUnavailableError."""
        ...

    def size(self) -> int:
        """The bytes that are kept for readers, of all writers."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


class SegmentWriter:
    """Appends to segments of its own in `folder`, of one process: processes share the folder and never a file.

    A new segment begins with each UTC day, after 16 MiB, after a failed write, and when the old one was replaced.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder, self._segment_bytes = folder, segment_bytes
        self._file: int | None = None
        self._day = ""

    def append(self, events: Sequence[Event], at: datetime) -> None:
        """Write the events and wait until the disk has them.

        Raises:
            LogUnavailableError: the disk is full or broken. The log is as before.
        """
        content, day = b"".join(map(framed, events)), at.date().isoformat()
        try:
            while not self._appended(content, self._open(day)):
                self.close()  # the segment was replaced, as by an erasure
        except OSError as error:
            self.close()  # after a failed fsync nothing is known of a file's end: no more is written there
            raise LogUnavailableError(
                f"The event log in {self._folder} cannot be written: {error.strerror or error}. Nothing of this was "
                "taken. Make room on its disk, or mend it; the service goes on by itself."
            ) from error

    def size(self) -> int:
        """The bytes of all segments in the folder. One that is removed meanwhile counts nothing."""
        total = 0
        for path in segments(self._folder):
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def close(self) -> None:
        """Close the segment; the next event begins another."""
        if self._file is not None:
            with suppress(OSError):
                os.close(self._file)
            self._file = None

    def _open(self, day: str) -> int:
        if self._file is not None and (day != self._day or os.fstat(self._file).st_size >= self._segment_bytes):
            self.close()
        if self._file is None:
            if not self._folder.is_dir():
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                durable.sync(self._folder.parent)
            name = f"{day}-{secrets.token_hex(6)}{SUFFIX}"
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
            self._file, self._day = os.open(self._folder / name, flags, 0o600), day
            durable.sync(self._folder)
        return self._file

    def _appended(self, content: bytes, file: int) -> bool:
        """Whether `content` is in the segment now; not where the file was replaced before it was locked."""
        with locked(file) as is_there:
            if not is_there:
                return False
            end = os.fstat(file).st_size
            try:
                write_all(file, content)
                os.fsync(file)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(file, end)
                raise
        return True
