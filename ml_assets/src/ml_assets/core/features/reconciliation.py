"""Whether features lost or doubled anything: their customers, orders and spend against the marts that they are of.

It counts what there is. What a feature may know is judged in `leakage`, and how it is computed stands in `customers`.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import NamedTuple

import duckdb

from ml_assets.core.features.customers import Marts, as_of_dates


class Totals(NamedTuple):
    """Customers, their orders, and what these cost, in the shop's currency."""

    customers: int
    orders: int
    spend: Decimal

    def __str__(self) -> str:
        """The totals in words."""
        return f"{self.customers:,} customers, {self.orders:,} orders, {self.spend:,} spent"


class Reconciled(NamedTuple):
    """The totals on a date by the marts and by the features, and the keys of some rows that differ."""

    as_of: date
    expected: Totals
    found: Totals
    samples: list[str]

    @property
    def holds(self) -> bool:
        """Whether each row is the same in both."""
        return not self.samples


# A feature is a double, which holds each amount to the cent: as a decimal again, it is compared and summed exactly.
_COMPARED = """
    WITH registered AS (
        SELECT DISTINCT customer_id FROM ({dim_customers}) WHERE registered_at < CAST($as_of AS TIMESTAMPTZ)
    ), placed AS (
        SELECT customer_id, count(*) AS orders, sum(total_amount) AS spend
        FROM ({fct_orders}) WHERE ordered_at < CAST($as_of AS TIMESTAMPTZ) GROUP BY customer_id
    ), expected AS (
        SELECT customer_id, coalesce(orders, 0) AS orders, coalesce(spend, 0) AS spend
        FROM registered LEFT JOIN placed USING (customer_id)
    ), found AS (
        SELECT customer_id, orders_count AS orders, CAST(spend_amount AS DECIMAL(18, 2)) AS spend
        FROM ({stored}) WHERE as_of_date = $as_of
    ), differing AS (
        SELECT DISTINCT customer_id FROM (
            (FROM expected EXCEPT ALL FROM found) UNION ALL (FROM found EXCEPT ALL FROM expected)
        )
    )
    FROM (SELECT count(*), sum(orders), sum(spend) FROM expected),
        (SELECT count(*), sum(orders), sum(spend) FROM found),
        (SELECT list(customer_id ORDER BY customer_id) FROM (FROM differing ORDER BY customer_id LIMIT $limit))"""


def reconcile(con: duckdb.DuckDBPyConnection, marts: Marts, stored: str, limit: int) -> Reconciled | None:
    """Hold the latest as-of date of the feature table, whose DuckDB SELECT is `stored`, against the marts.

    `con` must work in UTC. At most `limit` customers are named. None: the table has no as-of date yet.
    """
    dates = as_of_dates(con, stored)
    if not dates:
        return None
    row = con.execute(_COMPARED.format(**marts, stored=stored), {"as_of": dates[-1], "limit": limit}).fetchall()[0]
    return Reconciled(dates[-1], _totals(*row[:3]), _totals(*row[3:6]), row[6] or [])


_ORDERS_COMPARED = """
    WITH expected AS (
        SELECT order_id, customer_id, total_amount AS spend FROM ({fct_orders})
        WHERE order_date >= $first AND order_date <= (SELECT max(order_date) FROM ({stored}))
    ), found AS (
        SELECT order_id, customer_id, CAST(total_amount AS DECIMAL(18, 2)) AS spend FROM ({stored})
        WHERE order_date >= $first
    ), differing AS (
        SELECT DISTINCT order_id FROM (
            (FROM expected EXCEPT ALL FROM found) UNION ALL (FROM found EXCEPT ALL FROM expected)
        )
    )
    FROM (SELECT count(DISTINCT customer_id), count(*), sum(spend) FROM expected),
        (SELECT count(DISTINCT customer_id), count(*), sum(spend) FROM found),
        (SELECT list(order_id ORDER BY order_id) FROM (FROM differing ORDER BY order_id LIMIT $limit))"""


def reconcile_orders(con: duckdb.DuckDBPyConnection, marts: Marts, stored: str, first: date, limit: int) -> Reconciled:
    """Hold the order-risk table from the day `first` on, whose DuckDB SELECT is `stored`, against the marts.

    At most `limit` orders are named.
    """
    query = _ORDERS_COMPARED.format(fct_orders=marts["fct_orders"], stored=stored)
    row = con.execute(query, {"first": first, "limit": limit}).fetchall()[0]
    return Reconciled(first, _totals(*row[:3]), _totals(*row[3:6]), row[6] or [])


def _totals(customers: int, orders: int | None, spend: Decimal | None) -> Totals:
    return Totals(customers, int(orders or 0), spend or Decimal(0))
