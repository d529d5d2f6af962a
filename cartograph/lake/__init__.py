"""Iceberg tables: created from contracts, written atomically, read at a pinned snapshot, and kept in good order.

`Lake` is the way in; the modules beside it are its parts. What the rows mean, and which table holds what, is decided by
the code locations.
"""

from cartograph.lake.errors import (
    CatalogUnreadable,
    CommitConflict,
    ExportFailed,
    LakeError,
    RowsRejected,
    SchemaConflict,
    SnapshotMissing,
    TableElsewhere,
    TableMissing,
)
from cartograph.lake.history import SnapshotInfo, TableInfo
from cartograph.lake.lake import Lake
from cartograph.lake.maintenance import MaintenanceReport
from cartograph.lake.writing import TableWriter

__all__ = [
    "CatalogUnreadable",
    "CommitConflict",
    "ExportFailed",
    "Lake",
    "LakeError",
    "MaintenanceReport",
    "RowsRejected",
    "SchemaConflict",
    "SnapshotInfo",
    "SnapshotMissing",
    "TableElsewhere",
    "TableInfo",
    "TableMissing",
    "TableWriter",
]
