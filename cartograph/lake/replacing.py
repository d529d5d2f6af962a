"""Which data files a commit replaces, and the rows of a file that must outlive it.

Copy on write: a file whose rows all go is dropped by name, one that keeps some is written anew without the others, and
files of other windows are not touched. Finding and rewriting only; the commit is made in `tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from types import TracebackType

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import And, BooleanExpression, GreaterThanOrEqual, LessThanOrEqual, Reference
from pyiceberg.expressions.literals import literal
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from cartograph.lake.conform import Cut
from cartograph.lake.reading import named, scan_sql
from cartograph.lake.schema import ROW_GROUP_ROWS, arrow_schema
from cartograph.lake.tables import Swap
from cartograph.lake.writing import DataWriter

INCOMING = "cartograph_incoming"
"""The name by which `keep_other_keys` finds the keys that replace."""
_POSITION = "_cartograph_position"


class Rewriter:
    """Writes data files anew with the rows that `keep`, given the SQL of a scan, selects from it.

    It remembers what it has written, so that planning a commit again after a conflict does not write it again. A file
    that turns out not to be needed is left to maintenance. A context: it connects at the first file, and closes.
    """

    def __init__(
        self,
        connect: Callable[[], duckdb.DuckDBPyConnection],
        keep: Callable[[str], str],
        parameters: Sequence[object] = (),
    ) -> None:
        self._connect, self._keep, self._parameters = connect, keep, list(parameters)
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._kept: dict[str, tuple[DataFile, ...] | None] = {}

    def __enter__(self) -> Rewriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._connection is not None:
            self._connection.close()

    def kept(self, table: Table, file: DataFile) -> tuple[DataFile, ...] | None:
        """The new files with the rows of `file` that are kept, none if all go; None where `file` can stay as it is."""
        path = file.file_path
        if path not in self._kept:
            self._kept[path] = self._rewritten(table, file)
        return self._kept[path]

    def _rewritten(self, table: Table, file: DataFile) -> tuple[DataFile, ...] | None:
        connection = self._connection = self._connection or self._connect()
        sql = self._keep(scan_sql(table.schema(), [file.file_path]))
        # Counting reads the columns of the condition only; most candidates need no rewriting.
        (count,) = connection.execute(f"SELECT count(*) FROM ({sql})", self._parameters).fetchall()[0]
        if count in (0, file.record_count):
            return () if count == 0 else None
        return write_all(table, connection.execute(sql, self._parameters))


def write_all(table: Table, rows: duckdb.DuckDBPyConnection) -> tuple[DataFile, ...]:
    """Data files with all rows of a query's result, in its order."""
    writer, schema = DataWriter(table), arrow_schema(table.schema())
    try:
        for batch in rows.to_arrow_reader(ROW_GROUP_ROWS):
            writer.write(pa.Table.from_batches([batch]).cast(schema))
        return writer.finish()
    except BaseException:
        writer.discard()
        raise


def changed_file(
    table: Table, file: DataFile, connection: duckdb.DuckDBPyConnection, change: Callable[[pa.Table], pa.Table]
) -> tuple[DataFile, ...] | None:
    """New files with what `change` makes of the rows of `file`; None where it leaves all of them as they are."""
    sql, schema = scan_sql(table.schema(), [file.file_path]), arrow_schema(table.schema())

    def parts() -> Iterator[pa.Table]:
        for batch in connection.execute(sql).to_arrow_reader(ROW_GROUP_ROWS):
            yield pa.Table.from_batches([batch]).cast(schema)

    if all(change(rows) is rows for rows in parts()):
        return None
    writer = DataWriter(table)
    try:
        for rows in parts():
            writer.write(change(rows).cast(schema))
        return writer.finish()
    except BaseException:
        writer.discard()
        raise


def keep_outside(cut: Cut) -> tuple[Callable[[str], str], list[datetime | date]]:
    """What a rewriter keeps when the rows of `cut` go, with its parameters."""
    column = named(cut.field.name)
    return (
        lambda scan: f"SELECT * FROM ({scan}) WHERE ({column} >= ? AND {column} < ?) IS NOT TRUE",
        [cut.low, cut.high],
    )


def keep_other_keys(key: Sequence[str]) -> Callable[[str], str]:
    """What a rewriter keeps when the rows whose `key` is in INCOMING go; in the file's order, which a join loses."""
    same = " AND ".join(f"old.{named(column)} = new.{named(column)}" for column in key)
    return lambda scan: (
        f"SELECT * EXCLUDE ({_POSITION}) FROM (SELECT *, row_number() OVER () AS {_POSITION} FROM ({scan})) AS old "
        f"ANTI JOIN {INCOMING} AS new ON {same} ORDER BY {_POSITION}"
    )


def key_range(rows: pa.Table, key: Sequence[str]) -> BooleanExpression:
    """A filter that every row with a key of `rows` passes, by which files are left out of an upsert."""
    expressions: list[BooleanExpression] = []
    for column in key:
        ends = pc.min_max(rows[column]).as_py()
        low, high = (literal(e.isoformat() if isinstance(e, date) else e) for e in (ends["min"], ends["max"]))
        term = Reference(column)
        expressions += [GreaterThanOrEqual(term=term, value=low), LessThanOrEqual(term=term, value=high)]
    return And(*expressions)


def swap(
    table: Table,
    candidates: Iterable[DataFile],
    added: Sequence[DataFile],
    rewriter: Rewriter,
    covered: Callable[[DataFile], bool] = lambda _: False,
) -> Swap:
    """The swap that puts `added` in the place of rows of the candidates; `covered` tells files that lose all rows."""
    kept = {file: () if covered(file) else rewriter.kept(table, file) for file in candidates}
    gone = {file: files for file, files in kept.items() if files is not None}
    return Swap(tuple(gone), (*added, *(file for files in gone.values() for file in files)))
