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

from cartograph.contracts import Column, Contract
from ecom_assets.sql import identifier

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FEW_VALUES = 50
"""A text column with so many different values or fewer is a category."""
BINS = 20
"""Categories that are counted one by one; the rarer ones are counted together."""
FEWEST_ROWS = 30
"""A day with fewer rows says nothing of shares and distributions."""
NUMBERS = frozenset({"bigint", "double", "money", "price"})


@dataclass(frozen=True)
class Mix:
    """How often each value of a category is there: `counts` of (days, bins), with the SQL condition of each bin."""

    counts: Ints
    conditions: tuple[str, ...]


@dataclass(frozen=True)
class Profile:
    """Figures for each day from `first` on.

    `rows` of (days,); by column: `nulls` of (days,), `sizes` of (days, 2), the mean and the standard deviation of the
    logarithm of what is not zero, without its sign (NaN on days with fewer than FEWEST_ROWS), and `mixes` of
    categories.
    """

    first: date
    rows: Ints
    nulls: Mapping[str, Ints]
    sizes: Mapping[str, Floats]
    mixes: Mapping[str, Mix]

    def day(self, position: int) -> date:
        """The date of a position in the arrays."""
        return self.first + timedelta(days=position)


def profile(
    connection: duckdb.DuckDBPyConnection, relation: str, contract: Contract, first: date, days: int
) -> Profile:
    """The figures of the steady rows of `relation`, a SELECT of the contract's columns, for `days` days."""
    time = identifier(str(contract.event_time))
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE profiled AS
        SELECT *, CAST({time} AS DATE) - $first AS __day
        FROM ({relation})
        WHERE {time} >= $first AND {time} < $end AND ({contract.steady})
        """,
        {"first": first, "end": first + timedelta(days=days)},
    )
    columns = [
        c
        for c in contract.columns
        if c.pii is None and not c.volatile and c.name not in (*contract.key, contract.event_time)
    ]
    nullable = [column.name for column in contract.columns if column.nullable and not column.volatile]
    counted = _by_day(connection, days, ["count(*)", *(f"count_if({identifier(name)} IS NULL)" for name in nullable)])
    references = {reference.column for reference in contract.references}
    found = Profile(
        first,
        counted[0],
        dict(zip(nullable, counted[1:], strict=True)),
        _sizes(connection, days, [column.name for column in columns if column.type in NUMBERS]),
        _mixes(connection, days, [c for c in columns if c.name not in references]),
    )
    connection.execute("DROP TABLE profiled")
    return found


def _by_day(connection: duckdb.DuckDBPyConnection, days: int, figures: Sequence[str]) -> list[Ints]:
    """Arrays of (days,) of each figure, zero on days without rows."""
    found = connection.execute(f"SELECT {', '.join(['__day', *figures])} FROM profiled GROUP BY __day").fetchnumpy()
    positions, *columns = (np.asarray(values, np.int64) for values in found.values())
    arrays = [np.zeros(days, np.int64) for _ in columns]
    for array, values in zip(arrays, columns, strict=True):
        array[positions] = values
    return arrays


def _sizes(connection: duckdb.DuckDBPyConnection, days: int, names: Sequence[str]) -> dict[str, Floats]:
    found = {}
    for name in names:
        rows = connection.execute(
            f"""
            SELECT __day, avg(ln(size)), stddev_pop(ln(size))
            FROM (SELECT __day, abs(CAST({identifier(name)} AS DOUBLE)) AS size FROM profiled)
            WHERE size > 0 GROUP BY __day HAVING count(*) >= {FEWEST_ROWS}
            """
        ).fetchall()
        found[name] = np.full((days, 2), np.nan)
        for day, mean, spread in rows:
            found[name][day] = mean, spread
    return found


def _mixes(connection: duckdb.DuckDBPyConnection, days: int, columns: Sequence[Column]) -> dict[str, Mix]:
    names = [column.name for column in columns if column.type in {"string", "boolean"}]
    if not names:
        return {}
    # On the first half of the days: a column that explodes later was a category before.
    distinct = connection.execute(
        f"""
        SELECT {", ".join(f"approx_count_distinct({identifier(name)})" for name in names)}
        FROM profiled WHERE __day < $half
        """,
        {"half": days // 2},
    ).fetchall()[0]
    return {name: _mix(connection, days, name) for name, n in zip(names, distinct, strict=True) if 1 < n <= FEW_VALUES}


def _mix(connection: duckdb.DuckDBPyConnection, days: int, name: str) -> Mix:
    value = f"coalesce(CAST({identifier(name)} AS VARCHAR), '')"
    common = [
        row[0]
        for row in connection.execute(
            f"SELECT {value} AS v FROM profiled WHERE __day < $half GROUP BY v ORDER BY count(*) DESC, v LIMIT {BINS}",
            {"half": days // 2},
        ).fetchall()
    ]
    found = connection.execute(
        f"SELECT __day, coalesce(list_position($common, {value}), 0) AS bin, count(*) FROM profiled GROUP BY ALL",
        {"common": common},
    ).fetchall()
    counts = np.zeros((days, len(common) + 1), np.int64)
    positions = np.array(found, np.int64)
    counts[positions[:, 0], positions[:, 1]] = positions[:, 2]
    listed = ", ".join("'" + text.replace("'", "''") + "'" for text in common)
    rare = f"{value} NOT IN ({listed})"
    return Mix(counts, (rare, *(f"{value} = '{text.replace(chr(39), chr(39) * 2)}'" for text in common)))
