"""What writing and rewriting a segment have in common: names and the lock.

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
