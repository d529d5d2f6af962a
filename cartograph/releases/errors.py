"""What can go wrong with releases, each as an exception whose message says where and what to do about it."""

from __future__ import annotations


class ReleaseError(Exception):
    """Something about a release or its store is wrong; the message is meant for the person who runs Cartograph."""


class NoReleaseError(ReleaseError):
    """Nothing has been released yet, so there is no current release."""


class UnknownReleaseError(ReleaseError):
    """The store has no release of that id."""


class NewerManifestError(ReleaseError):
    """A manifest or pointer was written by a newer version of Cartograph than this one."""


class DamagedReleaseError(ReleaseError):
    """A file of a release, its manifest or the pointer is missing or is not what was released."""


class UnfitReleaseError(ReleaseError):
    """What was to be released must not be: it is empty, holds a link, has a bad name or failed a blocking check."""


class StoreUnavailableError(ReleaseError):
    """The place where releases are kept cannot be reached, read or written."""
