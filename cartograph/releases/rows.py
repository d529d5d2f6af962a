"""Rows of a release's Arrow file by their key: each row stands in the file once more, as one stretch of JSON.

A row of a table of columns lies in as many places as it has columns, and each place that is looked at through a memory
map stays in the process: ten million customers would fill gigabytes. So `with_rows` adds a column that holds the whole
row, and `StoredRows` reads it by `pread`, which keeps nothing, as it does the `_STEP` keys among which it is. In memory
is the first of each `_STEP` keys. Nothing stays mapped: of a file that somebody cuts short a row is an error, and not
the end of the process (SIGBUS). Which files are written so is `contents`.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

ROW = "_row"
"""The column of the rows: a JSON list of the values of all other columns, in their order; NaN is null."""
BATCH = 65_536
"""Rows of a record batch; what is made of one while it is written takes some 100 MB."""
_STEP = 64


def with_rows(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """The batches of `table` with the column `_row`."""
    schema = row_schema(table.schema)
    for batch in table.combine_chunks().to_batches(max_chunksize=BATCH):
        rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        stored = pa.array([for_json(list(row)) for row in rows], pa.large_binary())
        yield pa.RecordBatch.from_arrays([*batch.columns, stored], schema=schema)


def row_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of what `with_rows` gives of a table of `schema`."""
    return schema.append(pa.field(ROW, pa.large_binary(), nullable=False))


def for_json(content: Any) -> bytes:
    """`content` as JSON: dates as ISO 8601, decimals as text, what is not finite as null."""
    return orjson.dumps(content, default=str)


class _Batch(NamedTuple):
    """Where in the file a batch of so many rows has the ends of its keys and its keys, and the same of its rows."""

    size: int
    key_ends_at: int
    keys_at: int
    row_ends_at: int
    rows_at: int


class _Keys(NamedTuple):
    """Some keys in a row: where each ends and the next begins, counted from `start` on, and their bytes."""

    size: int
    ends: memoryview
    start: int
    content: memoryview

    def key(self, at: int) -> bytes:
        return bytes(self.content[self.ends[at] - self.start : self.ends[at + 1] - self.start])


class StoredRows:
    """The rows of a file that is sorted by its column `key`, of strings; several threads may ask.

    Open until the object is gone, so that it answers from a release that was deleted since.
    """

    def __init__(self, path: Path, key: str) -> None:
        """Open the file at `path`.

        Raises:
            pa.ArrowInvalid: it is not an Arrow file.
            KeyError: it has no column `key` or `_row`, as one of an older release.
        """
        self._file = path.open("rb", buffering=0)
        whole = pa.memory_map(str(path)).read_buffer()
        reader = pa.ipc.open_file(whole)
        names = reader.schema.names
        if key not in names or reader.schema.field(names.index(key)).type != pa.string() or ROW not in names:
            raise KeyError(f"{path.name} has no rows by {key}")
        self.names = [name for name in names if name != ROW]
        self._steps: list[tuple[_Batch, int]] = []
        self._first_keys: list[bytes] = []
        self._size = 0
        for rows in filter(len, map(reader.get_batch, range(reader.num_record_batches))):
            batch, first_keys = _located(rows, key, whole.address)
            self._steps += [(batch, first) for first in range(0, batch.size, _STEP)]
            self._first_keys += first_keys
            self._size += batch.size

    def __len__(self) -> int:
        return self._size

    def find(self, key: str) -> dict[str, Any] | None:
        """The row whose key it is, fit for JSON; None where there is none."""
        wanted = key.encode(errors="surrogatepass")  # a lone surrogate is in no file, and so not found
        step = bisect_right(self._first_keys, wanted) - 1
        if step < 0:
            return None
        batch, first = self._steps[step]
        keys = self._keys(batch, first)
        place = bisect_left(range(keys.size), wanted, key=keys.key)
        if place == keys.size or keys.key(place) != wanted:
            return None
        return self._row(batch, first + place)

    def after(self, key: str, limit: int) -> list[str]:
        """The first `limit` keys that come after `key`, which need not be there itself; in the order of their bytes."""
        wanted = key.encode(errors="surrogatepass")
        step = max(bisect_right(self._first_keys, wanted) - 1, 0)
        found: list[str] = []
        for batch, first in self._steps[step:]:
            keys = self._keys(batch, first)
            found += [one.decode() for one in map(keys.key, range(keys.size)) if one > wanted]
            if len(found) >= limit:
                break
        return found[:limit]

    def _keys(self, batch: _Batch, first: int) -> _Keys:
        """The `_STEP` keys from the one at `first` on, or as many as there are."""
        count = min(_STEP, batch.size - first)
        ends = self._read(batch.key_ends_at + 4 * first, 4 * (count + 1)).cast("i")
        return _Keys(count, ends, ends[0], self._read(batch.keys_at + ends[0], ends[count] - ends[0]))

    def _row(self, batch: _Batch, place: int) -> dict[str, Any]:
        start, end = self._read(batch.row_ends_at + 8 * place, 16).cast("q")
        return dict(zip(self.names, orjson.loads(self._read(batch.rows_at + start, end - start)), strict=True))

    def _read(self, at: int, size: int) -> memoryview:
        """So many bytes of the file from `at` on. Raises OSError where they are not there any more."""
        found = os.pread(self._file.fileno(), size, at) if size else b""  # nothing may have no place
        if len(found) < size:
            raise OSError(f"{self._file.name} has become shorter while it is served: a release is never written to.")
        return memoryview(found)


def _located(rows: pa.RecordBatch, key: str, start: int) -> tuple[_Batch, list[bytes]]:
    """Where the `rows` are in the file that is in memory from the address `start` on; and one key in `_STEP`."""
    _, key_ends, keys = rows[key].buffers()
    _, row_ends, stored = rows[ROW].buffers()
    batch = _Batch(len(rows), *(one.address - start for one in (key_ends, keys, row_ends, stored)))
    ends, content = np.frombuffer(key_ends, np.int32)[: batch.size + 1], memoryview(keys)
    steps = zip(ends[:-1:_STEP].tolist(), ends[1::_STEP].tolist(), strict=True)
    return batch, [bytes(content[first:last]) for first, last in steps]
