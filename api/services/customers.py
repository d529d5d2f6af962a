"""Customers by id, read from the memory-mapped table of a release: no index in memory, whatever their number."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from cartograph.releases.contents import CUSTOMER_COLUMNS

Value = bool | int | float | str | None


@dataclass(frozen=True)
class CustomerRow:
    """One row of `customers.arrow`, its values fit for JSON."""

    customer_id: str
    as_of: date
    segment: str | None
    churn_probability: float | None
    churn_model_version: str | None
    features: dict[str, Value]


class Customers:
    """Looks customers up in a table that is sorted by `customer_id` (`contents.open_customers` makes sure of it)."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._ids = table["customer_id"]

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, customer_id: str) -> CustomerRow | None:
        """The customer of that id, None where there is none: a binary search, some 25 reads among 10 million."""
        # Arrow sorts strings by UTF-8 bytes and Python by code points, which is the same order.
        position = bisect_left(range(len(self)), customer_id, key=lambda at: self._ids[at].as_py())
        if position == len(self) or self._ids[position].as_py() != customer_id:
            return None
        row = {name: self._table[name][position].as_py() for name in self._table.column_names}
        known = {name: row.pop(name) for name in CUSTOMER_COLUMNS}
        return CustomerRow(**known, features={name: _for_json(value) for name, value in row.items()})


def _for_json(value: Any) -> Value:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return value  # type: ignore[no-any-return]  # the other types of Arrow that the lake has are JSON's own
