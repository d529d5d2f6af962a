"""The log of the API's predictions: files of JSON lines in a folder, written by the service and read by the graph.

Each process of the service writes its own file and holds a lock on it, which ends with the process. A file that nobody
holds is whole, but for a line that a crash cut off. What is logged is decided in `api.services.prediction_log`; how it
reaches the lake, in `ecom_assets`.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

SUFFIX = ".jsonl"
_NAME = re.compile(r"\d{8}T\d{12}-[0-9a-f]{8}\.jsonl")
"""Begins with the time at which it was opened, so that names sort by age."""


class Entry(BaseModel):
    """A score that a model gave to a request. Nothing in it says whose it is."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    prediction_id: str = Field(pattern=r"^[0-9a-f]{32}-\d+$")
    predicted_at: AwareDatetime
    model: str
    model_version: str
    release_id: str
    score: float


_ENTRY = TypeAdapter(Entry)


def line(entry: Entry) -> bytes:
    """The entry as a line of the log."""
    return orjson.dumps(entry.model_dump()) + b"\n"


def parse(text: bytes) -> Entry | None:
    """The entry of a line; None where it is not one."""
    try:
        return _ENTRY.validate_json(text)
    except ValidationError:
        return None


class Segment:
    """A file of the log that this process writes."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self._file = path, file

    @classmethod
    def open(cls, folder: Path, now: datetime) -> Segment:
        """Begin a new file in `folder`, which is made where it is not there.

        Raises:
            OSError: it cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            path = folder / f"{now.astimezone(UTC):%Y%m%dT%H%M%S%f}-{uuid4().hex[:8]}{SUFFIX}"
            file = path.open("xb", buffering=0)
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:  # else a reader took it for a dead process's, before the lock
                return cls(path, file)
            file.close()

    def write(self, lines: bytes) -> int:
        """Append lines; the file's size then.

        Raises:
            OSError: they cannot be written, or only in part.
        """
        if self._file.write(lines) != len(lines):
            raise OSError(f"{self.path} took only a part of the lines: is the disk full?")
        return self._file.tell()

    def close(self) -> None:
        """Leave the file to the readers."""
        self._file.close()


def segments(folder: Path) -> list[Path]:
    """The files of the log, oldest first."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if _NAME.fullmatch(path.name))


def whole_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, without the one at the end that is not whole."""
    with path.open("rb") as file:
        for text in file:
            if text.endswith(b"\n"):
                yield text


def drop_unheld(path: Path, size: int) -> bool:
    """Delete a file that no process writes any more and that is no longer than `size`; whether that was so."""
    with suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file.fileno()).st_size <= size:
            path.unlink()
            return True
    return False
