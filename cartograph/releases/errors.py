"""What can go wrong with releases, each as an exception whose message says where and what to do about it."""

# ruff: noqa: N818 - the names say what is the case, and all of them are a ReleaseError

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cartograph.releases.manifest import CheckOutcome


class ReleaseError(Exception):
    """Something about a release or its store is wrong; the message is meant for the person who runs Cartograph."""


class NoRelease(ReleaseError):
    """Nothing has been released yet, so there is no current release."""


class UnknownRelease(ReleaseError):
    """The store has no release of that id."""


class NewerManifest(ReleaseError):
    """A manifest or pointer was written by a newer version of Cartograph than this one."""


class DamagedRelease(ReleaseError):
    """A file of a release, its manifest or the pointer is missing or is not what was released."""


class UntrustedRelease(ReleaseError):
    """A release is not signed by one of the keys that are trusted here."""


class UnfitRelease(ReleaseError):
    """What was to be released must not be: it is empty, holds a link, has a bad name or failed a blocking check."""


class RefusedRelease(UnfitRelease):
    """Blocking checks forbid what was to be released: `forbidden_by`."""

    def __init__(self, message: str, forbidden_by: tuple[CheckOutcome, ...]) -> None:
        super().__init__(message)
        self.forbidden_by = forbidden_by


class StoreUnavailable(ReleaseError):
    """The place where releases are kept cannot be reached, read or written."""
