"""Customers by id, read from the memory-mapped table of a release."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from api.services.lookup import find_row
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

    def __len__(self) -> int:
        return len(self._table)

    def find(self, customer_id: str) -> CustomerRow | None:
        """The customer of that id, None where there is none."""
        row = find_row(self._table, "customer_id", customer_id)
        if row is None:
            return None
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
