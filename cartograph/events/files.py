"""What writing and rewriting a segment have in common: names, the lock, and making a file's place in a folder durable.

A segment is locked (`flock`) only while something is appended to it or it is replaced. Who waited for the lock of a
file that was replaced meanwhile holds one that no folder names any more, sees that, and turns to another.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUFFIX = ".log"


@contextmanager
def locked(file: int) -> Iterator[bool]:
    """Hold the lock of an open file; whether the file is still in its folder."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield os.fstat(file).st_nlink > 0
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """An open file, closed with the block; one that is made is its owner's only."""
    file = os.open(path, flags, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def write_all(file: int, content: bytes) -> None:
    """Write all of `content`: a write to a full disk, or of much, may take a part only."""
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]


def make_entries_durable(folder: Path) -> None:
    """Have the names in `folder` on the disk: a durable file is lost if its name is."""
    with opened(folder, os.O_RDONLY) as file:
        os.fsync(file)


def replace(path: Path, content: bytes) -> None:
    """Make `content` what a file holds: at any moment the disk has the old one or the new one."""
    aside = path.with_name(f".{path.name}.new")
    with opened(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
        write_all(file, content)
        os.fsync(file)
    aside.replace(path)
    make_entries_durable(path.parent)
