"""Holds the same mart of two engines against each other, exactly: each value of each row, doubles to the last bit.

Nothing is rounded: a model gives a double only by `ratio`, whose result is a decimal's nearest double on any engine.
"""

from __future__ import annotations

import duckdb

from ecom_assets.warehouse.marts import Mart

SHOWN = 3


def difference(connection: duckdb.DuckDBPyConnection, mart: Mart, one: str, other: str) -> str | None:
    """What differs in `mart` between the catalogues `one` and `other` of `connection`; None where nothing does.

    First columns and types, then a hash of the sorted rows; on a mismatch the first rows that only one of them has.
    """
    relations = {side: f"{side}.{mart.relation}" for side in (one, other)}
    columns = {side: connection.sql(f"DESCRIBE {relation}").fetchall() for side, relation in relations.items()}
    typed = {side: [(name, kind) for name, kind, *_ in found] for side, found in columns.items()}
    if typed[one] != typed[other]:
        pairs = [f"{a} / {b}" for a, b in zip(typed[one], typed[other], strict=False) if a != b]
        return f"{mart.name}: columns differ, {one} / {other}: {'; '.join(pairs) or 'in number'}"
    contents = {side: content(connection, relation) for side, relation in relations.items()}
    if contents[one] == contents[other]:
        return None
    rows = ", ".join(f"{count:,} rows in {side}" for side, (count, _) in contents.items())
    examples = [line for a, b in ((one, other), (other, one)) for line in _examples(connection, mart, a, b)]
    return "\n  ".join([f"{mart.name}: {rows}", *(dict.fromkeys(examples) or ["equal but for the sign of a zero"])])


def content(connection: duckdb.DuckDBPyConnection, relation: str) -> tuple[int, str]:
    """Row count, and a hash of the sorted rows as text.

    The session's time zone is UTC; text has a decimal's scale, a timestamp's microseconds, and of a double the shortest
    digits that read back as the same bits.
    """
    (found,) = connection.sql(
        f"""
        SELECT count(*), coalesce(sha256(string_agg(digest, '' ORDER BY digest)), '')
        FROM (SELECT md5(CAST(t AS VARCHAR)) AS digest FROM {relation} AS t)
        """
    ).fetchall()
    return found


def _examples(connection: duckdb.DuckDBPyConnection, mart: Mart, one: str, other: str) -> list[str]:
    """The first rows that only `one` has: their keys, and where `other` has the key, what differs there."""
    key = ", ".join(f'"{name}"' for name in mart.contract.key)
    rows = connection.sql(
        f"SELECT * FROM (SELECT * FROM {one}.{mart.relation} EXCEPT ALL SELECT * FROM {other}.{mart.relation}) "
        f"ORDER BY {key} LIMIT {SHOWN}"
    )
    names, told = rows.columns, []
    for row in rows.fetchall():
        here = dict(zip(names, row, strict=True))
        named = {name: here[name] for name in mart.contract.key}
        match = " AND ".join(f'"{name}" IS NOT DISTINCT FROM ?' for name in named)
        there = connection.execute(
            f"SELECT * FROM {other}.{mart.relation} WHERE {match} LIMIT 1", list(named.values())
        ).fetchone()
        shown = ", ".join(f"{name}={value}" for name, value in named.items())
        if there is None:
            told.append(f"{shown}: only in {one}")
        else:
            both = sorted([(one, here), (other, dict(zip(names, there, strict=True)))], key=lambda side: side[0])
            (first, left), (second, right) = both
            changed = [f"{n} {left[n]!r} / {right[n]!r}" for n in names if left[n] != right[n]]
            told.append(f"{shown}: {first} / {second}: {'; '.join(changed)}")
    return told
