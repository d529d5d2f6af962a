"""Figures: the sums that they are made of by dimension and day, and how each is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError, model_validator

from cartograph.releases.contents.base import Content, ContentError
from cartograph.releases.contents.files import KPI_CUSTOMERS, KPI_FILE, KPIS
from cartograph.releases.contents.tables import open_table, write_table

_KPI_KEY = {"dimension": pa.string(), "value": pa.string(), "date": pa.date32()}
_AMOUNTS = ("revenue", "gross", "discounts", "shipping", "refunds", "sales", "margin")
_COUNTS = ("orders", "units", "sessions", "bounces", "purchase_sessions")

KPI_COLUMNS = {**_KPI_KEY, **dict.fromkeys((*_AMOUNTS, *_COUNTS), pa.int64())}
"""Columns of `kpis.arrow`; amounts are in hundredths of the shop's currency, so that they add up exactly. None is null.

The value of the dimension `total` is `all`."""

KPI_CUSTOMER_COLUMNS = {**_KPI_KEY, "previous_date": pa.date32(), "customers": pa.int64()}
"""Columns of `kpi_customers.arrow`: customers with an order on `date`, by the day of their order before; none is null.

The day before of a first order is 1900-01-01. The customers of a range of days are the rows of its days whose day
before lies ahead of it."""


class Kpi(Content):
    """A figure of `kpis.arrow`, or one that is made of two.

    `formula` has one column of `KPI_COLUMNS`, `customers`, or two with a `/` or `-` between them. `dimensions` are what
    it can be split by. An amount is in the shop's currency.
    """

    name: str
    description: str
    unit: Literal["amount", "count", "ratio"]
    formula: str
    dimensions: tuple[str, ...]

    @property
    def parts(self) -> tuple[str, str | None, str | None]:
        """The first column, and where there is a second one, what is between them and that."""
        first, *rest = self.formula.split(" ")
        return (first, rest[0], rest[1]) if rest else (first, None, None)

    @model_validator(mode="after")
    def _can_be_computed(self) -> Self:
        known = {*_AMOUNTS, *_COUNTS, "customers"}
        first, sign, second = self.parts
        if first not in known or (sign is not None and (sign not in {"/", "-"} or second not in known)):
            raise ValueError(f"{self.formula!r} cannot be computed from {', '.join(sorted(known))}")
        return self


KPI_LIST = TypeAdapter(tuple[Kpi, ...])


def write_kpis(folder: Path, kpis: Sequence[Kpi], sums: pa.Table, customers: pa.Table) -> None:
    """Write the files of figures.

    Raises:
        ContentError: a table has other columns than agreed, or a null.
    """
    for name, columns, table in ((KPIS, KPI_COLUMNS, sums), (KPI_CUSTOMERS, KPI_CUSTOMER_COLUMNS, customers)):
        ordered = table.select([one for one in columns if one in table.column_names]).sort_by(
            [(one, "ascending") for one in columns if one in {*_KPI_KEY, "previous_date"} & {*table.column_names}]
        )
        _check_kpis(name, ordered, columns)
        write_table(folder / name, ordered)
    (folder / KPI_FILE).write_bytes(KPI_LIST.dump_json(tuple(kpis), indent=2))


def open_kpis(folder: Path) -> tuple[tuple[Kpi, ...], pa.Table, pa.Table]:
    """The figures that there are, and the memory-mapped tables that `write_kpis` wrote.

    Raises:
        ContentError: a file is not of the form that `write_kpis` gives.
    """
    sums, customers = open_table(folder / KPIS), open_table(folder / KPI_CUSTOMERS)
    _check_kpis(KPIS, sums, KPI_COLUMNS)
    _check_kpis(KPI_CUSTOMERS, customers, KPI_CUSTOMER_COLUMNS)
    try:
        return KPI_LIST.validate_json((folder / KPI_FILE).read_bytes()), sums, customers
    except ValidationError as error:
        raise ContentError(f"{KPI_FILE} cannot be used: {error}") from None


def _check_kpis(name: str, table: pa.Table, columns: Mapping[str, pa.DataType]) -> None:
    if dict(zip(table.schema.names, table.schema.types, strict=True)) != dict(columns):
        raise ContentError(f"{name} must have the columns {', '.join(f'{n} {t}' for n, t in columns.items())}")
    if any(column.null_count for column in table.columns):
        raise ContentError(f"{name} must have no nulls")
