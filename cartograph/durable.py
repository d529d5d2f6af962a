"""Files that are on the disk once they are written, and whole: whatever stops the process, or the machine."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk. Its folder's entry is the caller's to `sync`."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Wait until the entries of `folder` are on the disk: a durable file is lost if its name is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(path: Path, content: bytes) -> None:
    """Make `content` what a file holds, for its owner only: at any moment the disk has the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    write(aside, content)
    aside.replace(path)
    sync(path.parent)
