"""Rows of a release's Arrow file by their key: each row stands in the file once more, as one stretch of JSON.

A row of a table of columns lies in as many places as it has columns, and each place that is looked at through a memory
map stays in the process: ten million customers would fill gigabytes. So `with_rows` adds a column that holds the whole
row, and `StoredRows` reads one by one `pread`, which keeps nothing. In memory are the pages of the keys that were
compared, and one key in `_STEP`. Which files are written so is `contents`.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
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
    """The keys of a batch in the memory map, and where in the file its rows are."""

    key_ends: npt.NDArray[np.int32]
    key_bytes: memoryview
    row_ends: npt.NDArray[np.int64]
    rows_at: int

    def key(self, at: int) -> bytes:
        return bytes(self.key_bytes[self.key_ends[at] : self.key_ends[at + 1]])


class StoredRows:
    """The rows of a file that is sorted by its column `key`, of strings; several threads may ask.

    Open until the object is gone, so that it answers from a release that was deleted since.
    """

    def __init__(self, path: Path, key: str) -> None:
        """Map the file at `path`.

        Raises:
            pa.ArrowInvalid: it is not an Arrow file.
            KeyError: it has no column `key` or `_row`, as one of an older release.
        """
        self._file = path.open("rb", buffering=0)
        self._whole = pa.memory_map(str(path)).read_buffer()
        reader = pa.ipc.open_file(self._whole)
        names = reader.schema.names
        if key not in names or reader.schema.field(names.index(key)).type != pa.string() or ROW not in names:
            raise KeyError(f"{path.name} has no rows by {key}")
        self.names = [name for name in names if name != ROW]
        self._batches = [self._located(reader.get_batch(at), key) for at in range(reader.num_record_batches)]
        self._sizes = [len(batch.key_ends) - 1 for batch in self._batches]
        self._steps = [(at, first) for at, size in enumerate(self._sizes) for first in range(0, size, _STEP)]
        self._first_keys = [self._batches[at].key(first) for at, first in self._steps]

    def __len__(self) -> int:
        return sum(self._sizes)

    def find(self, key: str) -> dict[str, Any] | None:
        """The row whose key it is, fit for JSON; None where there is none."""
        wanted = key.encode(errors="surrogatepass")  # a lone surrogate is in no file, and so not found
        step = bisect_right(self._first_keys, wanted) - 1
        if step < 0:
            return None
        at, first = self._steps[step]
        batch = self._batches[at]
        place = bisect_left(range(min(first + _STEP, self._sizes[at])), wanted, lo=first, key=batch.key)
        if place == self._sizes[at] or batch.key(place) != wanted:
            return None
        return self._row(batch, place)

    def after(self, key: str, limit: int) -> list[str]:
        """The first `limit` keys that come after `key`, which need not be there itself; in the order of their bytes."""
        wanted = key.encode(errors="surrogatepass")
        step = max(bisect_right(self._first_keys, wanted) - 1, 0)
        found: list[str] = []
        for at, first in self._steps[step:]:
            batch = self._batches[at]
            keys = (batch.key(place) for place in range(first, min(first + _STEP, self._sizes[at])))
            found += [one.decode() for one in keys if one > wanted]
            if len(found) >= limit:
                break
        return found[:limit]

    def _located(self, batch: pa.RecordBatch, key: str) -> _Batch:
        keys, rows = batch[key], batch[ROW]
        if not len(batch):
            return _Batch(np.zeros(1, np.int32), memoryview(b""), np.zeros(1, np.int64), 0)
        _, key_ends, key_bytes = keys.buffers()
        _, row_ends, row_bytes = rows.buffers()
        return _Batch(
            np.frombuffer(key_ends, np.int32)[: len(batch) + 1],
            memoryview(key_bytes),
            np.frombuffer(row_ends, np.int64)[: len(batch) + 1],
            row_bytes.address - self._whole.address,
        )

    def _row(self, batch: _Batch, place: int) -> dict[str, Any]:
        start, end = int(batch.row_ends[place]), int(batch.row_ends[place + 1])
        stored = os.pread(self._file.fileno(), end - start, batch.rows_at + start)
        return dict(zip(self.names, orjson.loads(stored), strict=True))
