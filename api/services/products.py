"""Forecasts and reorder advice by product, read from the memory-mapped tables of a release."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

import pyarrow as pa

Row = dict[str, Any]


class Products:
    """Looks products up in a table that is sorted by `product_id` (`contents.open_products` makes sure of it)."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._ids = table["product_id"]

    def rows(self, product_id: str) -> list[Row]:
        """All rows of a product, in the table's order; none where it has none."""
        first = bisect_left(range(len(self._ids)), product_id, key=self._id)
        last = bisect_right(range(len(self._ids)), product_id, lo=first, key=self._id)
        return self._between(first, last)

    def after(self, product_id: str, limit: int) -> list[Row]:
        """The first `limit` rows of the products that come after `product_id`, which need not be there itself."""
        first = bisect_right(range(len(self._ids)), product_id, key=self._id)
        return self._between(first, first + limit)

    def _id(self, place: int) -> str:
        return str(self._ids[place].as_py())

    def _between(self, first: int, last: int) -> list[Row]:
        rows: list[Row] = self._table.slice(first, last - first).to_pylist()
        return rows
