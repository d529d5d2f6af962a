"""Releases in S3 or a store that speaks its protocol: files first, then the manifest, then the pointer object.

A release is there when its manifest is; the pointer is swapped by a conditional write. Readers work on verified local
copies, kept in a cache folder. What is common to all stores is in `store`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError

from cartograph.releases.drafts import WorkArea, damaged, mismatch, verify_folder
from cartograph.releases.errors import DamagedRelease, StoreUnavailable
from cartograph.releases.manifest import MANIFEST, POINTER, RELEASE_ID, Manifest, checked_id
from cartograph.releases.signing import Signer, TrustedKeys
from cartograph.releases.store import ReleaseStore

_MISSING = {"NoSuchKey", "404"}
_LOST_RACE = {"PreconditionFailed", "ConditionalRequestConflict"}
_CHUNK = 1 << 20
ABANDONED_AFTER = timedelta(days=1)
"""Age at which objects without a manifest are taken for a dead writer's; no upload of a release lasts that long."""


class S3Store(ReleaseStore):
    """Releases under `s3://bucket/prefix`, with drafts and fetched copies in the local folder `cache`."""

    def __init__(
        self,
        client: Any,
        bucket: str,
        prefix: str,
        cache: Path,
        abandoned_after: timedelta = ABANDONED_AFTER,
        signer: Signer | None = None,
        trusted: TrustedKeys | None = None,
    ) -> None:
        super().__init__("/".join(filter(None, (f"s3://{bucket}", prefix))), WorkArea(cache), signer, trusted)
        self._client = client
        self._bucket = bucket
        self._base = f"{prefix}/" if prefix else ""
        self._cache = cache
        self._abandoned_after = abandoned_after

    def ids(self) -> tuple[str, ...]:
        """The ids of all releases, sorted."""
        return tuple(sorted(release for release, names in self._objects().items() if MANIFEST in names))

    def token(self, release: str) -> str:
        """What changes as soon as an object of `release` does; see `ReleaseStore.token`."""
        found = []
        with self._asking():
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._key(f"{checked_id(release)}/")):
                found += [f"{item['Key']} {item['ETag']} {item['LastModified']}\n" for item in page.get("Contents", ())]
        if not found:
            raise self._unknown(release)
        return hashlib.sha256("".join(found).encode()).hexdigest()

    def _names(self, release: str) -> set[str]:
        return set(self._objects().get(release, ()))

    def _verify_files(self, manifest: Manifest) -> None:
        release, damages = manifest.release_id, []
        for entry in manifest.files:
            digest = hashlib.sha256()
            size = 0
            try:
                for chunk in self._content(f"{release}/{entry.path}"):
                    digest.update(chunk)
                    size += len(chunk)
            except FileNotFoundError:
                damages.append(f"{entry.path} (SHA-256 {entry.sha256}) is missing")
                continue
            damage = mismatch(entry, digest.hexdigest(), size)
            damages.extend([damage] if damage else [])
        if damages:
            raise damaged(release, damages)

    def _fetch(self, manifest: Manifest) -> Path:
        """Download the release into the cache, unless it is there unharmed."""
        release = manifest.release_id
        target = self._cache / release
        try:
            verify_folder(target, manifest)
        except DamagedRelease:
            with self._work.draft() as folder:
                for entry in manifest.files:
                    self._download(f"{release}/{entry.path}", folder / entry.path)
                verify_folder(folder, manifest)
                for entry in manifest.files:
                    (folder / entry.path).chmod(0o444)  # served from here: what is mapped must not be cut short
                with self._work.locked():
                    self._put_in_cache(folder, release)
        return target

    # No lock: a conditional write of the manifest makes a release, one of the pointer moves it; one writer wins each.
    def _exclusively(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _sweep(self) -> None:
        with self._asking():
            answer = self._client.head_bucket(Bucket=self._bucket)
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        for release, names in self._objects().items():
            if MANIFEST not in names and max(names.values()) <= now - self._abandoned_after:
                self._delete(f"{release}/{name}" for name in names)

    def _place(self, folder: Path, manifest: Manifest) -> Manifest:
        self._sweep()
        release = manifest.release_id
        with self._asking():
            for entry in manifest.files:
                self._client.upload_file(str(folder / entry.path), self._bucket, self._key(f"{release}/{entry.path}"))
        if self._put(f"{release}/{MANIFEST}", (folder / MANIFEST).read_bytes(), IfNoneMatch="*"):
            return manifest
        return self.get(release)

    def _remove(self, release: str) -> None:
        self._delete([f"{release}/{MANIFEST}"])
        self._delete(f"{release}/{name}" for name in self._objects().get(release, {}))
        with self._work.locked():
            if (self._cache / release).is_dir():
                self._work.discard(self._cache / release)

    def _read_manifest(self, release: str) -> bytes:
        try:
            return b"".join(self._content(f"{release}/{MANIFEST}"))
        except FileNotFoundError:
            raise self._unknown(release) from None

    def _read_pointer(self) -> tuple[bytes | None, str]:
        with self._asking():
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key(POINTER))
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None, ""
                raise
            return answer["Body"].read(), answer["ETag"]

    def _write_pointer(self, content: bytes, token: str) -> bool:
        return self._put(POINTER, content, **({"IfMatch": token} if token else {"IfNoneMatch": "*"}))

    def _key(self, name: str) -> str:
        return f"{self._base}{name}"

    def _objects(self) -> dict[str, dict[str, datetime]]:
        """By release id, the names of its objects and when each was written; half-uploaded ones included."""
        found: dict[str, dict[str, datetime]] = {}
        with self._asking():
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._base):
                for item in page.get("Contents", ()):
                    release, _, name = item["Key"].removeprefix(self._base).partition("/")
                    if name and RELEASE_ID.fullmatch(release):
                        found.setdefault(release, {})[name] = item["LastModified"]
        return found

    def _content(self, name: str) -> Iterator[bytes]:
        with self._asking():
            try:
                body = self._client.get_object(Bucket=self._bucket, Key=self._key(name))["Body"]
            except ClientError as error:
                if _code(error) in _MISSING:
                    raise FileNotFoundError(name) from None
                raise
            yield from body.iter_chunks(_CHUNK)

    def _put(self, name: str, content: bytes, **condition: str) -> bool:
        with self._asking():
            try:
                self._client.put_object(Bucket=self._bucket, Key=self._key(name), Body=content, **condition)
            except ClientError as error:
                if _code(error) in _LOST_RACE:
                    return False
                raise
        return True

    def _delete(self, names: Iterable[str]) -> None:
        with self._asking():
            for name in names:
                self._client.delete_object(Bucket=self._bucket, Key=self._key(name))

    def _download(self, name: str, path: Path) -> None:
        """Copy an object to `path`; a missing one is left out, for the verification to name with all others."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._asking():
            try:
                self._client.download_file(self._bucket, self._key(name), str(path))
            except ClientError as error:
                if _code(error) not in _MISSING:
                    raise

    def _put_in_cache(self, folder: Path, release: str) -> None:
        stored = self.ids()
        for copy in self._cache.iterdir():
            if RELEASE_ID.fullmatch(copy.name) and (copy.name == release or copy.name not in stored):
                self._work.discard(copy)
        folder.rename(self._cache / release)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError, S3UploadFailedError) as error:
            raise StoreUnavailable(
                f"{self.location} cannot be used: {error}. "
                "Check CARTOGRAPH_RELEASE_URI, CARTOGRAPH_S3_ENDPOINT_URL and the AWS credentials."
            ) from error


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])
