"""The guard of the order-risk features: they must not change when everything after an order's moment is removed.

What a finding is, and how rows are compared, is in `leakage`.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from cartograph.windows import Grain, at_midnight, floor
from ml_assets.core.features.customers import Marts
from ml_assets.core.features.leakage import Leakage, compared
from ml_assets.core.features.order_risk import risk_table

EXAMINED_DAYS = 30
"""So many days before and after the order in the middle are computed anew."""

# Of the orders up to the moment, the first payment attempt is at hand when they are placed, though not its outcome.
_CUT = {
    "fct_orders": """
        SELECT * REPLACE (NULL::VARCHAR AS status, NULL::BOOLEAN AS is_cancelled)
        FROM ({fct_orders}) WHERE ordered_at <= {moment}""",
    "fct_order_items": """
        SELECT * REPLACE (NULL::BOOLEAN AS is_cancelled) FROM ({fct_order_items}) WHERE ordered_at <= {moment}""",
    "fct_payments": """
        SELECT * EXCLUDE (attempt) REPLACE (
            CASE WHEN paid_at <= {moment} THEN payment_status END AS payment_status,
            CASE WHEN paid_at <= {moment} THEN is_captured END AS is_captured)
        FROM (
            SELECT *, row_number() OVER (PARTITION BY order_id ORDER BY paid_at, payment_id) AS attempt
            FROM ({fct_payments})
            WHERE order_id IN (SELECT order_id FROM ({fct_orders}) WHERE ordered_at <= {moment})
        )
        WHERE attempt = 1 OR paid_at <= {moment}""",
    "fct_refunds": "SELECT * FROM ({fct_refunds}) WHERE refunded_at <= {moment}",
    "dim_customers": "SELECT * FROM ({dim_customers}) WHERE valid_from <= {moment}",
    "dim_products": "SELECT * FROM ({dim_products}) WHERE valid_from <= {moment}",
    "dim_geographies": "{dim_geographies}",
    "fct_events": "SELECT * FROM ({fct_events}) WHERE received_at <= {moment}",
}


def guard(con: duckdb.DuckDBPyConnection, marts: Marts, stored: str, grain: Grain) -> list[Leakage]:
    """Examine an order of the table whose DuckDB SELECT is `stored` in its middle, and one in its latest partition.

    The orders of the latest partition up to its middle one are examined as they are stored. After it there may be
    little that could leak, so the 30 days up to the order in the middle of the table are too; they are computed anew,
    since corrected marts may rightly have left behind what is stored. No orders: nothing is found.
    """
    first = latest_partition(con, stored, grain)
    if first is None:
        return []
    ((middle, latest),) = con.execute(
        f"""
        SELECT quantile_disc(ordered_at, 0.5), quantile_disc(ordered_at, 0.5) FILTER (order_date >= $first)
        FROM ({stored})""",
        {"first": first},
    ).fetchall()
    rows = con.execute(
        f"SELECT * FROM ({stored}) WHERE order_date >= $first AND ordered_at <= $latest",
        {"first": first, "latest": latest},
    ).to_arrow_table()
    examined = [leakage(con, marts, latest, rows, first)]
    if middle != latest:
        span = timedelta(days=EXAMINED_DAYS)
        both = risk_table(con, marts, middle.date() - span, middle.date() + span)
        rows = both.filter(pc.less_equal(both["ordered_at"], pa.scalar(middle, both["ordered_at"].type)))
        examined.insert(0, leakage(con, marts, middle, rows, middle.date() - span))
    return examined


def latest_partition(con: duckdb.DuckDBPyConnection, stored: str, grain: Grain) -> date | None:
    """The first day of the latest partition of the table whose DuckDB SELECT is `stored`; None where it is empty."""
    ((last,),) = con.execute(f"SELECT max(order_date) FROM ({stored})").fetchall()
    return None if last is None else floor(at_midnight(last), grain).date()


def cut_off(marts: Marts, moment: datetime) -> Marts:
    """The marts as they were known at `moment`, when an order was placed."""
    literal = f"TIMESTAMPTZ '{moment.isoformat()}'"
    return {name: cut.format(**marts, moment=literal) for name, cut in _CUT.items() if name in marts}


def leakage(con: duckdb.DuckDBPyConnection, marts: Marts, moment: datetime, rows: pa.Table, first: date) -> Leakage:
    """Compare `rows`, the features from the day `first` up to `moment`, with the same features from cut-off marts."""
    known = risk_table(con, cut_off(marts, moment), first, moment.date() + timedelta(days=1))
    return compared(con, moment, rows, known, ["order_id"])
