"""Rows by id in a file of a release that is sorted by it: no index in memory but a key in 64, whatever its size."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from pathlib import Path
from typing import Any, Protocol

import orjson
import pyarrow as pa

from cartograph.releases.contents.base import ContentError
from cartograph.releases.rows import StoredRows, for_json


class Rows(Protocol):
    """Rows by their key, in the order of the keys."""

    def __len__(self) -> int: ...

    def find(self, key: str) -> dict[str, Any] | None:
        """The row whose key it is, fit for JSON; None where there is none."""

    def after(self, key: str, limit: int) -> list[str]:
        """The first `limit` keys that come after `key`, which need not be there itself."""


class TableRows:
    """The rows of a table, as of a release that was made before `_row` was: each takes a read for each column."""

    def __init__(self, table: pa.Table, key: str) -> None:
        self._table = table
        self._ids = table[key]

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, key: str) -> dict[str, Any] | None:
        """The row whose key it is, fit for JSON; None where there is none."""
        # Arrow sorts strings by UTF-8 bytes and Python by code points, which is the same order.
        place = bisect_left(range(len(self._ids)), key, key=self._id)
        if place == len(self._ids) or self._id(place) != key:
            return None
        row = {name: self._table[name][place].as_py() for name in self._table.column_names}
        return dict(orjson.loads(for_json(row)))

    def after(self, key: str, limit: int) -> list[str]:
        """The first `limit` keys that come after `key`, which need not be there itself."""
        first = bisect_right(range(len(self._ids)), key, key=self._id)
        return [str(one) for one in self._ids.slice(first, limit).to_pylist()]

    def _id(self, place: int) -> str:
        return str(self._ids[place].as_py())


def open_rows(path: Path, table: pa.Table, key: str) -> Rows:
    """The rows of the file at `path` by its column `key`; `table` is what `contents` opened of it, and checked.

    Raises:
        ContentError: the file cannot be read.
    """
    try:
        return StoredRows(path, key)
    except KeyError:
        return TableRows(table, key)
    except pa.ArrowInvalid as error:
        raise ContentError(f"{path.name} is not an Arrow file: {error}") from None
