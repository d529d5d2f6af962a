"""The lake: the verbs with which everything else reads and writes tables.

A thin face over the modules beside it, each of which does one thing. An identifier is "namespace.table", as raw.orders.
Methods take what they need of time as arguments and keep no state, so a Lake can be made anywhere, often, and sent to
another process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa
from pyiceberg.exceptions import NamespaceAlreadyExistsError, TableAlreadyExistsError
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from sqlalchemy.exc import IntegrityError

from cartograph.contracts import Contract
from cartograph.lake import reading, tables
from cartograph.lake.catalog import close_connections, full_name, identifiers, location, open_catalog, readable
from cartograph.lake.conform import Cut, check_key, conform
from cartograph.lake.errors import LakeError, SchemaConflict, TableMissing
from cartograph.lake.history import WINDOW, SnapshotInfo, TableInfo, partition_names, snapshot_info, table_info
from cartograph.lake.maintenance import MaintenanceReport, forget, maintain
from cartograph.lake.replacing import INCOMING, Rewriter, changed_file, keep_other_keys, keep_outside, key_range, swap
from cartograph.lake.schema import EVENT_TIME_ID, GRAIN, Change, arrow_schema, changes, iceberg_schema, partition_spec
from cartograph.lake.tables import Swap
from cartograph.lake.writing import TableWriter
from cartograph.selects import shut_in
from cartograph.settings import Settings
from cartograph.windows import Grain, Window


@dataclass(frozen=True)
class Lake:
    """The Iceberg tables of one shop. Costs nothing to make; the catalog is opened at the first use."""

    settings: Settings

    @classmethod
    def from_settings(cls, settings: Settings) -> Lake:
        """The lake of the shop that `settings` choose."""
        return cls(settings)

    # --- tables

    def ensure(self, identifier: str, contract: Contract, grain: Grain | None) -> None:
        """Create the table for `contract`, or evolve it: add columns, widen types, make nullable, describe.

        The table is partitioned by the contract's event time, by day for daily and by month for weekly and monthly; not
        at all where either is None.

        Raises:
            SchemaConflict: the table cannot become what the contract asks for without losing values.
        """
        try:
            tables.retrying(self.settings, identifier, lambda table: _evolve(table, identifier, contract, grain))
        except TableMissing:
            self._create(identifier, contract, grain)
            tables.retrying(self.settings, identifier, lambda table: _evolve(table, identifier, contract, grain))

    def require_compatible(self, identifier: str, contract: Contract, grain: Grain | None) -> None:
        """Make sure that `ensure` would succeed, and change nothing; a table that is not there can be made.

        Raises:
            SchemaConflict: as `ensure` would.
        """
        if self.exists(identifier):
            table = tables.load(self.settings, identifier)
            list(_changes(table, identifier, contract))
            _check_partitions(table, identifier, contract, grain)

    def rename_column(self, identifier: str, old: str, new: str) -> None:
        """Rename a column; rows already written keep their values under the new name. Done before: nothing happens.

        Raises:
            TableMissing: the table has neither column.
            SchemaConflict: it has both.
        """

        def attempt(table: Table) -> None:
            names = table.schema().column_names
            if old in names and new in names:
                raise SchemaConflict(f"{identifier} has a column {new} already; {old} needs another name.")
            if old in names:
                with table.update_schema() as update:
                    update.rename_column(old, new)
            elif new not in names:
                raise TableMissing(f"{identifier} has no column {old} to rename. It has {', '.join(names)}.")

        tables.retrying(self.settings, identifier, attempt)

    def exists(self, identifier: str) -> bool:
        """Whether there is such a table."""
        name = full_name(self.settings, identifier)
        with readable(self.settings.resolved_catalog_uri, identifier):
            return open_catalog(self.settings).table_exists(name)

    def tables(self) -> list[TableInfo]:
        """All tables of the shop, by name."""
        return [table_info(name, tables.load(self.settings, name)) for name in identifiers(self.settings)]

    def event_time(self, identifier: str) -> str | None:
        """The column that places a row in a window; None for a table without a time axis."""
        return _event_time(tables.load(self.settings, identifier))

    # --- snapshots

    def snapshots(self, identifier: str) -> list[SnapshotInfo]:
        """The table's snapshots that maintenance has kept, oldest first."""
        kept = tables.load(self.settings, identifier).snapshots()
        return [snapshot_info(s) for s in sorted(kept, key=lambda s: s.sequence_number or 0)]

    def snapshot_id(self, identifier: str) -> int | None:
        """The id of the current snapshot; None for a table that nothing was ever written to."""
        current = tables.load(self.settings, identifier).current_snapshot()
        return current.snapshot_id if current is not None else None

    def pin(self, identifiers: Iterable[str]) -> dict[str, int]:
        """The current snapshot id of each table; tables without a snapshot are left out."""
        found = {identifier: self.snapshot_id(identifier) for identifier in identifiers}
        return {identifier: snapshot_id for identifier, snapshot_id in found.items() if snapshot_id is not None}

    # --- writing

    @contextmanager
    def overwriting(self, identifier: str, window: Window | None) -> Iterator[TableWriter]:
        """Replace the rows of `window` (None: all rows) by those given to the writer, as one commit on leaving.

        Nothing changes when the block raises. The same rows again give the same table. Rows are written as they come
        and memory stays flat. Files that lie wholly in the window are dropped, those of other windows are not touched.

        Raises:
            RowsRejected: from `write`, for rows that do not fit the table or lie outside the window.
            LakeError: a window is given for a table without event time.
            TableElsewhere: the table's files are those of another lake.
            CommitConflict: other writers kept changing the table.
        """
        table = tables.load_own(self.settings, identifier)
        cut = _cut(table, identifier, window)
        writer = TableWriter(table, identifier, cut)
        try:
            yield writer
            added = writer.finish()
        except BaseException:
            writer.discard()
            raise

        if cut is None:
            self._replace_all(identifier, added)
        else:
            self._replace_window(identifier, cut, added)

    def widen(self, writer: TableWriter, identifier: str, contract: Contract, grain: Grain | None) -> None:
        """`ensure` the table while `writer` is at work on it: rows that it takes from now on may have the new columns.

        Raises:
            SchemaConflict: as from `ensure`.
        """
        self.ensure(identifier, contract, grain)
        writer.widen(tables.load(self.settings, identifier))

    def _replace_all(self, identifier: str, added: tuple[DataFile, ...]) -> None:
        def plan(now: Table) -> Swap:
            return Swap(tuple(tables.data_files(now, identifier, now.current_snapshot())), added)

        tables.commit(self.settings, identifier, plan, summary={})

    def _replace_window(self, identifier: str, cut: Cut, added: tuple[DataFile, ...]) -> None:
        def plan(now: Table) -> Swap:
            touched = tables.data_files(now, identifier, now.current_snapshot(), cut.expression())
            return swap(now, touched, added, rewriter, cut.covers)

        summary = {WINDOW: f"{cut.window.start.isoformat()}/{cut.window.end.isoformat()}"}
        with Rewriter(self.connect, *keep_outside(cut)) as rewriter:
            tables.commit(self.settings, identifier, plan, summary=summary)

    def append(self, identifier: str, rows: pa.Table) -> None:
        """Add rows, as one commit. Not idempotent: the same rows again are there twice.

        Raises:
            RowsRejected: they do not fit the table.
        """
        added = self._written(identifier, rows)
        tables.commit(self.settings, identifier, lambda _: Swap(added=added), summary={}, appending=True)

    def upsert(self, identifier: str, rows: pa.Table, key: Sequence[str]) -> None:
        """Replace the rows that have a `key` of `rows` by these, and add those whose key is new, as one commit.

        Files that hold none of the keys are not touched.

        Raises:
            RowsRejected: the rows do not fit the table, or a key is null or comes twice.
        """
        table = tables.load(self.settings, identifier)
        rows = conform(identifier, rows, arrow_schema(table.schema()))
        check_key(identifier, rows, key)
        if not len(rows):
            return
        added, keys, where = self._written(identifier, rows), rows.select(list(key)), key_range(rows, key)

        def connect() -> duckdb.DuckDBPyConnection:
            return self.connect().register(INCOMING, keys)

        def plan(now: Table) -> Swap:
            touched = tables.data_files(now, identifier, now.current_snapshot(), where)
            return swap(now, touched, added, rewriter)

        with Rewriter(connect, keep_other_keys(key)) as rewriter:
            tables.commit(self.settings, identifier, plan, summary={})

    def rewrite(self, identifier: str, change: Callable[[pa.Table], pa.Table]) -> int:
        """Put `change(rows)` in the place of the rows, file by file, as one commit; the number of files written anew.

        `change` is given some rows of a file at a time, and returns as many, in their order and in their partition, or
        the very table that it was given where it leaves all as it is. A file of which it leaves all is not touched.
        """
        done: dict[str, tuple[DataFile, ...] | None] = {}

        def plan(now: Table) -> Swap:
            files = tables.data_files(now, identifier, now.current_snapshot())
            for file in files:
                if file.file_path not in done:
                    done[file.file_path] = changed_file(now, file, connection, change)
            added = {file: written for file in files if (written := done[file.file_path]) is not None}
            return Swap(tuple(added), tuple(file for written in added.values() for file in written))

        with self.connect() as connection:
            tables.commit(self.settings, identifier, plan, summary={})
        return sum(written is not None for written in done.values())

    def _written(self, identifier: str, rows: pa.Table) -> tuple[DataFile, ...]:
        writer = TableWriter(tables.load_own(self.settings, identifier), identifier, None)
        try:
            writer.write(rows)
            return writer.finish()
        except BaseException:
            writer.discard()
            raise

    # --- reading

    def row_count(self, identifier: str, snapshot_id: int | None = None) -> int:
        """The number of rows in a snapshot (None: the current one), from metadata."""
        table = tables.load(self.settings, identifier)
        snapshot = tables.snapshot_of(table, identifier, snapshot_id)
        return sum(file.record_count for file in tables.data_files(table, identifier, snapshot))

    def relation_sql(self, identifier: str, snapshot_id: int | None = None) -> str:
        """A DuckDB SELECT over the data files of a snapshot (None: the current one); DuckDB pushes filters into it.

        Its columns are those of the table's schema as it is now, also over an older snapshot: today's code reads
        yesterday's rows. Timestamps are TIMESTAMPTZ. A table without rows gives a SELECT of nothing with the same
        columns. For a connection made by `connect` or prepared by `configure`.
        """
        table = tables.load(self.settings, identifier)
        files = tables.data_files(table, identifier, tables.snapshot_of(table, identifier, snapshot_id))
        return reading.scan_sql(table.schema(), [file.file_path for file in files])

    def batches(
        self,
        identifier: str,
        *,
        snapshot_id: int | None = None,
        window: Window | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.RecordBatchReader:
        """The rows of a snapshot (None: the current one) as a stream, oldest partition first; memory stays flat.

        `window` leaves out rows, and whole files, outside it. The schema is the table's as it is now.

        Raises:
            TableMissing: the table has no such column.
        """
        table = tables.load(self.settings, identifier)
        schema = arrow_schema(table.schema())
        missing = [name for name in columns or () if name not in schema.names]
        if missing:
            raise TableMissing(
                f"{identifier} has no column {', '.join(missing)}. It has {', '.join(schema.names)}. If it was written "
                f"by an older version, run `cartograph run` to bring it up to date."
            )
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        snapshot = tables.snapshot_of(table, identifier, snapshot_id)
        cut = _cut(table, identifier, window)
        files = tables.data_files(table, identifier, snapshot, cut.expression() if cut is not None else None)
        scan = reading.scan_sql(table.schema(), [file.file_path for file in files])
        return reading.stream(self.settings, scan, schema, cut)

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection in memory with the settings' limits, UTC, and access to the lake's files."""
        return reading.connect(self.settings)

    def connect_shut_in(self) -> duckdb.DuckDBPyConnection:
        """As `connect`, for SQL that somebody wrote into a file: it reaches the lake's files and nothing else."""
        connection = self.connect()
        shut_in(connection, [reading.plain_path(self.settings.resolved_lake_uri)])
        return connection

    def close_connections(self) -> None:
        """Let go of the catalog, so that its files can be read as bytes; the next use opens it anew."""
        close_connections(self.settings)

    def configure(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Prepare someone else's DuckDB connection for `relation_sql`: limits, UTC, access to the lake's files."""
        reading.configure(self.settings, connection)

    # --- upkeep

    def maintain(
        self,
        identifier: str,
        *,
        now: datetime,
        keep_snapshots: int = 20,
        keep: Collection[int] = (),
        min_age: timedelta = timedelta(days=1),
        target_bytes: int = 128 * 1024 * 1024,
    ) -> MaintenanceReport:
        """Compact small files, expire snapshots, and delete the files that no kept snapshot refers to.

        Rows do not change, and it can be stopped at any point and run again. Kept are the newest `keep_snapshots`, the
        ids in `keep` (what a model or a release was made from), tags and branches, and all younger than `min_age`
        before `now`: neither a running reader nor a running writer loses a file, as long as none runs longer than that.
        `target_bytes` is the size up to which a partition's files are put together.
        """
        return maintain(
            self.settings,
            identifier,
            connect=self.connect,
            now=now,
            keep_snapshots=keep_snapshots,
            keep=frozenset(keep),
            min_age=min_age,
            target_bytes=target_bytes,
        )

    def forget(self, identifier: str, *, now: datetime) -> None:
        """Keep nothing of the table but its current rows: no snapshot, file or statistic from before.

        For what must not be found any more; nobody may be reading or writing the table. Can be stopped and run again.
        Tags and branches keep what they name.
        """
        forget(self.settings, identifier, now)

    def _create(self, identifier: str, contract: Contract, grain: Grain | None) -> None:
        schema = iceberg_schema(contract)
        namespace, table = full_name(self.settings, identifier)
        with readable(self.settings.resolved_catalog_uri, identifier):
            catalog = open_catalog(self.settings)
            with suppress(NamespaceAlreadyExistsError, IntegrityError):  # Another process may create them right now.
                catalog.create_namespace_if_not_exists(namespace)
            with suppress(TableAlreadyExistsError):
                catalog.create_table(
                    (namespace, table),
                    schema,
                    location=location(self.settings, identifier),
                    partition_spec=partition_spec(schema, contract, grain),
                    properties=tables.TABLE_PROPERTIES,
                )


def _evolve(table: Table, identifier: str, contract: Contract, grain: Grain | None) -> None:
    """Commit what the table lacks of the contract, which is mostly nothing."""
    steps = list(_changes(table, identifier, contract))
    if steps:
        with table.update_schema(allow_incompatible_changes=not _rows(table)) as update:
            for step in steps:
                step.stage(update)
    _check_partitions(table, identifier, contract, grain)
    if contract.event_time is not None:
        wanted = {EVENT_TIME_ID: str(table.schema().find_field(contract.event_time).field_id)}
        if grain is not None:
            wanted[GRAIN] = grain
        if not wanted.items() <= table.properties.items():
            with table.transaction() as transaction:
                transaction.set_properties(wanted)


def _changes(table: Table, identifier: str, contract: Contract) -> Iterator[Change]:
    return changes(identifier, table.schema(), contract, rows=_rows(table))


def _rows(table: Table) -> int:
    current = table.current_snapshot()
    return snapshot_info(current).rows if current is not None else 0


def _check_partitions(table: Table, identifier: str, contract: Contract, grain: Grain | None) -> None:
    wanted = partition_spec(table.schema(), contract, grain)
    # Not their names: a partition keeps its own when the column is renamed.
    if [(f.source_id, f.transform) for f in table.spec().fields] != [(f.source_id, f.transform) for f in wanted.fields]:
        raise SchemaConflict(
            f"{identifier} is partitioned by {partition_names(table.spec())} in the lake, and "
            f"{partition_names(wanted)} is asked for. {_GRAIN_CURE}"
        )
    # Weekly and monthly tables have the same files, but rows of one as-of date for each partition would be mixed.
    loaded = table.properties.get(GRAIN, grain)
    if grain is not None and contract.event_time is not None and loaded != grain:
        raise SchemaConflict(f"{identifier} was loaded in {loaded} partitions, and {grain} is asked for. {_GRAIN_CURE}")


_GRAIN_CURE = (
    "Set CARTOGRAPH_PARTITION_GRAIN to what the lake was loaded with, or load the shop again into an empty "
    "CARTOGRAPH_HOME."
)


def _cut(table: Table, identifier: str, window: Window | None) -> Cut | None:
    if window is None:
        return None
    column = _event_time(table)
    if column is None:
        raise LakeError(
            f"{identifier} has no event time, so no window of it can be read or replaced. "
            f"Use the whole table, or give its contract an event_time before it is created."
        )
    return Cut(table.schema().find_field(column), window)


def _event_time(table: Table) -> str | None:
    if EVENT_TIME_ID not in table.properties:
        return None
    return table.schema().find_field(int(table.properties[EVENT_TIME_ID])).name
