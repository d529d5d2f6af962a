"""Releases in a local folder: a release is moved in by one rename, the pointer is replaced by one rename.

Readers take no lock and write nothing, so a read-only mount serves. What is common to all stores is in `store`.
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from pathlib import Path

from cartograph import durable
from cartograph.releases.drafts import WorkArea, verify_folder
from cartograph.releases.errors import DamagedRelease, StoreUnavailable
from cartograph.releases.manifest import CURE, MANIFEST, POINTER, RELEASE_ID, Manifest, checked_id
from cartograph.releases.signing import Signer, TrustedKeys
from cartograph.releases.store import ReleaseStore


class FolderStore(ReleaseStore):
    """Releases in the folder `root`, which is made when the first one is."""

    def __init__(self, root: Path, signer: Signer | None = None, trusted: TrustedKeys | None = None) -> None:
        super().__init__(str(root), WorkArea(root), signer, trusted)
        self._root = root

    def ids(self) -> tuple[str, ...]:
        """The ids of all releases, sorted."""
        if not self._root.is_dir():
            return ()
        return tuple(sorted(path.name for path in self._root.iterdir() if RELEASE_ID.fullmatch(path.name)))

    def token(self, release: str) -> str:
        """What changes as soon as a file of `release` does; see `ReleaseStore.token`."""
        folder = self._root / checked_id(release)
        if not folder.is_dir():
            raise self._unknown(release)
        found = hashlib.sha256()
        for path in sorted(folder.rglob("*")):
            state = path.lstat()
            found.update(f"{path} {state.st_ino} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}\n".encode())
        return found.hexdigest()

    def _names(self, release: str) -> set[str]:
        folder = self._root / release
        return {
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or path.is_file()
        }

    def _verify_files(self, manifest: Manifest) -> None:
        verify_folder(self._root / manifest.release_id, manifest)

    def _fetch(self, manifest: Manifest) -> Path:
        self._verify_files(manifest)
        return self._root / manifest.release_id

    def _exclusively(self) -> AbstractContextManager[None]:
        return self._work.locked()

    def _sweep(self) -> None:
        self._work.sweep()

    def _place(self, folder: Path, manifest: Manifest) -> Manifest:
        folder.rename(self._root / manifest.release_id)
        durable.sync(self._root)
        return manifest

    def _remove(self, release: str) -> None:
        self._work.discard(self._root / release)

    def _read_manifest(self, release: str) -> bytes:
        folder = self._root / release
        if not folder.exists():
            raise self._unknown(release)
        path = folder / MANIFEST
        if folder.is_symlink() or path.is_symlink():
            raise DamagedRelease(f"{path} is reached through a link, and releases hold none. {CURE}")
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise DamagedRelease(f"{path} is missing. {CURE}") from None

    def _read_pointer(self) -> tuple[bytes | None, str]:
        try:
            return (self._root / POINTER).read_bytes(), ""
        except FileNotFoundError:
            return None, ""
        except OSError as error:
            raise StoreUnavailable(
                f"{self._root / POINTER} cannot be read: {error.strerror}. "
                "Check CARTOGRAPH_RELEASE_URI and CARTOGRAPH_HOME."
            ) from None

    def _write_pointer(self, content: bytes, token: str) -> bool:  # noqa: ARG002 - the lock keeps others out
        self._work.replace(self._root / POINTER, content)
        return True
