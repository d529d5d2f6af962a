"""Typed schemas of datasets: columns, keys, rules and references, with their Arrow form.

The vocabulary only. The contract of each raw dataset is in `ecom_assets.contracts`; how rows are held against one is
in `ecom_assets.contracts.validation`; how a table is made from one is in `cartograph.lake`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

ColumnType = Literal["string", "bigint", "double", "money", "price", "boolean", "date", "timestamp"]
Pii = Literal["name", "email", "phone", "address", "birth_date", "device", "payment", "free_text"]

ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "money": pa.decimal128(18, 2),
    "price": pa.decimal128(18, 4),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
DUCKDB_TYPES: dict[ColumnType, str] = {
    "string": "VARCHAR",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "money": "DECIMAL(18,2)",
    "price": "DECIMAL(18,4)",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Frozen):
    """One column. `accepted`, where given, lists the only values a non-null may take.

    `pii` says which kind of personal data it holds: an erasure empties it for the erased customer, and keeps all else.

    A `volatile` column changes when the shop acts, by a campaign or a coupon, or says how far something has come: its
    days are not compared, except for how many of their rows have one of its `rare` values.
    """

    name: str
    type: ColumnType
    description: str
    nullable: bool = False
    pii: Pii | None = None
    accepted: tuple[str, ...] = ()
    volatile: bool = False
    rare: tuple[str, ...] = ()


class Rule(_Frozen):
    """A row rule: `sql` is a DuckDB boolean over the typed columns; a row breaks it only where it is false."""

    name: str
    sql: str
    message: str


class Reference(_Frozen):
    """A foreign key: each non-null `column` must exist as `to_column` of `dataset`.

    `alike`, where given, is a column that both datasets have, and that must be equal in the row and in its parent.
    """

    column: str
    dataset: str
    to_column: str
    alike: str | None = None

    @property
    def parent_columns(self) -> tuple[str, ...]:
        """What must be known of the parents."""
        return (self.to_column, self.alike) if self.alike else (self.to_column,)


class Contract(_Frozen):
    """The shape and rules of one dataset.

    `key` identifies a row within a load (it includes the version column of versioned datasets). `event_time` names the
    timestamp or date column that places a row in a partition; None for a table without a time axis. `received_time`
    names the timestamp at which the row reached the shop. `steady`, a DuckDB boolean, picks the rows which come day by
    day, by what customers do; the others come when the shop acts, as by a mailing, and no day is like the one before.
    """

    dataset: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    event_time: str | None = None
    received_time: str | None = None
    steady: str = "true"
    rules: tuple[Rule, ...] = ()
    references: tuple[Reference, ...] = ()
    required: bool = False
    enables: str = ""

    def column(self, name: str) -> Column:
        """The column called `name`. Raises KeyError where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.dataset} has no column {name}")

    @property
    def is_steady(self) -> bool:
        """Whether the dataset has rows that come day by day, so that days can be compared."""
        return self.event_time is not None and self.steady != "false"

    @property
    def has_versions(self) -> bool:
        """Whether a row is a version of something, which comes when the shop changes it."""
        return self.event_time in self.key and not self.is_steady

    @property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(column.name for column in self.columns)

    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema, with nullability and descriptions."""
        return pa.schema(
            [
                pa.field(c.name, ARROW_TYPES[c.type], nullable=c.nullable, metadata={"doc": c.description})
                for c in self.columns
            ]
        )

    def arrow_table(self, rows: Sequence[Sequence[object]]) -> pa.Table:
        """Rows with a value for each column as a table of `arrow_schema`."""
        schema = self.arrow_schema()
        columns = zip(*rows, strict=True) if rows else [()] * len(schema)
        arrays = [pa.array(list(values), field.type) for values, field in zip(columns, schema, strict=True)]
        return pa.table(arrays, schema=schema)


PROVENANCE = (
    Column(name="_ingested_at", type="timestamp", description="When the row was written to the lake."),
    Column(name="_source", type="string", description="Where the row came from: the simulator, a file, a table."),
    Column(name="_batch_id", type="string", description="The run that wrote the row."),
)


def with_provenance(contract: Contract) -> Contract:
    """The contract of the lake table that stores `contract`: the same columns and the provenance columns."""
    return contract.model_copy(update={"columns": contract.columns + PROVENANCE})
