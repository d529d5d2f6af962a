"""The ways in which the lake refuses: each message names the table, what was wrong and the cure.

Exceptions only, for a person who runs the platform. A fault of the code itself stays the exception that it is.
"""

# ruff: noqa: N818 - each names a state of the lake, as `Unreadable` names one of a source; the base says it is an error.

from __future__ import annotations


class LakeError(RuntimeError):
    """The lake cannot do what was asked."""


class CatalogUnreadable(LakeError):
    """The Iceberg catalog, or a file that it points at, cannot be opened."""


class TableMissing(LakeError):
    """There is no such table, or a column that was asked for is not in it."""


class TableElsewhere(LakeError):
    """The table's files are not in this lake, so they are not changed from here."""


class SnapshotMissing(LakeError):
    """The table has no such snapshot: it never had, or maintenance has expired it."""


class SchemaConflict(LakeError):
    """A table cannot become what its contract asks for without losing values."""


class RowsRejected(LakeError):
    """Rows cannot be written: wrong columns or types, a null in a required column, or outside the window."""


class CommitConflict(LakeError):
    """Other writers kept changing the table until the retries were used up. Nothing was written."""


class ExportFailed(LakeError):
    """Files cannot be written where they were asked for. What stood there is as it was."""
