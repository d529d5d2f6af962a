"""How far the numbers of a version are from those of the version before it, for what comes when the shop changes it."""

from __future__ import annotations

import duckdb

from cartograph.contracts import Contract
from cartograph.windows import Window
from ecom_assets.quality.profile import NUMBERS
from ecom_assets.sql import identifier, literal


def leaps(
    connection: duckdb.DuckDBPyConnection, relation: str, contract: Contract, span: Window, ratio: float
) -> tuple[list[str], int]:
    """Each version of `span` with a number `ratio` times larger or smaller than before, and how many follow another.

    `relation` is a SELECT of the contract's columns with all versions. Each is told as its key with the numbers that
    leapt, newest first. A number that was, or becomes, 0 or nothing has no ratio.
    """
    time = identifier(str(contract.event_time))
    whose = ", ".join(identifier(name) for name in contract.key if name != contract.event_time)
    leapt = [_leap(column.name) for column in contract.columns if column.type in NUMBERS]
    rows = connection.execute(
        f"""
        WITH versions AS (
            SELECT
                {time} AS moment,
                concat_ws(' ', {whose}, {time}) AS version,
                row_number() OVER earlier > 1 AS follows,
                concat_ws(', ', {", ".join(leapt)}) AS told
            FROM ({relation})
            WINDOW earlier AS (PARTITION BY {whose} ORDER BY {time})
        )
        SELECT version, told FROM versions
        WHERE follows AND moment >= $start AND moment < $end ORDER BY moment DESC, version
        """,
        {"ratio": ratio, "start": span.start, "end": span.end},
    ).fetchall()
    return [f"{version}: {told}" for version, told in rows if told], len(rows)


def _leap(column: str) -> str:
    """SQL that tells what the column was and is, where that is a leap, else nothing."""
    now, before = identifier(column), f"lag({identifier(column)}) OVER earlier"
    told = f"concat({literal(column)}, ' ', {before}, ' -> ', {now})"
    return (
        f"CASE WHEN abs(ln(nullif(abs(CAST({now} AS DOUBLE) / nullif({before}, 0)), 0))) >= ln($ratio) THEN {told} END"
    )
