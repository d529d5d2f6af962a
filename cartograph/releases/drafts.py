"""The local working area of a store: drafts that die with their writer, and the store's lock.

File-system mechanics only. What makes a draft into a release is `store`; where releases are kept is `folder` and `s3`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from cartograph import durable
from cartograph.releases.errors import DamagedRelease, StoreUnavailable, UnfitRelease
from cartograph.releases.manifest import CURE, FileEntry, Manifest


class WorkArea:
    """Drafts beneath `root`, each locked by the process that writes it until that process ends, however it ends.

    `root` itself is on the file system of the drafts, so that a draft moves into it in one rename.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._drafts = root / ".drafts"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that all writers of `root` share. Not re-entrant."""
        with writing(str(self.root)):
            self._drafts.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """An empty folder to write in; gone at the end unless it was moved away. Sweeps first."""
        with self.locked():
            self.sweep()
            path = self._drafts / uuid4().hex
            path.mkdir()
            handle = os.open(path, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(handle)

    def sweep(self) -> None:
        """Delete what dead writers left. Needs the lock: a living writer's draft is locked before others see it."""
        for leftover in self._drafts.iterdir():
            if leftover.is_symlink() or not leftover.is_dir():
                leftover.unlink()
                continue
            handle = os.open(leftover, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            else:
                shutil.rmtree(leftover)
            finally:
                os.close(handle)

    def discard(self, path: Path) -> None:
        """Delete a folder of `root` so that it is there whole or not at all. Needs the lock."""
        doomed = self._drafts / uuid4().hex
        path.rename(doomed)
        durable.sync(self.root)
        shutil.rmtree(doomed)

    def replace(self, path: Path, content: bytes) -> None:
        """Give the file at `path` of `root` new content, durably; readers see the old or the new. Needs the lock."""
        written = self._drafts / uuid4().hex
        durable.write(written, content)
        written.replace(path)
        durable.sync(path.parent)


@contextmanager
def writing(location: str) -> Iterator[None]:
    """Turn the system's refusal to write (no space, no permission) into a StoreUnavailable that names `location`."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"{location} cannot be written: {error.strerror}. "
            "Check its disk, its permissions, CARTOGRAPH_RELEASE_URI and CARTOGRAPH_HOME."
        ) from error


def sealed(folder: Path) -> tuple[FileEntry, ...]:
    """Make the files under `folder` read-only and durable, and list them, sorted by path.

    Raises:
        UnfitRelease: there is no file, or something that is neither a plain file nor a folder, or a bad name.
    """
    entries = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise UnfitRelease(f"{name} is not a plain file. A release holds copies: write the content itself.")
        if path.is_file():
            path.chmod(0o444)
            with path.open("rb") as file:
                os.fsync(file.fileno())
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            try:
                entries.append(FileEntry(path=name, sha256=digest, size=path.stat().st_size))
            except ValueError as error:
                raise UnfitRelease(f"The release cannot be made: {error}") from None
    if not entries:
        raise UnfitRelease("The release cannot be made: nothing was written into its draft.")
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            durable.sync(path)
    return tuple(sorted(entries, key=lambda entry: entry.path))


def verify_folder(folder: Path, manifest: Manifest) -> None:
    """Hold each listed file against its size and SHA-256.

    Raises:
        DamagedRelease: a file is missing, is a link or has another content; the message names all such files.
    """
    damages = [damage for entry in manifest.files if (damage := _damage(folder, entry))]
    if damages:
        raise damaged(manifest.release_id, damages)


def damaged(release: str, damages: list[str]) -> DamagedRelease:
    """The error about the files of `release` that `damages` describes."""
    return DamagedRelease(f"Release {release} is damaged: {'; '.join(damages)}. {CURE}")


def mismatch(entry: FileEntry, sha256: str, size: int) -> str | None:
    """A description of how a content differs from `entry`, or None where it does not."""
    if (sha256, size) == (entry.sha256, entry.size):
        return None
    return f"{entry.path} should have SHA-256 {entry.sha256} ({entry.size} bytes) and has {sha256} ({size} bytes)"


def _damage(folder: Path, entry: FileEntry) -> str | None:
    path = folder / entry.path
    steps = (path, *path.parents)[: entry.path.count("/") + 2]
    if any(step.is_symlink() for step in steps):
        return f"{entry.path} is reached through a link"
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return mismatch(entry, digest, os.fstat(file.fileno()).st_size)
    except OSError as error:
        return f"{entry.path} (SHA-256 {entry.sha256}) cannot be read: {error.strerror}"
