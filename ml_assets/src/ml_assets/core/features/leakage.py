"""The guard against leaks from the future: features must not change when everything after the as-of date is removed.

It holds a computation against the truth of what was known; the guard of order-risk features is in `order_leakage`, and
what a model makes of features is judged in `evaluation`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date, datetime
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ml_assets.core.features.customers import Marts, as_of_dates, feature_table

Compute = Callable[[duckdb.DuckDBPyConnection, Marts, Collection[date]], pa.Table]
"""The features of as-of dates from marts, whose key is one or more text columns and `as_of_date`."""

# What was not yet known on the as-of date: rows that were not there, and values that were written into rows later.
_CUT = {
    "dim_customers": """
        SELECT * REPLACE (
            CASE WHEN valid_from < {cutoff} THEN loyalty_tier END AS loyalty_tier,
            CASE WHEN valid_from < {cutoff} THEN is_email_opt_in END AS is_email_opt_in,
            CASE WHEN valid_to < {cutoff} THEN valid_to END AS valid_to,
            valid_to IS NULL OR valid_to >= {cutoff} AS is_current)
        FROM ({mart}) WHERE registered_at < {cutoff}""",
    "dim_products": """
        SELECT * REPLACE (
            CASE WHEN valid_to < {cutoff} THEN valid_to END AS valid_to,
            valid_to IS NULL OR valid_to >= {cutoff} AS is_current)
        FROM ({mart}) WHERE valid_from < {cutoff}""",
    "fct_orders": """
        SELECT * REPLACE (NULL::VARCHAR AS status, NULL::BOOLEAN AS is_cancelled)
        FROM ({mart}) WHERE ordered_at < {cutoff}""",
    "fct_order_items": """
        SELECT * REPLACE (NULL::BOOLEAN AS is_cancelled) FROM ({mart}) WHERE ordered_at < {cutoff}""",
    "fct_refunds": "SELECT * FROM ({mart}) WHERE refunded_at < {cutoff}",
    "fct_reviews": "SELECT * FROM ({mart}) WHERE reviewed_at < {cutoff}",
    "fct_events": "SELECT * FROM ({mart}) WHERE received_at < {cutoff}",
    "fct_inventory_daily": "SELECT * FROM ({mart}) WHERE snapshot_date < {cutoff}",
}


class Leakage(NamedTuple):
    """What the guard found at one moment: rows compared, rows that differ, and the key of one of them."""

    as_of: date | datetime
    rows: int
    differing: int
    example: str | None

    def describe(self, module: str) -> str:
        """The finding in words; `module` computes the features."""
        return (
            f"As of {self.as_of}, {self.differing} of {self.rows} rows (such as that of {self.example}) have features "
            f"that cannot be had from what was known then: look for later data in {module}, or materialize the "
            "partition again if its marts were corrected since."
        )


def guard(con: duckdb.DuckDBPyConnection, marts: Marts, stored: str, compute: Compute = feature_table) -> list[Leakage]:
    """Examine the latest as-of date of the feature table, whose DuckDB SELECT is `stored`, and the one in the middle.

    The latest is examined as it is stored. After it there may be no data that could leak, so the middle one is too; it
    is computed anew, since corrected marts may rightly have left behind what is stored. No dates: nothing is found.
    """
    dates = as_of_dates(con, stored)
    if not dates:
        return []
    middle, latest = dates[(len(dates) - 1) // 2], dates[-1]
    rows = con.execute(f"SELECT * FROM ({stored}) WHERE as_of_date = $day", {"day": latest}).to_arrow_table()
    examined = [leakage(con, marts, latest, rows, compute)]
    if middle != latest:
        # Together with the latest date, as a backfill computes it: alone, it would not be given what could leak.
        both = compute(con, marts, [middle, latest])
        examined.insert(0, leakage(con, marts, middle, both.filter(pc.equal(both["as_of_date"], middle)), compute))
    return examined


def cut_off(marts: Marts, as_of: date) -> Marts:
    """The marts as they were known when `as_of` began."""
    cutoff = f"TIMESTAMPTZ '{as_of.isoformat()} 00:00:00+00'"
    return {name: _CUT[name].format(mart=mart, cutoff=cutoff) for name, mart in marts.items()}


def leakage(
    con: duckdb.DuckDBPyConnection, marts: Marts, as_of: date, rows: pa.Table, compute: Compute = feature_table
) -> Leakage:
    """Compare `rows`, the features of `as_of` as they are used, with the same features from cut-off marts."""
    expected = compute(con, cut_off(marts, as_of), [as_of])
    return compared(con, as_of, rows, expected, [field.name for field in expected.schema if field.type == pa.string()])


def compared(
    con: duckdb.DuckDBPyConnection, as_of: date | datetime, used: pa.Table, expected: pa.Table, key: Collection[str]
) -> Leakage:
    """How many rows of `used`, told by the columns `key`, differ from those that could be known `as_of` then."""
    columns = ", ".join(key)
    con.register("used_rows", used.select(expected.schema.names))
    con.register("expected_rows", expected)
    try:
        found = con.execute(f"""
            SELECT count(DISTINCT ({columns})), min(concat_ws(' ', {columns})) FROM (
                (FROM used_rows EXCEPT ALL FROM expected_rows) UNION ALL (FROM expected_rows EXCEPT ALL FROM used_rows)
            )""").fetchall()
    finally:
        con.unregister("used_rows")
        con.unregister("expected_rows")
    return Leakage(as_of, len(used), int(found[0][0]), found[0][1])
