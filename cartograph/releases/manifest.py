"""The manifest of a release and the pointer to the current one: their form, their reading, and the checks on names.

No reading or writing of places: that is `folder` and `s3`. What the files of a release mean is `contents`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from cartograph.releases.errors import DamagedRelease, NewerManifest, UnknownRelease
from cartograph.releases.signing import Signature

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
POINTER = "current.json"
RELEASE_ID = re.compile(r"\d{4}-\d{2}-\d{2}-[0-9a-f]{12}")
HISTORY = 20
"""How many earlier releases the pointer remembers to roll back to."""

CURE = "Publish again with `cartograph run`, or go back with `cartograph release rollback`."
"""What to do about a damaged release."""

# An allow-list: what it admits is one plain name on every file system and in every object store, and never climbs.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]*")


def _plain_path(path: str) -> str:
    if path == MANIFEST or not all(_NAME.fullmatch(part) for part in path.split("/")):
        raise ValueError(
            f"{path!r} cannot be the name of a file in a release: take plain names of letters, digits and _ . = - "
            f"joined by /, other than {MANIFEST}"
        )
    return path


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class FileEntry(_Frozen):
    """One file of a release: its path relative to the release, its SHA-256 (hex) and its size in bytes."""

    path: Annotated[str, AfterValidator(_plain_path)]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class CheckOutcome(_Frozen):
    """The result of one asset check at the time of the release.

    `basis` says whether it was found on the asset's current data, on data that has been replaced since, or never;
    `held_by` is an asset that is still made of rows in which the check once found an error.
    """

    asset_key: str = Field(examples=["marts/fct_orders"])
    name: str = Field(examples=["order_id_is_unique"])
    passed: bool = Field(examples=[True])
    severity: Literal["WARN", "ERROR"]
    blocking: bool = Field(examples=[True])
    basis: Literal["current", "outdated", "missing"] = "current"
    held_by: str | None = Field(default=None, examples=["predictions/churn_scores"])

    @property
    def forbids(self) -> bool:
        """Whether this outcome must keep its asset from being released."""
        has_failed = not self.passed and self.severity == "ERROR"
        return self.blocking and (self.basis != "current" or has_failed or self.held_by is not None)


def _plain_text(text: str) -> str:
    if not text.isprintable():
        raise ValueError("take one line of printable characters")
    return text


class Override(_Frozen):
    """Who decided, and why, that a release goes out although blocking checks forbid it: in words, on one line."""

    model_config = ConfigDict(str_strip_whitespace=True)

    by: Annotated[str, AfterValidator(_plain_text)] = Field(min_length=1, max_length=100)
    reason: Annotated[str, AfterValidator(_plain_text)] = Field(min_length=10, max_length=1000)


class ReleaseInputs(_Frozen):
    """What a release was made from, in enough detail to make it again.

    `as_of` is the date before which all data lies, `window` the half-open UTC interval of that data, `snapshots` the
    lake snapshot id of each table that was read, `models` the version of each model by name.
    """

    as_of: date
    window: tuple[AwareDatetime, AwareDatetime]
    shop: str
    snapshots: dict[str, int]
    models: dict[str, str]
    git_commit: str | None
    checks: tuple[CheckOutcome, ...]
    override: Override | None = None

    @property
    def forbidden_by(self) -> tuple[CheckOutcome, ...]:
        """The outcomes that forbid the release."""
        return tuple(check for check in self.checks if check.forbids)


class Manifest(_Frozen):
    """All there is to know about a release. `files` is sorted by path, and `release_id` follows from it.

    `signature` is over all the rest, see `signing`; None where nobody signed it.
    """

    schema_version: int
    release_id: str
    created_at: AwareDatetime
    inputs: ReleaseInputs
    files: tuple[FileEntry, ...] = Field(min_length=1)
    signature: Signature | None = None

    @model_validator(mode="after")
    def _id_follows_from_files(self) -> Self:
        expected = release_id(self.inputs.as_of, self.files)
        if self.release_id != expected:
            raise ValueError(f"the listed files make it {expected}, but it calls itself {self.release_id}")
        return self

    def file(self, path: str) -> FileEntry | None:
        """The entry of the file at `path`, or None where the release has no such file."""
        return next((entry for entry in self.files if entry.path == path), None)


class Pointer(_Frozen):
    """Which release is current, and those that were current before it, the latest last."""

    schema_version: int = SCHEMA_VERSION
    current: str = Field(pattern=f"^{RELEASE_ID.pattern}$")
    previous: tuple[str, ...] = ()

    def moved_to(self, target: str) -> Pointer:
        """The pointer after `target` was made current; itself where it is current already."""
        if target == self.current:
            return self
        return Pointer(current=target, previous=(*self.previous, self.current)[-HISTORY:])

    def renamed(self, names: Mapping[str, str]) -> Pointer:
        """The pointer after releases were made anew under other ids: `names` gives the new by the old."""
        earlier = dict.fromkeys(names.get(release, release) for release in self.previous)
        return Pointer(current=names.get(self.current, self.current), previous=tuple(earlier))

    def moved_back(self, stored: Iterable[str]) -> Pointer | None:
        """The pointer at the latest earlier release that is still in `stored`; None where there is none."""
        kept = set(stored)
        for position in range(len(self.previous) - 1, -1, -1):
            if self.previous[position] in kept and self.previous[position] != self.current:
                return Pointer(current=self.previous[position], previous=self.previous[:position])
        return None


_Document = TypeVar("_Document", Manifest, Pointer)


def release_id(as_of: date, files: Iterable[FileEntry]) -> str:
    """`<as-of date>-<12 hex digits>`: of the SHA-256 over the sorted `<sha256>  <path>` lines, as of `sha256sum`."""
    lines = sorted(f"{entry.sha256}  {entry.path}\n" for entry in files)
    return f"{as_of.isoformat()}-{hashlib.sha256(''.join(lines).encode()).hexdigest()[:12]}"


def checked_id(text: str) -> str:
    """`text` where it has the form of a release id; so no id ever names another folder.

    Raises:
        UnknownRelease: it has another form.
    """
    if not RELEASE_ID.fullmatch(text):
        raise UnknownRelease(
            f"{text!r} is not a release id: they look like 2025-12-01-0123456789ab. "
            "`cartograph release list` shows those there are."
        )
    return text


def parse_manifest(raw: bytes, expected_id: str, where: str) -> Manifest:
    """Read a manifest; `where` names it in messages.

    Raises:
        NewerManifest: it was written by a newer Cartograph.
        DamagedRelease: it is not a manifest, or not that of the release `expected_id`.
    """
    manifest = _parse(Manifest, raw, where)
    if manifest.release_id != expected_id:
        raise DamagedRelease(f"{where} is the manifest of {manifest.release_id}, not of {expected_id}. {CURE}")
    return manifest


def parse_pointer(raw: bytes, where: str) -> Pointer:
    """Read a pointer; `where` names it in messages.

    Raises:
        NewerManifest: it was written by a newer Cartograph.
        DamagedRelease: it is not a pointer.
    """
    return _parse(Pointer, raw, where)


def _parse(model: type[_Document], raw: bytes, where: str) -> _Document:
    try:
        content: Any = from_json(raw)
        version = content["schema_version"]
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise NewerManifest(
                f"{where} has schema version {version}, and this Cartograph reads up to {SCHEMA_VERSION}. "
                "Update Cartograph here, or publish again with this one."
            )
        return model.model_validate_json(raw)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in error.errors())
        raise DamagedRelease(f"{where} is damaged: {problems}. {CURE}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedRelease(f"{where} is damaged: {error}. {CURE}") from None
