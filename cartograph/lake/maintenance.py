"""Upkeep of a table: compaction, expiry of snapshots, and deletion of the files that nobody refers to.

pyiceberg 0.12 expires snapshots but leaves their files, and does not compact. Each step is whole in itself, and what a
stopped run has left undone, the next one does. Nothing younger than an age that the caller gives is taken away: a
writer in flight has files that no snapshot names yet, and a reader may hold a snapshot that has just been replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

import duckdb
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from cartograph.lake import tables
from cartograph.lake.reading import scan_sql
from cartograph.lake.replacing import write_all
from cartograph.lake.tables import Swap
from cartograph.settings import Settings


@dataclass(frozen=True)
class MaintenanceReport:
    """What maintenance did to a table."""

    identifier: str
    compacted_files: int
    written_files: int
    expired_snapshots: int
    deleted_files: int
    deleted_bytes: int


def maintain(
    settings: Settings,
    identifier: str,
    *,
    connect: Callable[[], duckdb.DuckDBPyConnection],
    now: datetime,
    keep_snapshots: int,
    keep: frozenset[int],
    min_age: timedelta,
    target_bytes: int,
) -> MaintenanceReport:
    """Compact, expire, delete; see `Lake.maintain`."""
    compacted, written = _compact(settings, identifier, connect, target_bytes)
    expired = _expire(settings, identifier, keep_snapshots, keep, now - min_age)
    deleted, nbytes = _delete_unreferenced(settings, identifier, now - min_age)
    return MaintenanceReport(identifier, compacted, written, expired, deleted, nbytes)


def forget(settings: Settings, identifier: str, now: datetime) -> None:
    """Keep nothing but the current rows; see `Lake.forget`."""
    tables.retrying(settings, identifier, _without_deleted_entries)
    _expire(settings, identifier, 1, frozenset(), now)
    _delete_unreferenced(settings, identifier, now)


def _without_deleted_entries(table: Table) -> None:
    """Commit the same files again where the current snapshot still tells of files that it removed, and what they held.

    A manifest keeps the entry of a file that its commit removed, with the least and greatest value of each column; the
    next commit leaves such manifests behind.
    """
    current = table.current_snapshot()
    if current is not None and any(manifest.deleted_files_count for manifest in current.manifests(table.io)):
        with table.transaction() as transaction:
            update = transaction.update_snapshot(snapshot_properties={tables.MAINTENANCE: "manifests"})
            with update.merge_append():
                pass


def _compact(
    settings: Settings, identifier: str, connect: Callable[[], duckdb.DuckDBPyConnection], target_bytes: int
) -> tuple[int, int]:
    """Put neighbouring small files of a partition together; their numbers before and after."""
    table = tables.load_own(settings, identifier)
    files = tables.data_files(table, identifier, table.current_snapshot())
    merged: dict[tuple[DataFile, ...], tuple[DataFile, ...]] = {}
    for group in _small_groups(files, target_bytes):
        with connect() as connection:
            sql = scan_sql(table.schema(), [file.file_path for file in group])
            merged[group] = write_all(table, connection.execute(sql))
    if not merged:
        return 0, 0
    swap = Swap()

    def plan(now: Table) -> Swap:
        nonlocal swap
        live = set(tables.data_files(now, identifier, now.current_snapshot()))
        # Another writer has replaced files since: what it wrote wins, and our copy of the old rows is dropped.
        groups = [group for group in merged if live.issuperset(group)]
        swap = Swap(
            tuple(file for group in groups for file in group), tuple(file for group in groups for file in merged[group])
        )
        return swap

    tables.commit(settings, identifier, plan, summary={tables.MAINTENANCE: "compaction"})
    return len(swap.removed), len(swap.added)


def _small_groups(files: Iterable[DataFile], target_bytes: int) -> Iterator[tuple[DataFile, ...]]:
    """Runs of two or more neighbours in a partition that together stay within `target_bytes`."""
    for _, partition in groupby(files, key=tables.partition_values):
        group: list[DataFile] = []
        for file in partition:
            if group and sum(f.file_size_in_bytes for f in group) + file.file_size_in_bytes > target_bytes:
                if len(group) > 1:
                    yield tuple(group)
                group = []
            group.append(file)
        if len(group) > 1:
            yield tuple(group)


def _expire(settings: Settings, identifier: str, newest: int, keep: frozenset[int], before: datetime) -> int:
    """Expire the snapshots older than `before`, but the `newest` ones, those in `keep`, tags and branches."""
    cutoff = before.timestamp() * 1000

    def attempt(table: Table) -> int:
        by_age = sorted(table.snapshots(), key=lambda s: s.sequence_number or 0)
        protected = keep | {ref.snapshot_id for ref in table.refs().values()}
        old = [s.snapshot_id for s in by_age[: -max(newest, 1)] if s.timestamp_ms < cutoff]
        expired = [snapshot_id for snapshot_id in old if snapshot_id not in protected]
        if expired:
            table.maintenance.expire_snapshots().by_ids(expired).commit()
        return len(expired)

    return tables.retrying(settings, identifier, attempt)


def _delete_unreferenced(settings: Settings, identifier: str, before: datetime) -> tuple[int, int]:
    """Delete the files in the table's folder that no snapshot refers to and that are older than `before`."""
    table = tables.load_own(settings, identifier)
    # First the listing, then the metadata: a file committed in between is in both.
    filesystem, listed = _listed(table)
    table = tables.load_own(settings, identifier)
    referenced = {_path(table, location) for location in _references(table)}
    orphans = [file for file in listed if file.path not in referenced and file.mtime < before]
    for file in orphans:
        with suppress(FileNotFoundError):  # Another run of maintenance was faster.
            filesystem.delete_file(file.path)
    return len(orphans), sum(file.size or 0 for file in orphans)


def _listed(table: Table) -> tuple[FileSystem, list[FileInfo]]:
    scheme, netloc, path = PyArrowFileIO.parse_location(table.location(), table.io.properties)
    if not isinstance(table.io, PyArrowFileIO):
        raise TypeError(f"the lake's files are read through {type(table.io).__name__}, which cannot list them")
    filesystem = table.io.fs_by_scheme(scheme, netloc)
    found = filesystem.get_file_info(FileSelector(path, recursive=True, allow_not_found=True))
    return filesystem, [file for file in found if file.type == FileType.File]


def _path(table: Table, location: str) -> str:
    return PyArrowFileIO.parse_location(location, table.io.properties)[2]


def _references(table: Table) -> Iterator[str]:
    """The location of every file that the table's metadata leads to, over all of its snapshots."""
    yield table.metadata_location
    yield from (entry.metadata_file for entry in table.metadata.metadata_log)
    yield from (file.statistics_path for file in table.metadata.statistics)
    yield from (file.statistics_path for file in table.metadata.partition_statistics)
    seen: set[str] = set()
    for snapshot in table.snapshots():
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path not in seen:
                seen.add(manifest.manifest_path)
                yield manifest.manifest_path
                yield from (entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io))
