"""Holding rows against a table's schema before they are written: columns, types, nulls and the window.

Pure checks and lossless casts. What a row *means* is judged earlier, in `ecom_assets.contracts.validation`; this is the
lake's own last line, so that no writer can leave a table half typed or a row in another window's partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import And, BooleanExpression, GreaterThanOrEqual, LessThan, Reference
from pyiceberg.expressions.literals import literal
from pyiceberg.manifest import DataFile
from pyiceberg.types import DateType, NestedField, PrimitiveType
from pyiceberg.utils.datetime import date_to_days, datetime_to_micros

from cartograph.lake.errors import RowsRejected
from cartograph.windows import Window


def conform(identifier: str, rows: pa.Table, target: pa.Schema) -> pa.Table:
    """`rows` with exactly `target`'s columns, order and types; an absent nullable column is filled with nulls.

    Raises:
        RowsRejected: an unknown, repeated or missing column, a type that does not fit without loss, or a null in a
            required column; the message names the table, the column and the number of rows.
    """
    _check_names(identifier, rows.column_names, target)
    given = set(rows.column_names)
    columns = [
        _fit(identifier, rows[field.name], field) if field.name in given else pa.nulls(len(rows), field.type)
        for field in target
    ]
    return pa.Table.from_arrays(columns, schema=target)


def check_key(identifier: str, rows: pa.Table, key: Sequence[str]) -> None:
    """Raise RowsRejected where `key` is not columns of `rows`, or has a null, or the same values twice."""
    unknown = [column for column in key if column not in rows.column_names]
    if unknown or not key:
        raise RowsRejected(
            f"The key ({', '.join(key)}) of an upsert into {identifier} must be columns of the table: "
            f"{', '.join(rows.column_names)}."
        )
    nulls = sum(rows[column].null_count for column in key)
    twice = len(rows) - len(rows.group_by(list(key)).aggregate([]))
    if nulls or twice:
        raise RowsRejected(
            f"Rows for an upsert into {identifier} must have each key ({', '.join(key)}) once: {nulls} of "
            f"{len(rows)} values are null and {twice} rows repeat a key. Keep the latest of each first."
        )


def _check_names(identifier: str, names: list[str], target: pa.Schema) -> None:
    problems = {
        "columns that the table does not have": [name for name in names if name not in target.names],
        "repeated columns": sorted({name for name in names if names.count(name) > 1}),
        "no values for required columns": [f.name for f in target if not f.nullable and f.name not in names],
    }
    found = "; ".join(f"{problem}: {', '.join(columns)}" for problem, columns in problems.items() if columns)
    if found:
        raise RowsRejected(
            f"Rows for {identifier} have {found}. The table's columns are {', '.join(target.names)}; "
            f"bring the rows, or the table's contract, into line."
        )


def _fit(identifier: str, values: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    if values.type != field.type:
        plain = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
        if not _fits(plain, field.type):
            raise RowsRejected(
                f"Rows for {identifier} have {field.name} as {values.type}, and the table has {field.type}. "
                f"Cast the column before writing it."
            )
        if pa.types.is_integer(plain) and pa.types.is_decimal(field.type):
            values = values.cast(pa.decimal128(38, field.type.scale))  # Arrow wants room for any integer on the way.
        try:
            values = values.cast(field.type)
        except pa.ArrowInvalid as error:
            raise RowsRejected(
                f"Rows for {identifier} have values of {field.name} ({values.type}) that {field.type} cannot hold: "
                f"{error}"
            ) from None
    if not field.nullable and values.null_count:
        raise RowsRejected(
            f"{values.null_count} of {len(values)} rows for {identifier} have no {field.name}, which is required. "
            f"Quarantine them, or declare the column nullable in the contract."
        )
    return values


def _fits(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a checked cast from `given` to `wanted` keeps the meaning of each value that it lets through."""
    kinds = pa.types
    if kinds.is_timestamp(wanted):
        return kinds.is_null(given) or (kinds.is_timestamp(given) and (given.tz is None) == (wanted.tz is None))
    sources = {
        kinds.is_decimal: (kinds.is_decimal, kinds.is_integer),
        kinds.is_floating: (kinds.is_floating, kinds.is_integer),
        kinds.is_integer: (kinds.is_integer,),
        kinds.is_date: (kinds.is_date,),
        kinds.is_string: (kinds.is_string, kinds.is_large_string, kinds.is_string_view),
        kinds.is_boolean: (kinds.is_boolean,),
    }
    accepted = next(given_kinds for is_wanted, given_kinds in sources.items() if is_wanted(wanted))
    return any(is_kind(given) for is_kind in (kinds.is_null, *accepted))


@dataclass(frozen=True)
class Cut:
    """A window as a half-open range `[low, high)` of the values of one column, a timestamp or a date."""

    field: NestedField
    window: Window

    @property
    def low(self) -> datetime | date:
        """The least value inside."""
        return self._value(self.window.start)

    @property
    def high(self) -> datetime | date:
        """The least value after."""
        return self._value(self.window.end)

    def _value(self, moment: datetime) -> datetime | date:
        moment = moment.astimezone(UTC)
        if not isinstance(self.field.field_type, DateType):
            return moment
        day = moment.date()  # A date stands for its midnight: it is inside from the first midnight that is.
        return day if moment == datetime(day.year, day.month, day.day, tzinfo=UTC) else day + timedelta(days=1)

    def expression(self) -> BooleanExpression:
        """The range as an Iceberg filter."""
        column, low, high = Reference(self.field.name), literal(self.low.isoformat()), literal(self.high.isoformat())
        return And(GreaterThanOrEqual(term=column, value=low), LessThan(term=column, value=high))

    def check(self, identifier: str, rows: pa.Table) -> None:
        """Raise RowsRejected where a row's value is null or outside."""
        values = rows[self.field.name]
        inside = pc.and_(pc.greater_equal(values, self.low), pc.less(values, self.high))
        strays = len(values) - (pc.sum(inside).as_py() or 0)
        if strays:
            ends = pc.min_max(values).as_py()
            raise RowsRejected(
                f"{strays} of {len(values)} rows for {identifier} lie outside the window "
                f"{self.window.start.isoformat()} to {self.window.end.isoformat()} that is overwritten: their "
                f"{self.field.name} runs from {ends['min']} to {ends['max']}. "
                f"Write them with the window that they belong to."
            )

    def covers(self, file: DataFile) -> bool:
        """Whether the file's statistics prove that all of its rows are inside."""
        key, kind = self.field.field_id, self.field.field_type
        least, most = (file.lower_bounds or {}).get(key), (file.upper_bounds or {}).get(key)
        if least is None or most is None or not isinstance(kind, PrimitiveType):
            return False
        if (file.null_value_counts or {}).get(key) != 0:
            return False
        first, last = (int(from_bytes(kind, value)) for value in (least, most))
        return _ordinal(self.low) <= first and last < _ordinal(self.high)


def _ordinal(value: datetime | date) -> int:
    return datetime_to_micros(value) if isinstance(value, datetime) else date_to_days(value)
