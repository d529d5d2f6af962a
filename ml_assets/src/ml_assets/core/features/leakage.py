"""The guard against leaks from the future: features must not change when everything after the as-of date is removed.

It holds a computation against the truth of what was known; what a model makes of features is judged in `evaluation`.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import duckdb
import pyarrow as pa

from ml_assets.core.features.customers import Marts, feature_table

# What was not yet known on the as-of date: rows that were not there, and values that were written into rows later.
_CUT = {
    "dim_customers": """
        SELECT * REPLACE (
            CASE WHEN valid_from < {cutoff} THEN loyalty_tier END AS loyalty_tier,
            CASE WHEN valid_from < {cutoff} THEN is_email_opt_in END AS is_email_opt_in,
            CASE WHEN valid_to < {cutoff} THEN valid_to END AS valid_to,
            valid_to IS NULL OR valid_to >= {cutoff} AS is_current)
        FROM ({mart}) WHERE registered_at < {cutoff}""",
    "fct_orders": """
        SELECT * REPLACE (NULL::VARCHAR AS status, NULL::BOOLEAN AS is_cancelled)
        FROM ({mart}) WHERE ordered_at < {cutoff}""",
    "fct_order_items": """
        SELECT * REPLACE (NULL::BOOLEAN AS is_cancelled) FROM ({mart}) WHERE ordered_at < {cutoff}""",
    "fct_refunds": "SELECT * FROM ({mart}) WHERE refunded_at < {cutoff}",
    "fct_events": "SELECT * FROM ({mart}) WHERE received_at < {cutoff}",
}


class Leakage(NamedTuple):
    """What the guard found on one as-of date: rows compared, rows that differ, and one of their customers."""

    as_of: date
    rows: int
    differing: int
    example: str | None


def cut_off(marts: Marts, as_of: date) -> Marts:
    """The marts as they were known when `as_of` began."""
    cutoff = f"TIMESTAMPTZ '{as_of.isoformat()} 00:00:00+00'"
    return {name: _CUT[name].format(mart=mart, cutoff=cutoff) for name, mart in marts.items()}


def leakage(con: duckdb.DuckDBPyConnection, marts: Marts, as_of: date, rows: pa.Table) -> Leakage:
    """Compare `rows`, the features of `as_of` as they are used, with the same features from cut-off marts."""
    expected = feature_table(con, cut_off(marts, as_of), [as_of])
    con.register("used_rows", rows.select(expected.schema.names))
    con.register("expected_rows", expected)
    try:
        found = con.execute("""
            SELECT count(DISTINCT customer_id), min(customer_id) FROM (
                (FROM used_rows EXCEPT ALL FROM expected_rows) UNION ALL (FROM expected_rows EXCEPT ALL FROM used_rows)
            )""").fetchall()
    finally:
        con.unregister("used_rows")
        con.unregister("expected_rows")
    return Leakage(as_of, len(rows), int(found[0][0]), found[0][1])
