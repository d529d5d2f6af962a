"""What every release store does, wherever it keeps its files: create, list, verify, activate, roll back, prune, fetch.

The order of steps that keeps readers from ever seeing half a release is here; the steps themselves are in `folder`
(a local folder) and `s3` (an object store).
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

from cartograph import durable
from cartograph.releases.drafts import WorkArea, damaged, sealed, writing
from cartograph.releases.errors import (
    DamagedRelease,
    NewerManifest,
    NoRelease,
    RefusedRelease,
    ReleaseError,
    StoreUnavailable,
    UnknownRelease,
    UntrustedRelease,
)
from cartograph.releases.manifest import (
    MANIFEST,
    POINTER,
    SCHEMA_VERSION,
    Manifest,
    Pointer,
    ReleaseInputs,
    checked_id,
    parse_manifest,
    parse_pointer,
    release_id,
)
from cartograph.releases.signing import Signer, TrustedKeys

# Each lost race means that another writer moved the pointer; nobody loses twenty in a row to writers that publish.
_POINTER_ATTEMPTS = 20
_REFUSALS = {"current": "failed", "outdated": "have not run since their data changed", "missing": "have never run"}
"""What is wrong with a check that forbids a release, by the basis of its outcome."""
_NAMED_CHECKS = 10


class Draft:
    """A release in the making: write its files under `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._manifest: Manifest | None = None

    @property
    def manifest(self) -> Manifest:
        """The manifest of the release that the draft became. Raises RuntimeError before that."""
        if self._manifest is None:
            raise RuntimeError("the draft has a manifest only after its `with` block has ended")
        return self._manifest


class ReleaseStore(ABC):
    """Releases in one place, and the pointer to the one that is current. `location` names the place in messages.

    With a `signer` each release is signed that is made here; with `trusted` keys none is taken that they did not sign.
    """

    def __init__(
        self, location: str, work: WorkArea, signer: Signer | None = None, trusted: TrustedKeys | None = None
    ) -> None:
        self.location = location
        self.trusted = trusted
        self._work = work
        self._signer = signer

    @property
    def trusted_ids(self) -> tuple[str, ...]:
        """The ids of the keys of which one must have signed a release; empty where no signature is asked for."""
        return self.trusted.ids if self.trusted else ()

    @contextmanager
    def creating(self, inputs: ReleaseInputs, *, created_at: datetime) -> Iterator[Draft]:
        """A draft that becomes a release, and the current one, when the block ends without an exception.

        The same files give the same release: where it is stored already, it stays as it is, its manifest included,
        unless it is damaged, or not signed by the key that signs here.

        Raises:
            RefusedRelease: a blocking check failed.
            UnfitRelease: the draft is empty, or it holds a link or a bad name.
            StoreUnavailable: the place cannot be written.
        """
        _refuse_failed_checks(inputs)
        with self._work.draft() as folder:
            draft = Draft(folder)
            yield draft
            with writing(self.location):
                manifest = _finished(folder, inputs, created_at, self._signer)
                with self._exclusively():
                    draft._manifest = self._stored(manifest.release_id) or self._place(folder, manifest)
                    self._move_pointer(partial(_moved_to, manifest.release_id), forgiving=True)

    def list(self) -> tuple[Manifest, ...]:
        """The manifests of all releases that can be read, newest first; `unreadable` tells of the others."""
        return tuple(sorted(self._readable(), key=lambda m: (m.created_at, m.release_id), reverse=True))

    def unreadable(self) -> dict[str, ReleaseError]:
        """Why the manifest of a release cannot be read, with the cure, by the release's id."""
        pointer, found = self._pointer(forgiving=True)[0], dict[str, ReleaseError]()
        for release in self.ids():
            try:
                self.get(release)
            except NewerManifest as error:
                found[release] = error
            except DamagedRelease as error:
                is_current = pointer is not None and pointer.current == release
                found[release] = error if is_current else self._useless(release)
        return found

    def get(self, release: str) -> Manifest:
        """The manifest of `release`.

        Raises:
            UnknownRelease: there is no such release.
            DamagedRelease, NewerManifest: its manifest cannot be read.
        """
        return parse_manifest(
            self._read_manifest(checked_id(release)), release, f"{self.location}/{release}/{MANIFEST}"
        )

    def current_id(self) -> str:
        """The id of the current release, cheap enough to be asked every few seconds.

        Raises:
            NoRelease: nothing has been released yet.
        """
        pointer = self._pointer()[0]
        if pointer is None:
            raise self._nothing()
        return pointer.current

    def earlier_id(self, *, leaving: str | None = None) -> str:
        """The id of the release that `rollback` leads to. Raises NoRelease and UnknownRelease as that does."""
        return self._moved_back(self._pointer()[0], leaving).current

    def current(self) -> Manifest:
        """The manifest of the current release.

        Raises:
            NoRelease: nothing has been released yet.
            DamagedRelease, NewerManifest: the pointer or the manifest cannot be read.
        """
        return self.get(self.current_id())

    def history(self) -> tuple[str, ...]:
        """The current release and those that were so before it and are still stored, the latest first.

        Raises:
            NoRelease: nothing has been released yet.
        """
        pointer = self._pointer()[0]
        if pointer is None:
            raise self._nothing()
        stored = set(self.ids())
        earlier = [release for release in reversed(pointer.previous) if release in stored]
        return tuple(dict.fromkeys((pointer.current, *earlier)))

    def activate(self, release: str, *, is_verified: bool = False) -> Manifest:
        """Verify `release` and make it the current one. Who has just verified it says so: that may take long.

        Raises:
            UnknownRelease: there is no such release.
            DamagedRelease, NewerManifest, UntrustedRelease: it cannot be served as it is; the pointer stays.
        """
        with self._exclusively():
            manifest = self.get(release) if is_verified else self.verify(release)
            self._move_pointer(partial(_moved_to, release), forgiving=True)
        return manifest

    def rollback(self, *, leaving: str | None = None, verified: str | None = None) -> Manifest:
        """Make the release current that was so before, skipping those that were pruned since or cannot be read.

        `leaving` is the release to go back from: where another is current, nothing is changed, so that who asks again
        does not go back twice. `verified` is one that the caller has just verified, which is not done again.

        Raises:
            NoRelease: nothing has been released yet, or no earlier release is left.
            UnknownRelease: there is no release `leaving`.
            DamagedRelease, NewerManifest, UntrustedRelease: the earlier one cannot be served as it is; the pointer
                stays.
        """

        def back(pointer: Pointer | None) -> Pointer:
            moved = self._moved_back(pointer, leaving)
            if moved != pointer and moved.current != verified:
                self.verify(moved.current)
            return moved

        with self._exclusively():
            return self.get(self._move_pointer(back).current)

    def prune(self, keep: int) -> tuple[str, ...]:
        """Delete all but `keep` releases, and what dead writers left; gives the ids that were deleted.

        Kept are first the current one, then those to roll back to, then the newest. A release whose manifest cannot
        be read is left alone: its age is unknown.
        """
        if keep < 1:
            raise ValueError(f"at least one release must be kept, not {keep}")
        with self._exclusively():
            self._sweep()
            pointer = self._pointer()[0]
            served = (pointer.current, *reversed(pointer.previous)) if pointer else ()
            known = {m.release_id: m for m in self._readable()}
            by_age = sorted(known, key=lambda found: (known[found].created_at, found), reverse=True)
            wanted = dict.fromkeys([found for found in (*served, *by_age) if found in known])
            doomed = tuple(list(wanted)[keep:])
            for release in doomed:
                self._remove(release)
        return doomed

    def remake(self, change: Callable[[Path], bool]) -> dict[str, str]:
        """Make each release anew whose files `change` alters in a copy of them; the new ids by the old ones.

        For what must not stay in any release, as an erased customer. The new ones take the places of the old in the
        pointer, and have their manifests, but for the files; then the old ones are deleted. What is trusted here is
        signed again where there is a key to do it with. Can be stopped at any point and done again.

        Raises:
            DamagedRelease, NewerManifest: a release cannot be read; nothing was deleted.
            StoreUnavailable: the place cannot be written.
        """
        made: dict[str, str] = {}
        for release in self.ids():
            manifest = self.get(release)
            source = self._fetch(manifest)
            signer = self._signer if self._is_trusted(release) else None
            with self._work.draft() as folder:
                for entry in manifest.files:
                    copy = folder / entry.path
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source / entry.path, copy)
                if change(folder):
                    with writing(self.location):
                        anew = _finished(folder, manifest.inputs, manifest.created_at, signer)
                        with self._exclusively():
                            stored = self._stored(anew.release_id) or self._place(folder, anew)
                            made[release] = stored.release_id
        if made:
            with self._exclusively():
                if self._pointer()[0] is not None:
                    self._move_pointer(partial(_renamed, made))
                for release in made.keys() - set(made.values()):
                    self._remove(release)
        return made

    @abstractmethod
    def ids(self) -> tuple[str, ...]:
        """The ids of all releases, sorted."""

    def verify(self, release: str) -> Manifest:
        """Hold the signature of `release` against the trusted keys, and every file against the manifest; gives that.

        Hidden files, as desktops leave them in folders that they show, are no release's.

        Raises:
            UnknownRelease: there is no such release.
            UntrustedRelease: none of the trusted keys signed it.
            DamagedRelease: a file differs, and the message names it with the expected and the found checksum; or there
                is one that the manifest does not name.
            NewerManifest: the manifest cannot be read.
        """
        manifest = self._signed(release)
        self._verify_files(manifest)
        self._require_named(manifest)
        return manifest

    def fetch(self, release: str) -> Path:
        """A local folder with the verified files of `release`, not to be written to. Raises as `verify` does."""
        return self.take(release)[0]

    def take(self, release: str) -> tuple[Path, Manifest]:
        """As `fetch`, with the manifest that the files were held against. Raises as `verify` does."""
        manifest = self._signed(release)
        folder = self._fetch(manifest)
        self._require_named(manifest)
        return folder, manifest

    @abstractmethod
    def token(self, release: str) -> str:
        """What changes as soon as a file of `release` does, without reading the files. Raises UnknownRelease."""

    @abstractmethod
    def _names(self, release: str) -> set[str]:
        """The names of all that is stored with `release`, its manifest and what is not a release's file included."""

    @abstractmethod
    def _verify_files(self, manifest: Manifest) -> None:
        """Hold every file against the manifest. Raises DamagedRelease."""

    @abstractmethod
    def _fetch(self, manifest: Manifest) -> Path:
        """A local folder with the verified files of the release. Raises DamagedRelease."""

    @abstractmethod
    def _exclusively(self) -> AbstractContextManager[None]:
        """Keep other writers from the store, where the place knows locks."""

    @abstractmethod
    def _sweep(self) -> None:
        """Delete what dead writers left. Runs inside `_exclusively`."""

    @abstractmethod
    def _place(self, folder: Path, manifest: Manifest) -> Manifest:
        """Store a finished draft under its id, where there is nothing yet."""

    @abstractmethod
    def _remove(self, release: str) -> None:
        """Delete a release, so that it is there whole or not at all."""

    @abstractmethod
    def _read_manifest(self, release: str) -> bytes:
        """The manifest file of `release`. Raises UnknownRelease."""

    @abstractmethod
    def _read_pointer(self) -> tuple[bytes | None, str]:
        """The pointer file, None where there is none, and a token for its state."""

    @abstractmethod
    def _write_pointer(self, content: bytes, token: str) -> bool:
        """Swap the pointer file; False where another writer has done so since `token` was given."""

    def _pointer(self, *, forgiving: bool = False) -> tuple[Pointer | None, str]:
        raw, token = self._read_pointer()
        try:
            return (None if raw is None else parse_pointer(raw, f"{self.location}/{POINTER}")), token
        except DamagedRelease:
            if forgiving:
                return None, token
            raise

    # `forgiving`: a damaged pointer, about to be replaced, counts as none: its repair, at the price of its history.
    def _move_pointer(self, move: Callable[[Pointer | None], Pointer], *, forgiving: bool = False) -> Pointer:
        for _ in range(_POINTER_ATTEMPTS):
            pointer, token = self._pointer(forgiving=forgiving)
            moved = move(pointer)
            if moved == pointer or self._write_pointer(moved.model_dump_json(indent=2).encode(), token):
                return moved
        raise StoreUnavailable(f"{self.location}/{POINTER} is being changed by others all the time. Try again.")

    def _moved_back(self, pointer: Pointer | None, leaving: str | None) -> Pointer:
        """The pointer after a rollback; itself where `leaving` is not current."""
        if leaving is not None and pointer is not None and pointer.current != checked_id(leaving):
            if leaving not in self.ids():
                raise self._unknown(leaving)
            return pointer
        stored, unreadable = self.ids(), self.unreadable()
        earlier = pointer.moved_back(stored) if pointer else None
        if pointer is None or earlier is None:
            raise self._nothing_earlier()
        readable = pointer.moved_back(set(stored) - unreadable.keys())
        if readable is None:
            raise unreadable[earlier.current]
        return readable

    def _stored(self, release: str) -> Manifest | None:
        """The manifest of `release` where it is stored already; one not fit to stay is removed, to be stored anew."""
        if release not in self.ids():
            return None
        try:
            manifest = self.verify(release)
        except (DamagedRelease, UntrustedRelease):
            manifest = None
        by = manifest.signature.key_id if manifest and manifest.signature else None
        if manifest is None or (self._signer and self._signer.key_id != by):
            self._remove(release)
            return None
        return manifest

    def _signed(self, release: str) -> Manifest:
        """The manifest of `release`, read once: its signature is over what is parsed."""
        raw = self._read_manifest(checked_id(release))
        where = f"{self.location}/{release}/{MANIFEST}"
        if self.trusted is not None:
            self.trusted.check(raw, where)
        return parse_manifest(raw, release, where)

    def _require_named(self, manifest: Manifest) -> None:
        """Raise DamagedRelease where a file is stored with the release that is not hidden, and not in its manifest."""
        unnamed = self._names(manifest.release_id) - {MANIFEST, *(entry.path for entry in manifest.files)}
        if foreign := sorted(name for name in unnamed if not any(part.startswith(".") for part in name.split("/"))):
            raise damaged(manifest.release_id, [f"{name} is not in its manifest" for name in foreign])

    def _is_trusted(self, release: str) -> bool:
        try:
            self._signed(release)
        except UntrustedRelease:
            return False
        return True

    def _nothing(self) -> NoRelease:
        return NoRelease(f"There is no release in {self.location} yet. Make one with `cartograph run`.")

    def _nothing_earlier(self) -> NoRelease:
        return NoRelease(f"There is no earlier release in {self.location} to go back to.")

    def _useless(self, release: str) -> DamagedRelease:
        return DamagedRelease(
            f"The manifest of {release} is damaged or missing, so that release can be neither served nor rolled back "
            f"to. Put {self.location}/{release} back from a backup, or delete it."
        )

    def _unknown(self, release: str) -> UnknownRelease:
        known = ", ".join(self.ids()) or "none"
        return UnknownRelease(
            f"There is no release {release} in {self.location}. There: {known}. `cartograph run` makes a new one."
        )

    def _readable(self) -> Iterator[Manifest]:
        for release in self.ids():
            try:
                yield self.get(release)
            except (DamagedRelease, NewerManifest):
                continue


def _refuse_failed_checks(inputs: ReleaseInputs) -> None:
    if not inputs.forbidden_by or inputs.override is not None:
        return
    by_reason: dict[str, list[str]] = {}
    for check in inputs.forbidden_by:
        reason = _REFUSALS[check.basis] if check.held_by is None else f"found errors in what {check.held_by} is made of"
        by_reason.setdefault(reason, []).append(f"{check.name} of {check.asset_key}")
    reasons = "; ".join(f"{reason}: {_some(checks)}" for reason, checks in by_reason.items())
    raise RefusedRelease(
        f"Nothing is released: blocking checks {reasons}. Mend what they found, and `cartograph run` again; the UI "
        "shows each check beside its asset.",
        inputs.forbidden_by,
    )


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED_CHECKS
    return ", ".join(names[:_NAMED_CHECKS]) + (f" and {more} more" if more > 0 else "")


def _finished(folder: Path, inputs: ReleaseInputs, created_at: datetime, signer: Signer | None) -> Manifest:
    """Seal the draft in `folder` and put its manifest in, signed where there is a signer, all of it on the disk."""
    files = sealed(folder)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        release_id=release_id(inputs.as_of, files),
        created_at=created_at,
        inputs=inputs,
        files=files,
    )
    if signer is not None:
        manifest = manifest.model_copy(update={"signature": signer.sign(manifest.model_dump(mode="json"))})
    path = folder / MANIFEST
    durable.write(path, manifest.model_dump_json(indent=2).encode())
    path.chmod(0o444)
    durable.sync(folder)
    return manifest


def _renamed(names: Mapping[str, str], pointer: Pointer | None) -> Pointer:
    if pointer is None:
        raise NoRelease("The pointer to the current release has just been deleted. Try again.")
    return pointer.renamed(names)


def _moved_to(release: str, pointer: Pointer | None) -> Pointer:
    return pointer.moved_to(release) if pointer else Pointer(current=release)
