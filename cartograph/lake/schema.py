"""From a contract to an Iceberg schema and partitioning, and the changes that bring an older table up to a contract.

Pure functions on types. Which types Parquet, Arrow and DuckDB use for an Iceberg type is decided here too, so that the
writer and the reader cannot disagree. Committing a change is in `tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
from pyiceberg.partitioning import PARTITION_FIELD_ID_START, UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.update.schema import UpdateSchema
from pyiceberg.transforms import DayTransform, MonthTransform, Transform
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    PrimitiveType,
    StringType,
    TimestampType,
    TimestamptzType,
)

from cartograph.contracts import Column, ColumnType, Contract
from cartograph.lake.errors import LakeError, SchemaConflict
from cartograph.windows import Grain
from cartograph.words import counted

EVENT_TIME_ID = "cartograph.event-time-id"
GRAIN = "cartograph.grain"
"""Table property: the field id of the column that windows cut. An id, so that a rename does not lose it."""

FIELD_ID_KEY = "PARQUET:field_id"
ROW_GROUP_ROWS = 122_880
"""DuckDB's own size: the unit that its scan skips by statistics and shares between threads."""

ICEBERG_TYPES: dict[ColumnType, PrimitiveType] = {
    "string": StringType(),
    "bigint": LongType(),
    "double": DoubleType(),
    "money": DecimalType(18, 2),
    "price": DecimalType(18, 4),
    "boolean": BooleanType(),
    "date": DateType(),
    "timestamp": TimestamptzType(),
}
# Besides the contracts' types, the narrower ones that another engine or an older table may hold.
_PHYSICAL: dict[type[IcebergType], tuple[pa.DataType, str]] = {
    StringType: (pa.string(), "VARCHAR"),
    IntegerType: (pa.int32(), "INTEGER"),
    LongType: (pa.int64(), "BIGINT"),
    FloatType: (pa.float32(), "FLOAT"),
    DoubleType: (pa.float64(), "DOUBLE"),
    BooleanType: (pa.bool_(), "BOOLEAN"),
    DateType: (pa.date32(), "DATE"),
    TimestampType: (pa.timestamp("us"), "TIMESTAMP"),
    TimestamptzType: (pa.timestamp("us", tz="UTC"), "TIMESTAMPTZ"),
}
_CONFLICT_CURE = (
    "Give the column its old type back, or put the new one in a column of another name; "
    "or load the shop again into an empty CARTOGRAPH_HOME."
)


def iceberg_schema(contract: Contract) -> Schema:
    """The Iceberg schema of a new table for `contract`: field ids from 1, in the contract's order."""
    return Schema(
        *(
            NestedField(number, c.name, ICEBERG_TYPES[c.type], required=not c.nullable, doc=c.description)
            for number, c in enumerate(contract.columns, start=1)
        )
    )


def partition_spec(schema: Schema, contract: Contract, grain: Grain | None) -> PartitionSpec:
    """The partitioning of a table for `contract`: by day for daily, by month for monthly and weekly, else none.

    Weeks share their month's folder, but no file until compaction: a week's overwrite drops whole files.
    """
    if grain is None or contract.event_time is None:
        return UNPARTITIONED_PARTITION_SPEC
    transform: Transform[int, int] = DayTransform() if grain == "daily" else MonthTransform()
    source = schema.find_field(contract.event_time)
    name = f"{contract.event_time}_{'day' if grain == 'daily' else 'month'}"
    return PartitionSpec(PartitionField(source.field_id, PARTITION_FIELD_ID_START, transform, name))


def arrow_schema(schema: Schema) -> pa.Schema:
    """The Arrow schema in which rows are written and read, with Parquet field ids and nullability."""
    return pa.schema(
        [
            pa.field(f.name, arrow_type(f), nullable=not f.required, metadata={FIELD_ID_KEY: str(f.field_id)})
            for f in schema.fields
        ]
    )


def arrow_type(field: NestedField) -> pa.DataType:
    """The Arrow type of a column. Raises LakeError for a type that no contract can name (nested, binary, …)."""
    return _physical(field)[0]


def duckdb_type(field: NestedField) -> str:
    """The DuckDB type of a column. Raises LakeError for a type that no contract can name."""
    return _physical(field)[1]


def _physical(field: NestedField) -> tuple[pa.DataType, str]:
    kind = field.field_type
    if isinstance(kind, DecimalType):
        return pa.decimal128(kind.precision, kind.scale), f"DECIMAL({kind.precision},{kind.scale})"
    if type(kind) not in _PHYSICAL:
        raise LakeError(f"Column {field.name} has the Iceberg type {kind}, which Cartograph cannot read.")
    return _PHYSICAL[type(kind)]


def widens(old: IcebergType, new: IcebergType) -> bool:
    """Whether every value of `old` is one of `new` and Iceberg can read files of the one as the other.

    Not pyiceberg's `promote`: in 0.12.0 that lets a decimal's scale change, which would shift every amount.
    """
    if isinstance(old, DecimalType) and isinstance(new, DecimalType):
        return old.scale == new.scale and old.precision < new.precision
    return (type(old), type(new)) in {(IntegerType, LongType), (FloatType, DoubleType)}


@dataclass(frozen=True)
class Change:
    """One step of a schema's evolution: what it does to which column, and how to stage it."""

    kind: Literal["add", "widen", "make_nullable", "describe"]
    column: str
    stage: Callable[[UpdateSchema], object]


def changes(identifier: str, schema: Schema, contract: Contract, *, rows: int) -> Iterator[Change]:
    """The changes that bring a table of `schema` up to `contract`, in the contract's order.

    A column that the contract no longer names is kept for the rows that have it, and made nullable. A new required
    column can join only a table without rows.

    Args:
        identifier: the table.
        schema: what it has.
        contract: what it is to have.
        rows: how many it holds.

    Raises:
        SchemaConflict: a type would lose values, a nullable column would become required, or old rows would lack a
            required value; the message names the table, its rows, the column, both types and the cure.
    """
    present = {field.name: field for field in schema.fields}
    for column in contract.columns:
        if column.name in present:
            yield from _column_changes(f"{identifier} ({counted(rows, 'row')})", present[column.name], column)
        elif column.nullable or not rows:
            yield _addition(column)
        else:
            raise SchemaConflict(
                f"{identifier} has no column {column.name}, and its {counted(rows, 'row')} would have no value for "
                "it, but the contract requires one. Declare the column nullable, or load the shop again into an empty "
                "CARTOGRAPH_HOME."
            )
    for name, field in present.items():
        if name not in contract.names and field.required:
            yield _now_nullable(name)


def _column_changes(told: str, field: NestedField, column: Column) -> Iterator[Change]:
    name, wanted = column.name, ICEBERG_TYPES[column.type]
    if field.field_type != wanted:
        if not widens(field.field_type, wanted):
            new = NestedField(field.field_id, name, wanted)
            raise SchemaConflict(
                f"{told}: column {name} is {duckdb_type(field)} in the lake and {duckdb_type(new)} in the "
                f"contract, and the one cannot become the other without losing values. {_CONFLICT_CURE}"
            )
        yield Change("widen", name, lambda update: update.update_column(name, wanted))
    if field.required and column.nullable:
        yield _now_nullable(name)
    if not field.required and not column.nullable:
        raise SchemaConflict(
            f"{told}: column {name} ({duckdb_type(field)}) may be null in the lake and is required "
            f"({duckdb_type(field)} not null) in the contract; rows may already hold nulls. Declare it nullable, or "
            f"load the shop again into an empty CARTOGRAPH_HOME."
        )
    if field.doc != column.description:
        yield Change("describe", name, lambda update: update.update_column(name, doc=column.description))


def _addition(column: Column) -> Change:
    return Change(
        "add",
        column.name,
        lambda update: update.add_column(
            column.name, ICEBERG_TYPES[column.type], doc=column.description, required=not column.nullable
        ),
    )


def _now_nullable(name: str) -> Change:
    return Change("make_nullable", name, lambda update: update.make_column_optional(name))
