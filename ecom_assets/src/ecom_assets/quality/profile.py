"""Daily figures of a raw dataset: rows, empty values and how the values of each column are distributed.

Counted by DuckDB from the lake's own rows and kept nowhere: what is repaired or erased there is so here, too. What is
unusual in the figures is decided in `anomalies`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import duckdb
import numpy as np
import numpy.typing as npt

from cartograph.contracts import Contract
from ecom_assets.sql import identifier, literal

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BINS = 20
"""Values of a category that are counted one by one; the rarer ones are counted together."""
MOST = 0.8
"""A column is a category where its most frequent values make up so much of its rows."""
FEWEST_SIZES = 10
"""Fewer numbers than these have no mean that tells anything: those of the days before are taken with them."""
NUMBERS = frozenset({"bigint", "double", "money", "price"})
CATEGORIES = frozenset({"string", "boolean"})


@dataclass(frozen=True)
class Mix:
    """How often each value of a category is there: `counts` of (days, bins), with the SQL condition of each bin."""

    counts: Ints
    conditions: tuple[str, ...]


@dataclass(frozen=True)
class Profile:
    """Figures for each day from `first` on.

    `rows` of (days,); by column: `nulls` of (days,), `numbers` of (days,), how many there are that are not 0, `sizes`
    of (days, 2), the mean and the standard deviation of the logarithm of these without their sign (NaN on days without
    any), and `mixes` of categories. `rare` of (days,) by column and value: the rows with a value that few rows have.
    `copies` of (days,): the rows that equal another of their day in all that is compared but their key.
    """

    first: date
    rows: Ints
    nulls: Mapping[str, Ints]
    numbers: Mapping[str, Ints]
    sizes: Mapping[str, Floats]
    mixes: Mapping[str, Mix]
    rare: Mapping[tuple[str, str], Ints]
    copies: Ints

    def zeros(self, column: str) -> Ints:
        """How many of the numbers of each day are 0: (days,)."""
        return self.rows - self.nulls.get(column, np.zeros_like(self.rows)) - self.numbers[column]

    def day(self, position: int) -> date:
        """The date of a position in the arrays."""
        return self.first + timedelta(days=position)


def profile(
    connection: duckdb.DuckDBPyConnection, relation: str, contract: Contract, first: date, days: int
) -> Profile:
    """The figures of the steady rows of `relation`, a SELECT of the contract's columns, for `days` days."""
    references = {reference.column for reference in contract.references}
    compared = [
        column
        for column in contract.columns
        if column.pii is None and not column.volatile and column.name not in (*contract.key, contract.event_time)
    ]
    numbers = [column.name for column in compared if column.type in NUMBERS]
    categories = [c.name for c in compared if c.type in CATEGORIES and c.name not in references]
    nullable = [column.name for column in contract.columns if column.nullable and not column.volatile]
    rare = [(column.name, value) for column in contract.columns for value in column.rare]
    # Of the other columns, the personal ones among them, only whether they are empty.
    whole = {*numbers, *categories, *(name for name, _ in rare)}
    kept = [
        identifier(name) if name in whole else f"if({identifier(name)} IS NULL, NULL, true) AS {identifier(name)}"
        for name in dict.fromkeys((*numbers, *categories, *nullable, *(name for name, _ in rare)))
    ]
    time = identifier(str(contract.event_time))
    day, content = f"CAST({time} AS DATE) - $first AS __day", f"hash({', '.join(_content(contract))}) AS __content"
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE profiled AS
        SELECT {", ".join([day, content, *kept])}
        FROM ({relation})
        WHERE {time} >= $first AND {time} < $end AND ({contract.steady})
        """,
        {"first": first, "end": first + timedelta(days=days)},
    )
    empty = [f"count_if({identifier(name)} IS NULL)" for name in nullable]
    having = [f"count_if({identifier(name)} = {literal(value)})" for name, value in rare]
    copies = "count(*) - count(DISTINCT __content)"
    rows, copied, *counted = _by_day(connection, days, ["count(*)", copies, *empty, *having])
    found = Profile(
        first,
        rows,
        dict(zip(nullable, counted, strict=False)),
        *_sizes(connection, days, numbers),
        _mixes(connection, days, categories),
        dict(zip(rare, counted[len(nullable) :], strict=True)),
        copied if contract.column(str(contract.event_time)).type == "timestamp" else np.zeros_like(rows),
    )
    connection.execute("DROP TABLE profiled")
    return found


def _content(contract: Contract) -> list[str]:
    """The columns in which two rows of a day hardly ever agree, if they are not the same thing under two keys."""
    own = {*contract.key, contract.received_time} - {contract.event_time}
    return [identifier(column.name) for column in contract.columns if column.pii is None and column.name not in own]


def _by_day(connection: duckdb.DuckDBPyConnection, days: int, figures: Sequence[str]) -> list[Ints]:
    """Arrays of (days,) of each figure, zero on days without rows."""
    found = connection.execute(f"SELECT {', '.join(['__day', *figures])} FROM profiled GROUP BY __day").fetchnumpy()
    positions, *columns = (np.asarray(values, np.int64) for values in found.values())
    arrays = [np.zeros(days, np.int64) for _ in columns]
    for array, values in zip(arrays, columns, strict=True):
        array[positions] = values
    return arrays


def _sizes(
    connection: duckdb.DuckDBPyConnection, days: int, names: Sequence[str]
) -> tuple[dict[str, Ints], dict[str, Floats]]:
    counts, sizes = {}, {}
    for name in names:
        rows = connection.execute(
            f"""
            SELECT __day, count(*), avg(ln(size)), stddev_pop(ln(size))
            FROM (SELECT __day, abs(CAST({identifier(name)} AS DOUBLE)) AS size FROM profiled)
            WHERE size > 0 GROUP BY __day
            """
        ).fetchall()
        counts[name], sizes[name] = np.zeros(days, np.int64), np.full((days, 2), np.nan)
        for day, number, mean, spread in rows:
            counts[name][day], sizes[name][day] = number, (mean, spread)
    return counts, sizes


def _mixes(connection: duckdb.DuckDBPyConnection, days: int, names: Sequence[str]) -> dict[str, Mix]:
    found = {name: _mix(connection, days, name) for name in names}
    return {name: mix for name, mix in found.items() if mix is not None}


def _mix(connection: duckdb.DuckDBPyConnection, days: int, name: str) -> Mix | None:
    """The mix of a column; None where a few values do not make up most of its rows, or there is only one."""
    value = f"coalesce(CAST({identifier(name)} AS VARCHAR), '')"
    frequent = connection.execute(
        f"SELECT {value} AS v, count(*) AS n, sum(n) OVER () FROM profiled GROUP BY v ORDER BY n DESC, v LIMIT {BINS}"
    ).fetchall()
    if len(frequent) < 2 or sum(n for _, n, _ in frequent) < MOST * frequent[0][2]:
        return None
    values = [v for v, _, _ in frequent]
    cells = connection.execute(
        f"SELECT __day, coalesce(list_position($values, {value}), 0) AS bin, count(*) FROM profiled GROUP BY ALL",
        {"values": values},
    ).fetchall()
    counts = np.zeros((days, len(values) + 1), np.int64)
    positions = np.array(cells, np.int64)
    counts[positions[:, 0], positions[:, 1]] = positions[:, 2]
    other = f"{value} NOT IN ({', '.join(map(literal, values))})"
    return Mix(counts, (other, *(f"{value} = {literal(v)}" for v in values)))
