"""What a table and its snapshots tell about themselves: sizes, times, and what each commit did.

Read-only, from metadata. Nothing here looks into a data file.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pyiceberg.partitioning import PartitionSpec
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

WINDOW = "cartograph.window"
"""Key in a snapshot's summary: the window that the commit replaced, as start/end in ISO 8601."""


@dataclass(frozen=True)
class SnapshotInfo:
    """One state of a table: when it was committed (UTC), how, the window it replaced if any, and its totals."""

    snapshot_id: int
    committed_at: datetime
    operation: str
    window: str | None
    added_rows: int
    deleted_rows: int
    rows: int
    files: int
    bytes: int


@dataclass(frozen=True)
class TableInfo:
    """A table and its current snapshot; None until something is written."""

    identifier: str
    columns: int
    partitioned_by: str | None
    snapshots: int
    current: SnapshotInfo | None


def table_info(identifier: str, table: Table) -> TableInfo:
    """What is told about `table`."""
    current = table.current_snapshot()
    return TableInfo(
        identifier=identifier,
        columns=len(table.schema().fields),
        partitioned_by=None if table.spec().is_unpartitioned() else partition_names(table.spec()),
        snapshots=len(table.snapshots()),
        current=snapshot_info(current) if current is not None else None,
    )


def snapshot_info(snapshot: Snapshot) -> SnapshotInfo:
    """What is told about `snapshot`, from its summary."""
    summary = snapshot.summary.additional_properties if snapshot.summary is not None else {}
    return SnapshotInfo(
        snapshot_id=snapshot.snapshot_id,
        committed_at=datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC),
        operation=snapshot.summary.operation.value if snapshot.summary is not None else "unknown",
        window=summary.get(WINDOW),
        added_rows=int(summary.get("added-records", 0)),
        deleted_rows=int(summary.get("deleted-records", 0)),
        rows=int(summary.get("total-records", 0)),
        files=int(summary.get("total-data-files", 0)),
        bytes=int(summary.get("total-files-size", 0)),
    )


def partition_names(spec: PartitionSpec) -> str:
    """The partition fields of a table, for people to read."""
    return ", ".join(field.name for field in spec.fields) or "nothing"
