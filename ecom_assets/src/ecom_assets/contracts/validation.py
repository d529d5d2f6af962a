"""Holds delivered rows against their contract: each row is accepted, merged or quarantined with a reason.

Vectorised in DuckDB over Arrow and pure: the same rows give the same answer, whatever their order. What a good row is
stands in the contracts beside this module; loading accepted and quarantined rows belongs in `ecom_assets.ingestion`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cartograph.contracts import ARROW_TYPES, DUCKDB_TYPES, Column, Contract, Reference
from cartograph.windows import Window
from cartograph.words import counted
from ecom_assets.contracts.quarantine import QUARANTINE_COLUMNS
from ecom_assets.sql import identifier, literal

EXACT_DUPLICATE = "exact_duplicate"
DUPLICATE_KEY = "duplicate_key"
TOO_LATE = "too_late"
ORPHAN = "orphan:"
UNLIKE_PARENT = "unlike_parent:"
"""What the reasons begin with that tell of a row's parent; its column follows."""
SOURCE = pa.field("_source", pa.string(), nullable=False)
NUMBERS = {"bigint", "double", "money", "price"}
CALENDAR = {"date": ("0001-01-01", "9999-12-31"), "timestamp": ("0001-01-01", "9999-12-31 23:59:59.999999")}
"""The first and the last moment of the calendar, by the type: DuckDB and Arrow know others, and what reads them not."""
_WHITE_SPACE = "concat(' ', chr(9), chr(10), chr(13), chr(160))"
_ROW = "__row"
_UNBROKEN = f"(SELECT * FROM typed ANTI JOIN findings USING ({_ROW}))"


class ContractError(ValueError):
    """A delivery lacks a column that its contract needs. The message names dataset, column, source and the cure."""


def extra_column(name: str) -> Column:
    """Where the lake keeps a delivered column that the contract lacks: apart, as the contract may gain it, typed."""
    return Column(
        name=f"_extra_{name}",
        type="string",
        nullable=True,
        description=f"{name}, as the source delivers it; the contract does not know it.",
    )


@dataclass(frozen=True)
class Counts:
    """What became of the delivered rows: `delivered == accepted + merged + sum(quarantined.values())`.

    `quarantined` counts rows by their first reason; `extra_columns` names delivered columns that the contract lacks,
    `absent_columns` those of the contract that some delivery lacked.
    """

    delivered: int = 0
    accepted: int = 0
    merged: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    extra_columns: tuple[str, ...] = ()
    absent_columns: tuple[str, ...] = ()

    @property
    def repeated(self) -> int:
        """Rows that repeat another, or the key of another."""
        return self.merged + self.quarantined[DUPLICATE_KEY]

    @property
    def quarantined_pct(self) -> float:
        """Quarantined rows in percent of delivered rows; merged duplicates do not count."""
        return 100 * self.quarantined.total() / self.delivered if self.delivered else 0.0

    def __add__(self, other: Counts) -> Counts:
        """The counts of both deliveries together."""
        return Counts(
            delivered=self.delivered + other.delivered,
            accepted=self.accepted + other.accepted,
            merged=self.merged + other.merged,
            quarantined=self.quarantined + other.quarantined,
            extra_columns=tuple(dict.fromkeys((*self.extra_columns, *other.extra_columns))),
            absent_columns=tuple(dict.fromkeys((*self.absent_columns, *other.absent_columns))),
        )


@dataclass(frozen=True)
class Validated:
    """A delivery after validation.

    `accepted` has the contract's columns and types, `_source`, and as text under `extra_column` each delivered column
    that the contract lacks; it is ordered by event time and key. `quarantined` has the columns of
    `QUARANTINE_COLUMNS` and `_source`; merged rows stand in it with the reason `exact_duplicate`.
    """

    accepted: pa.Table
    quarantined: pa.Table
    counts: Counts


def counts_by_window(checked: Validated, contract: Contract, windows: Sequence[Window]) -> dict[Window, Counts]:
    """What became of the rows of each of consecutive windows that a delivery covers, where it has some.

    By the time of each row; one without any is where the quarantine has it. Nothing is said of columns.
    """
    starts = np.array([window.start.replace(tzinfo=None) for window in windows], dtype="datetime64[us]")

    def places(moments: pa.ChunkedArray) -> npt.NDArray[np.intp]:
        found = moments.cast(pa.timestamp("us")).to_numpy().astype("datetime64[us]")
        place: npt.NDArray[np.intp] = np.maximum(np.searchsorted(starts, found, side="right") - 1, 0)
        return place

    accepted = np.zeros(len(windows), dtype=np.int64)
    if contract.event_time is not None and checked.accepted.num_rows:
        accepted += np.bincount(places(checked.accepted[contract.event_time]), minlength=len(windows))
    refused: dict[int, Counter[str]] = {}
    if checked.quarantined.num_rows:
        reasons = zip(
            places(checked.quarantined["window_start"]), checked.quarantined["reason"].to_pylist(), strict=True
        )
        for (place, reason), rows in Counter(reasons).items():
            refused.setdefault(int(place), Counter())[reason] = rows
    found = {}
    for place, window in enumerate(windows):
        broken = refused.get(place, Counter())
        merged = broken.pop(EXACT_DUPLICATE, 0)
        if delivered := int(accepted[place]) + merged + broken.total():
            found[window] = Counts(delivered, int(accepted[place]), merged, broken)
    return found


@dataclass(frozen=True)
class _Finding:
    """Something that can be wrong with a row: `sql` is true where it is. `told` is SQL that ends the message."""

    reason: str
    message: str
    sql: str
    told: str = "''"


def validate(
    rows: pa.Table,
    contract: Contract,
    *,
    window: Window,
    shop_window: Window,
    known_keys: Mapping[str, pa.Table],
    late_limit: timedelta | None = None,
    elsewhere: pa.Table | None = None,
) -> Validated:
    """Type the rows by their contract and part the good from the broken.

    A nullable column that is not delivered is null. Of rows that are equal in all contract columns one is accepted and
    the others are merged into it; of rows that share a key but differ, the first by event time and then content is
    accepted. Duplicates are looked for among rows that break nothing else. Amounts are rounded to their type's scale;
    a fraction is not a `bigint`.

    Args:
        rows: as in `Delivery`: columns named as in the contract, of any type that casts to its types, and `_source`.
        contract: the dataset's contract.
        window: the time that the delivery covers; a row of the shop's time outside it is not accepted.
        shop_window: all of the shop's time; rows outside it are quarantined in `window`.
        known_keys: the parents that exist, by referenced dataset, with the references' `parent_columns`. References to
            datasets that are absent here are not checked.
        late_limit: a row that was received so long after it happened, or longer, is quarantined; None: no row is.
        elsewhere: keys that are taken, with `window_start` and `window_end`: a row of another time is quarantined.

    Raises:
        ContractError: rows are delivered without a column that the contract needs.
    """
    if rows.num_rows == 0:
        return Validated(_accepted_schema(contract, ()).empty_table(), _quarantined_schema().empty_table(), Counts())
    _require_columns(rows, contract)
    extra = tuple(name for name in rows.column_names if name not in contract.names and name != SOURCE.name)
    absent = tuple(name for name in contract.names if name not in rows.column_names)
    numbered = rows.append_column(_ROW, pa.array(np.arange(rows.num_rows)))
    with _database().cursor() as connection:
        connection.register("delivered", numbered)
        connection.execute(f"CREATE TEMP TABLE typed AS SELECT {_typed_columns(rows, contract)} FROM delivered")
        possible = [*_column_findings(rows, contract), *_row_findings(contract, window, shop_window, late_limit)]
        possible += _orphan_findings(connection, contract, known_keys)
        if elsewhere is not None and elsewhere.num_rows:
            possible.append(_taken_finding(connection, contract, elsewhere))
        found, has_repeats = _look(connection, contract, possible)
        if not found and not has_repeats:
            accepted = _accepted(connection, contract, extra, "typed")
            return Validated(
                accepted,
                _quarantined_schema().empty_table(),
                Counts(rows.num_rows, rows.num_rows, extra_columns=extra, absent_columns=absent),
            )
        _record(connection, found)
        if has_repeats:
            _record_duplicates(connection, contract)
        reasons: Counter[str] = Counter(
            dict(connection.execute("SELECT reason, count(*) FROM findings GROUP BY reason ORDER BY reason").fetchall())
        )
        accepted = _accepted(connection, contract, extra, _UNBROKEN)
        quarantined = _quarantined(connection, rows, contract, window)
    merged = reasons.pop(EXACT_DUPLICATE, 0)
    return Validated(accepted, quarantined, Counts(rows.num_rows, accepted.num_rows, merged, reasons, extra, absent))


@lru_cache(maxsize=1)
def _database() -> duckdb.DuckDBPyConnection:
    """The process's database; each validation has a cursor with tables of its own. Opening one costs 10 to 20 ms."""
    database = duckdb.connect()
    database.execute("SET GLOBAL TimeZone = 'UTC'")
    return database


os.register_at_fork(after_in_child=_database.cache_clear)


def _require_columns(rows: pa.Table, contract: Contract) -> None:
    needed = [column.name for column in contract.columns if not column.nullable] + [SOURCE.name]
    absent = [name for name in needed if name not in rows.column_names]
    if absent:
        source = f" (the first from {rows[SOURCE.name][0].as_py()})" if SOURCE.name in rows.column_names else ""
        raise ContractError(
            f"{counted(rows.num_rows, 'row')} of {contract.dataset}{source} without a column {', '.join(absent)}, "
            f"which each row needs; there are {', '.join(rows.column_names)}. Map it in the shop's file; nothing was "
            "loaded."
        )


def _typed_columns(rows: pa.Table, contract: Contract) -> str:
    """The select list that types each column and says, where a cast is needed, whether it failed."""
    selected = [_ROW, f'CAST("{SOURCE.name}" AS VARCHAR) AS "{SOURCE.name}"']
    for column in contract.columns:
        if column.name not in rows.column_names:
            selected.append(f'CAST(NULL AS {DUCKDB_TYPES[column.type]}) AS "{column.name}"')
        elif not _needs_cast(rows, column):
            selected.append(f'"{column.name}"')
        else:
            cast = _cast(column)
            if column.type in NUMBERS and pa.types.is_string(rows.schema.field(column.name).type):
                cast = f"""CASE WHEN NOT contains("{column.name}", '_') THEN {cast} END"""  # to DuckDB '1_0' is 10
            selected.append(f'{cast} AS "{column.name}"')
            selected.append(f'"{column.name}" IS NOT NULL AND ({cast}) IS NULL AS "{_wrong_type(column)}"')
    selected += [
        f"CAST({identifier(name)} AS VARCHAR) AS {identifier(extra_column(name).name)}"
        for name in rows.column_names
        if name not in (*contract.names, SOURCE.name, _ROW)
    ]
    return ", ".join(selected)


def _needs_cast(rows: pa.Table, column: Column) -> bool:
    """Whether the delivered type differs; floats and times are always looked at: they may be infinite."""
    return rows.schema.field(column.name).type != ARROW_TYPES[column.type] or column.type in {"double", *CALENDAR}


def _cast(column: Column) -> str:
    """The column as its contract's type, or null where it cannot be read as that."""
    cast = f'TRY_CAST("{column.name}" AS {DUCKDB_TYPES[column.type]})'
    if column.type == "bigint":
        # DuckDB rounds '6.5' to 7 where it casts to an integer; a shop has no half units to round away.
        return f'CASE WHEN TRY_CAST("{column.name}" AS DOUBLE) % 1 = 0 THEN {cast} END'
    if column.type == "double":
        return f"CASE WHEN isfinite({cast}) THEN {cast} END"
    if column.type in CALENDAR:
        first, last = (f"CAST('{end}' AS {DUCKDB_TYPES[column.type]})" for end in CALENDAR[column.type])
        return f"CASE WHEN {cast} BETWEEN {first} AND {last} THEN {cast} END"
    return cast


def _wrong_type(column: Column) -> str:
    return f"wrong_type:{column.name}"


def _column_findings(rows: pa.Table, contract: Contract) -> Iterator[_Finding]:
    names_of_things = {*contract.key, *(reference.column for reference in contract.references)}
    for column in contract.columns:
        if column.name not in rows.column_names:
            continue
        name, wrong = f'"{column.name}"', f'"{_wrong_type(column)}"'
        castable = _needs_cast(rows, column)
        if not column.nullable:
            empty = f"{name} IS NULL" + (f" AND NOT {wrong}" if castable else "")
            if column.type == "string":
                empty = f"{empty} OR {name} = ''"
            yield _Finding(f"missing_value:{column.name}", f"{column.name} is empty; each row needs it", empty)
        if column.type == "string" and column.name in names_of_things:
            yield _Finding(
                f"padded:{column.name}",
                f"{column.name} begins or ends with white space, so that it names another than without; trim it in the "
                "mapping",
                f"{name} <> trim({name}, {_WHITE_SPACE})",
            )
        if castable:
            yield _Finding(_wrong_type(column), f"{column.name} cannot be read as {column.type}", wrong)
        if column.accepted:
            accepted = ", ".join(literal(value) for value in column.accepted)
            yield _Finding(
                f"not_accepted:{column.name}",
                f"{column.name} must be one of {', '.join(column.accepted)}",
                f"{name} NOT IN ({accepted})",
            )


def _row_findings(
    contract: Contract, window: Window, shop_window: Window, late_limit: timedelta | None
) -> Iterator[_Finding]:
    for rule in contract.rules:
        yield _Finding(rule.name, rule.message, f"NOT ({rule.sql})")
    if contract.received_time is not None and late_limit is not None:
        seconds = late_limit.total_seconds()
        yield _Finding(
            TOO_LATE,
            f"{contract.received_time} is more than {seconds / 3600:g} hours after {contract.event_time}",
            f'"{contract.received_time}" - "{contract.event_time}" > INTERVAL {seconds:.0f} SECOND',
        )
    if contract.event_time is not None:
        moment = f'CAST("{contract.event_time}" AS TIMESTAMPTZ)'
        yield _Finding(
            "outside_shop_dates",
            f"{contract.event_time} is not within the shop's dates, "
            f"{shop_window.start:%Y-%m-%d} to before {shop_window.end:%Y-%m-%d}",
            f"NOT ({_within(moment, shop_window)})",
        )
        yield _Finding(
            "outside_window",
            f"{contract.event_time} is not within the window that was asked for, from {window.start:%Y-%m-%d}",
            f"({_within(moment, shop_window)}) AND NOT ({_within(moment, window)})",
        )


def _orphan_findings(
    connection: duckdb.DuckDBPyConnection, contract: Contract, known_keys: Mapping[str, pa.Table]
) -> Iterator[_Finding]:
    for number, reference in enumerate(contract.references):
        keys = known_keys.get(reference.dataset)
        if keys is None:
            continue
        known = f"known_{number}"
        connection.register(known, keys)
        is_known = f'SELECT "{reference.to_column}" FROM {known} WHERE "{reference.to_column}" IS NOT NULL'
        yield _Finding(
            f"{ORPHAN}{reference.column}",
            f"{reference.column} is not among the {reference.dataset} that were accepted",
            f'"{reference.column}" NOT IN ({is_known})',
        )
        if reference.alike in keys.column_names:
            yield _unlike_parent(reference, known, is_known)


def _taken_finding(connection: duckdb.DuckDBPyConnection, contract: Contract, elsewhere: pa.Table) -> _Finding:
    """Rows whose key a row of another window has."""
    same = " AND ".join(f"elsewhere.{identifier(name)} = typed.{identifier(name)}" for name in contract.key)
    moment = f'CAST(typed."{contract.event_time}" AS TIMESTAMPTZ)'
    connection.register("elsewhere", elsewhere)
    connection.execute(
        f"CREATE TEMP TABLE taken AS SELECT DISTINCT {_ROW} FROM typed JOIN elsewhere "
        f"ON {same} AND NOT ({moment} >= window_start AND {moment} < window_end)"
    )
    return _Finding(
        DUPLICATE_KEY,
        f"a row of another window has the same {' and '.join(contract.key)}; what was loaded first is kept",
        f"{_ROW} IN (FROM taken)",
    )


def _unlike_parent(reference: Reference, known: str, is_known: str) -> _Finding:
    """Rows whose parent is there, with another value than theirs."""
    row, alike = f'"{reference.column}"', f'"{reference.alike}"'
    theirs = f'SELECT min({alike}) FROM {known} WHERE {known}."{reference.to_column}" = typed.{row}'
    return _Finding(
        f"{UNLIKE_PARENT}{reference.alike}",
        f"{reference.alike} differs from that in {reference.dataset}, which the mapping must give it (join "
        f"{reference.dataset} on {reference.column})",
        f"{row} IN ({is_known}) AND ({row}, {alike}) NOT IN "
        f'(SELECT ("{reference.to_column}", {alike}) FROM {known} WHERE {alike} IS NOT NULL)',
        f"concat(': ', {alike}, ' here, ', ({theirs}), ' there')",
    )


def _look(
    connection: duckdb.DuckDBPyConnection, contract: Contract, possible: Sequence[_Finding]
) -> tuple[list[_Finding], bool]:
    """Which findings there are, and whether keys repeat: one pass that only counts, all that clean rows pay for."""
    key = ", ".join(identifier(name) for name in contract.key)
    repeats = f"(SELECT count(*) FROM (SELECT {key} FROM typed GROUP BY ALL HAVING count(*) > 1))" if key else "0"
    counted = ", ".join(f"count_if({finding.sql})" for finding in possible)
    counts = connection.execute(f"SELECT {repeats}, {counted} FROM typed").fetchone() or (0,)
    return [finding for finding, count in zip(possible, counts[1:], strict=True) if count], bool(counts[0])


def _record(connection: duckdb.DuckDBPyConnection, found: Sequence[_Finding]) -> None:
    """Make the table `findings` of the rows that break something: row number, first reason, all messages."""
    connection.execute(f"CREATE TEMP TABLE findings ({_ROW} BIGINT, reason VARCHAR, message VARCHAR)")
    if not found:
        return
    reasons = ", ".join(f"CASE WHEN {f.sql} THEN {literal(f.reason)} END" for f in found)
    messages = ", ".join(f"CASE WHEN {f.sql} THEN concat({literal(f.message)}, {f.told}) END" for f in found)
    connection.execute(
        f"""
        INSERT INTO findings
        SELECT {_ROW}, coalesce({reasons}), concat_ws('; ', {messages}) FROM typed
        WHERE {" OR ".join(f"({f.sql})" for f in found)}
        """
    )


def _record_duplicates(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Add to `findings` the rows that repeat a row, or the key of a row, that breaks nothing else."""
    key = ", ".join(identifier(name) for name in contract.key)
    content = ", ".join(identifier(name) for name in _in_order(contract, contract.names))
    message = (
        f"another row has the same {' and '.join(contract.key)} but differs; "
        "the earliest is kept, or else the first in order of content"
    )
    connection.execute(
        f"""
        INSERT INTO findings
        WITH repeated AS (SELECT {key} FROM {_UNBROKEN} GROUP BY ALL HAVING count(*) > 1)
        SELECT
            {_ROW},
            CASE WHEN variant = 1 THEN '{EXACT_DUPLICATE}' ELSE '{DUPLICATE_KEY}' END,
            CASE WHEN variant = 1 THEN 'equal to another row in every column; merged into it'
                ELSE {literal(message)} END
        FROM (
            SELECT
                {_ROW},
                dense_rank() OVER (PARTITION BY {key} ORDER BY {content}) AS variant,
                row_number() OVER (PARTITION BY {key} ORDER BY {content}, "{SOURCE.name}", {_ROW}) AS copy
            FROM {_UNBROKEN} SEMI JOIN repeated USING ({key})
        )
        WHERE copy > 1
        """
    )


def _in_order(contract: Contract, columns: Sequence[str]) -> list[str]:
    """`columns` with the event time first: the order in which rows are given out and the first is told."""
    return list(dict.fromkeys([*([contract.event_time] if contract.event_time else []), *columns]))


def _accepted(connection: duckdb.DuckDBPyConnection, contract: Contract, extra: Sequence[str], rows: str) -> pa.Table:
    schema = _accepted_schema(contract, extra)
    selected = ", ".join(identifier(name) for name in schema.names)
    order = ", ".join(identifier(name) for name in _in_order(contract, contract.key or contract.names))
    return connection.sql(f"SELECT {selected} FROM {rows} ORDER BY {order}").to_arrow_table().cast(schema)


def _quarantined(connection: duckdb.DuckDBPyConnection, rows: pa.Table, contract: Contract, window: Window) -> pa.Table:
    moment = (
        f'CAST(typed."{contract.event_time}" AS TIMESTAMPTZ)' if contract.event_time else "CAST(NULL AS TIMESTAMPTZ)"
    )
    start = _timestamp(window.start)
    delivered = ", ".join(
        f'"{name}" := CAST(delivered."{name}" AS VARCHAR)' for name in rows.column_names if name != SOURCE.name
    )
    return (
        connection.sql(
            f"""
            SELECT
                {literal(contract.dataset)} AS dataset,
                findings.reason,
                findings.message,
                CAST(to_json(struct_pack({delivered})) AS VARCHAR) AS row,
                {moment} AS event_time,
                CASE WHEN {_within(moment, window)} THEN greatest(date_trunc('day', {moment}), {start})
                    ELSE {start} END AS window_start,
                typed."{SOURCE.name}"
            FROM findings JOIN typed USING ({_ROW}) JOIN delivered USING ({_ROW})
            ORDER BY ALL
            """
        )
        .to_arrow_table()
        .cast(_quarantined_schema())
    )


def _accepted_schema(contract: Contract, extra: Sequence[str]) -> pa.Schema:
    schema = contract.arrow_schema().append(SOURCE)
    for name in extra:
        schema = schema.append(pa.field(extra_column(name).name, pa.string()))
    return schema


def _quarantined_schema() -> pa.Schema:
    return pa.schema(
        [pa.field(c.name, ARROW_TYPES[c.type], nullable=c.nullable) for c in QUARANTINE_COLUMNS] + [SOURCE]
    )


def _within(moment: str, window: Window) -> str:
    return f"{moment} >= {_timestamp(window.start)} AND {moment} < {_timestamp(window.end)}"


def _timestamp(moment: object) -> str:
    return f"TIMESTAMPTZ '{moment}'"
