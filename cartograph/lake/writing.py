"""Turning a stream of Arrow tables into Parquet data files, one set for each partition, with flat memory.

Files only: nothing here is visible to a reader until `tables.commit` names the files. pyiceberg 0.12 writes a stream
only to unpartitioned tables, and a table at a time into one commit each; its Parquet writer, statistics and partition
keys are used, fed row group by row group.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from pyiceberg.io import OutputFile
from pyiceberg.io.fileformat import FileFormatWriter
from pyiceberg.io.pyarrow import ParquetFormatModel
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionFieldValue, PartitionKey
from pyiceberg.table import Table
from pyiceberg.typedef import Record

from cartograph.lake.conform import Cut, conform
from cartograph.lake.schema import ROW_GROUP_ROWS, arrow_schema
from cartograph.lake.tables import drop_files

BUFFER_BYTES = 64 * 1024 * 1024
"""Rows that wait for their row group to fill, over all partitions."""
OPEN_FILES = 64
"""Parquet files written at once; beyond, the one written least recently is finished."""
FILE_BYTES = 512 * 1024 * 1024
"""Size of a file's rows in memory at which the next file begins; about 100 MB as Parquet."""


@dataclass
class _Part:
    """A partition that is being written: the rows that wait, and its open file if there is one."""

    key: PartitionKey | None
    waiting: list[pa.Table] = field(default_factory=list)
    rows: int = 0
    nbytes: int = 0
    file: _OpenFile | None = None


@dataclass
class _OpenFile:
    output: OutputFile
    writer: FileFormatWriter
    nbytes: int = 0


class DataWriter:
    """Writes rows to new data files of `table`; rows of a partition keep the order in which they came.

    `write` takes tables of exactly the table's Arrow schema. `finish` gives the files; `discard` deletes them. `first`
    is the number of the first file, where others of the same commit were written before.
    """

    def __init__(self, table: Table, first: int = 0) -> None:
        self._table, self._first = table, first
        self._schema, self._spec = table.schema(), table.spec()
        self._parts: dict[int | None, _Part] = {}
        self._files: list[DataFile] = []

    def write(self, rows: pa.Table) -> None:
        """Take rows; full row groups go to their files at once."""
        for value, part_rows in self._split(rows):
            part = self._part(value)
            part.waiting.append(part_rows)
            part.rows += len(part_rows)
            part.nbytes += part_rows.nbytes
            if part.rows >= ROW_GROUP_ROWS:
                self._flush(part, part.rows - part.rows % ROW_GROUP_ROWS)
        while self.waiting_bytes > BUFFER_BYTES:
            largest = max(self._parts.values(), key=lambda part: part.nbytes)
            self._flush(largest, largest.rows)

    @property
    def waiting_bytes(self) -> int:
        """Size of the rows in memory that wait for their row group to fill."""
        return sum(part.nbytes for part in self._parts.values())

    def finish(self) -> tuple[DataFile, ...]:
        """The files with all rows that were taken, oldest partition first."""
        for value in sorted(self._parts, key=lambda value: (value is not None, value or 0)):
            part = self._parts[value]
            self._flush(part, part.rows)
            self._close(part)
        return tuple(self._files)

    def discard(self) -> None:
        """Delete all files, finished or not; one that cannot be finished is left for maintenance."""
        for part in self._parts.values():
            with suppress(OSError, pa.ArrowException):
                self._close(part)
        drop_files(self._table, self._files)
        self._parts.clear()
        self._files.clear()

    def _split(self, rows: pa.Table) -> Iterator[tuple[int | None, pa.Table]]:
        if not len(rows):
            return
        if self._spec.is_unpartitioned():
            yield None, rows
            return
        (partition,) = self._spec.fields
        source = self._schema.find_field(partition.source_id)
        values = partition.transform.pyarrow_transform(source.field_type)(rows[source.name])
        distinct = pc.unique(values)
        for value in sorted(distinct.to_pylist(), key=lambda value: (value is not None, value or 0)):
            if len(distinct) == 1:
                yield value, rows
            else:
                yield value, rows.filter(pc.is_null(values) if value is None else pc.equal(values, value))

    def _part(self, value: int | None) -> _Part:
        part = self._parts.pop(value, None)
        if part is None:
            key = None
            if not self._spec.is_unpartitioned():
                values = [PartitionFieldValue(field=self._spec.fields[0], value=value)]
                key = PartitionKey(field_values=values, partition_spec=self._spec, schema=self._schema)
            part = _Part(key)
        self._parts[value] = part  # Last in the dictionary: it was written to most recently.
        return part

    def _flush(self, part: _Part, count: int) -> None:
        """Write the first `count` of the rows that wait."""
        if not count:
            return
        waiting = pa.concat_tables(part.waiting)
        rest = waiting.slice(count).combine_chunks()
        part.waiting, part.rows, part.nbytes = [rest], len(rest), rest.nbytes
        for start in range(0, count, ROW_GROUP_ROWS):
            rows = waiting.slice(start, min(ROW_GROUP_ROWS, count - start)).combine_chunks()
            if part.file is None:
                part.file = self._open(part.key)
            part.file.writer.write(rows)
            part.file.nbytes += rows.nbytes
            if part.file.nbytes >= FILE_BYTES:
                self._close(part)

    def _open(self, key: PartitionKey | None) -> _OpenFile:
        opened = [part for part in self._parts.values() if part.file is not None]
        if len(opened) >= OPEN_FILES:
            self._close(opened[0])
        # The number of the coming commit, then of the file: names sort by age, so that scans are in order of writing.
        number = self._first + len(self._files) + len(opened)
        name = f"{self._table.last_sequence_number + 1:08d}-{number:05d}-{uuid.uuid4()}.parquet"
        output = self._table.io.new_output(self._table.location_provider().new_data_location(name, key))
        return _OpenFile(output, ParquetFormatModel().create_writer(output, self._schema, self._table.properties))

    def _close(self, part: _Part) -> None:
        if part.file is None:
            return
        output, statistics = part.file.output, part.file.writer.close()
        part.file = None
        self._files.append(
            DataFile.from_args(
                content=DataFileContent.DATA,
                file_path=output.location,
                file_format=FileFormat.PARQUET,
                partition=part.key.partition if part.key is not None else Record(),
                file_size_in_bytes=len(output),
                sort_order_id=None,
                spec_id=self._spec.spec_id,
                equality_ids=None,
                key_metadata=None,
                **statistics.to_serialized_dict(),
            )
        )


class TableWriter:
    """Takes the rows of one commit. Each call of `write` is held against the table's schema and the window."""

    def __init__(self, table: Table, identifier: str, cut: Cut | None) -> None:
        self._identifier, self._cut = identifier, cut
        self._schema = arrow_schema(table.schema())
        self._data = DataWriter(table)
        self._narrower: list[DataWriter] = []

    @property
    def columns(self) -> list[str]:
        """The names of the columns that rows may have."""
        return list(self._schema.names)

    def widen(self, table: Table) -> None:
        """Go on with the columns that `table` has by now; for the lake, which has added some."""
        self._narrower.append(self._data)
        self._schema = arrow_schema(table.schema())
        self._data = DataWriter(table, sum(len(writer.finish()) for writer in self._narrower))

    def write(self, rows: pa.Table) -> None:
        """Take rows; they become visible, with all others, when the commit is made.

        Raises:
            RowsRejected: they do not fit the table, lack a required value, or lie outside the window.
        """
        fitting = conform(self._identifier, rows, self._schema)
        if self._cut is not None:
            self._cut.check(self._identifier, fitting)
        self._data.write(fitting)

    def finish(self) -> tuple[DataFile, ...]:
        """The data files with all rows; for the lake, which commits them."""
        return tuple(file for writer in (*self._narrower, self._data) for file in writer.finish())

    def discard(self) -> None:
        """Delete what was written; for the lake, when nothing is to be committed."""
        for writer in (*self._narrower, self._data):
            writer.discard()
