"""Whether there is room on the disks that a shop is on: on a full one everything fails, each part in words of its own.

SQLite says "disk I/O error", and a child dies before it can say anything. That nothing half-written is taken for whole
is the business of who writes.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from cartograph.cli.console import size
from cartograph.settings import Settings

LEAST_FREE = 4 * 1024**2
"""Bytes. With less, not even Dagster's run history can be written for long: it had grown by as much in one run."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_CURE = "Make room and call it again: what was finished is kept, and the rest is as it was."


def local_folders(settings: Settings) -> list[Path]:
    """The shop's folder, and those outside it that settings put the lake and the releases into."""
    others = (
        Path(uri).expanduser()
        for uri in (settings.resolved_lake_uri, settings.resolved_release_uri)
        if "://" not in uri
    )
    return [settings.shop_home, *(path for path in others if not path.absolute().is_relative_to(settings.shop_home))]


def full_disk(settings: Settings, error: Exception | None = None) -> str | None:
    """What to tell where a disk of the shop is full, or `error` says that it had no room; None where that is not so."""
    for folder in (folder for folder in local_folders(settings) if folder.is_dir()):
        free = shutil.disk_usage(folder).free
        if free < LEAST_FREE:
            return f"The disk of {folder} is full ({size(free)} left). {_CURE}"
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return f"There is no room to write {error.filename or 'a file'} ({error.strerror}). {_CURE}"
    return None
