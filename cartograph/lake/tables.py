"""The tables of a catalog: loading them, finding a snapshot's files, and committing a change atomically.

Metadata only. What the files hold is written in `writing` and read in `reading`; the verbs that put these together are
in `lake`. A commit is planned anew from the newest snapshot on each attempt, so that a conflict never loses the other
writer's rows; an id in the snapshot's summary keeps a commit whose answer was lost from being made twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException, ValidationException
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, TableProperties
from pyiceberg.table.snapshots import Snapshot
from sqlalchemy.exc import OperationalError
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from cartograph.lake.catalog import full_name, open_catalog, readable, require_within
from cartograph.lake.errors import CommitConflict, LakeError, SnapshotMissing
from cartograph.lake.schema import ROW_GROUP_ROWS
from cartograph.settings import Settings

T = TypeVar("T")

COMMIT_ID = "cartograph.commit-id"
MAINTENANCE = "cartograph.maintenance"
"""Key in the summary of a snapshot that changed no row."""
MANY_MANIFESTS = 16
"""Manifests at which a commit merges them: planning costs about 0.8 ms for each, whatever it holds."""
GIVE_UP_SECONDS = 120
"""For how long a commit is tried again. One takes some 30 ms, so this is thousands of lost races."""

TABLE_PROPERTIES = {
    # pyiceberg tries again itself where nobody added files, and finds a commit of its own whose answer was lost; with
    # no retries at all it would delete the manifests of such a commit. All else is planned again, in `commit`.
    TableProperties.COMMIT_NUM_RETRIES: "8",
    TableProperties.COMMIT_MIN_RETRY_WAIT_MS: "10",
    TableProperties.COMMIT_MAX_RETRY_WAIT_MS: "200",
    TableProperties.MANIFEST_MERGE_ENABLED: "true",
    TableProperties.MANIFEST_MIN_MERGE_COUNT: str(MANY_MANIFESTS),
    # Each metadata file lists all snapshots: without these, a thousand commits leave half a gigabyte of them.
    TableProperties.METADATA_DELETE_AFTER_COMMIT_ENABLED: "true",
    TableProperties.METADATA_PREVIOUS_VERSIONS_MAX: "20",
    TableProperties.PARQUET_ROW_GROUP_LIMIT: str(ROW_GROUP_ROWS),
}


@dataclass(frozen=True)
class Swap:
    """The data files that a commit removes and adds."""

    removed: tuple[DataFile, ...] = ()
    added: tuple[DataFile, ...] = ()


def load(settings: Settings, identifier: str) -> Table:
    """The table as it is now.

    Raises:
        TableMissing, CatalogUnreadable: with the cure in the message.
    """
    name = full_name(settings, identifier)
    with readable(settings.resolved_catalog_uri, identifier):
        catalog = open_catalog(settings)
        try:
            return catalog.load_table(name)
        except FileNotFoundError:
            # Commits made since the catalog's answer can have dropped the metadata file that it named.
            return catalog.load_table(name)


def load_own(settings: Settings, identifier: str) -> Table:
    """The table as it is now, to be changed.

    Raises:
        TableElsewhere: its files are not in this lake, or what `load` raises.
    """
    table = load(settings, identifier)
    require_within(settings, identifier, table.location())
    return table


def snapshot_of(table: Table, identifier: str, snapshot_id: int | None) -> Snapshot | None:
    """The snapshot of that id; for None the current one, if the table has any.

    Raises:
        SnapshotMissing: the table has no snapshot of that id.
    """
    if snapshot_id is None:
        return table.current_snapshot()
    found = table.snapshot_by_id(snapshot_id)
    if found is None:
        raise SnapshotMissing(
            f"{identifier} has no snapshot {snapshot_id}: maintenance has expired it, or it is another table's. "
            f"`cartograph lake snapshots {identifier}` lists the {len(table.snapshots())} there are."
        )
    return found


def data_files(
    table: Table, identifier: str, snapshot: Snapshot | None, where: BooleanExpression | None = None
) -> list[DataFile]:
    """A snapshot's data files that may hold rows of `where`, ordered by partition, then age.

    Raises:
        LakeError: another engine has marked rows of a file as deleted, which a plain scan would bring back.
    """
    if snapshot is None:
        return []
    tasks = list(table.scan(row_filter=where or AlwaysTrue(), snapshot_id=snapshot.snapshot_id).plan_files())
    if any(task.delete_files for task in tasks):
        raise LakeError(
            f"{identifier} has row-level deletes, which another engine wrote. Rewrite its data files there "
            f"(in Spark: CALL rewrite_data_files), or load the shop again."
        )
    return sorted((task.file for task in tasks), key=_order)


def partition_values(file: DataFile) -> tuple[tuple[bool, int], ...]:
    """The file's partition as a sortable, hashable value; rows without a partition value come first."""
    values = [file.partition[position] for position in range(len(file.partition))]
    return tuple((value is not None, value or 0) for value in values)


def _order(file: DataFile) -> tuple[tuple[tuple[bool, int], ...], str]:
    return partition_values(file), PurePosixPath(file.file_path).name  # Names begin with the commit's number.


def commit(
    settings: Settings,
    identifier: str,
    plan: Callable[[Table], Swap],
    *,
    summary: Mapping[str, str],
    appending: bool = False,
) -> Table:
    """Make the swap that `plan` finds for the newest snapshot, as one commit; planned again after each conflict.

    A swap of nothing commits nothing, except that a table always comes out with a snapshot that a reader can pin.
    `appending` tells that the files may join whatever other writers do.

    Raises:
        CommitConflict: other writers won every time; the table does not hold the new files.
    """
    commit_id = uuid.uuid4().hex

    def attempt(table: Table) -> Table:
        if any(s.summary is not None and s.summary[COMMIT_ID] == commit_id for s in table.snapshots()):
            return table
        swap, current = plan(table), table.current_snapshot()
        if current is not None and not swap.removed and not swap.added:
            return table
        with table.transaction() as transaction:
            if current is not None and len(current.manifests(table.io)) >= MANY_MANIFESTS:
                # A snapshot of the same files under fewer manifests, in the same commit.
                with transaction.update_snapshot(snapshot_properties={MAINTENANCE: "manifests"}).merge_append():
                    pass
            update = transaction.update_snapshot(snapshot_properties={**summary, COMMIT_ID: commit_id})
            with update.fast_append() if appending else update.overwrite() as snapshot:
                for file in swap.removed:
                    snapshot.delete_data_file(file)
                for file in swap.added:
                    snapshot.append_data_file(file)
        return table

    return retrying(settings, identifier, attempt)


def retrying(settings: Settings, identifier: str, attempt: Callable[[Table], T]) -> T:
    """The result of `attempt` on the table as it is now; again, after a random wait, when another writer came first.

    Raises:
        CommitConflict: it kept failing for GIVE_UP_SECONDS.
        TableElsewhere: the table's files are not in this lake.
    """
    tries = Retrying(
        # ValidationException: another writer's files. The last two: a catalog that is locked or briefly away.
        retry=retry_if_exception_type(
            (CommitFailedException, ValidationException, CommitStateUnknownException, OperationalError)
        ),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        stop=stop_after_delay(GIVE_UP_SECONDS),
    )

    def once() -> T:
        return attempt(load_own(settings, identifier))

    try:
        with readable(settings.resolved_catalog_uri, identifier):
            return tries(once)
    except RetryError as error:
        raise CommitConflict(
            f"{identifier} could not be committed in {GIVE_UP_SECONDS} s: {error.last_attempt.exception()}. Other "
            f"writers keep changing it, or the catalog is locked. Nothing was written; run it again when they are done."
        ) from None


def drop_files(table: Table, files: Iterable[DataFile]) -> None:
    """Delete data files that no commit has named; one that cannot be deleted is left for maintenance."""
    for file in files:
        try:
            table.io.delete(file.file_path)
        except OSError:
            continue
