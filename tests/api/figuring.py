"""A shop of a few orders as marts, what is released of their figures, and the figures counted one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import duckdb

from cartograph.releases.contents.files import KPI_CUSTOMERS, KPI_FILE, KPIS
from ml_assets.core import kpis
from ml_assets.defs.marts import Pinned
from ml_assets.defs.serving.kpis import released_kpis, write_figures

FIRST, AS_OF = date(2025, 11, 1), date(2026, 1, 1)


class Order(NamedTuple):
    """An order of `units` of one product at 2.50 each, of which one unit was given back after three days."""

    day: int
    customer: int | None
    country: str | None
    product: int
    units: int
    cancelled: bool = False
    refunded: bool = False

    @property
    def date(self) -> date:
        return FIRST + timedelta(days=self.day)

    @property
    def refund_date(self) -> date:
        return self.date + timedelta(days=3)


def marts(con: duckdb.DuckDBPyConnection, orders: Sequence[Order]) -> dict[str, str]:
    """The marts of these orders, as tables of `con`; a SELECT for each."""
    con.execute(
        """
        CREATE OR REPLACE TABLE orders (order_id BIGINT, order_date DATE, customer_id VARCHAR, country VARCHAR,
            product_id VARCHAR, units BIGINT, is_cancelled BOOLEAN, refund_date DATE)"""
    )
    for number, one in enumerate(orders):
        refund = one.refund_date if one.refunded else None
        customer = None if one.customer is None else f"C{one.customer}"
        row = [number, one.date, customer, one.country, f"P{one.product}", one.units, one.cancelled, refund]
        con.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    tables = {
        "fct_orders": """SELECT order_id, order_date, customer_id, country AS geography_key, 'direct' AS channel,
            NULL::VARCHAR AS device, units * 2.50 AS gross_amount, 0.50 AS discount_amount, 1.00 AS shipping_amount,
            units * 2.50 + 0.50 AS total_amount, is_cancelled FROM orders""",
        "fct_order_items": """SELECT order_id, order_date, customer_id, product_id AS product_key, product_id,
            units AS quantity, units * 2.50 - 0.50 AS net_amount, units * 1.00 AS margin_amount, is_cancelled
            FROM orders""",
        "fct_refunds": "SELECT order_id, product_id, refund_date, 2.50 AS amount FROM orders WHERE refund_date NOTNULL",
        "dim_products": """SELECT 'P' || n AS product_id, 'P' || n AS product_key, true AS is_current,
            CASE WHEN n < 2 THEN 'shelf ' || n END AS category FROM range(5) t(n)""",
        "dim_geographies": "SELECT DISTINCT country AS geography_key, country FROM orders WHERE country NOTNULL",
        "rfm_segments": "SELECT 'C1' AS customer_id, DATE '2026-01-01' AS as_of_date, 'champions' AS segment",
        "conversion_funnel": """SELECT DATE '2025-12-01' + n::INTEGER AS session_date, 'direct' AS channel,
            'phone' AS device, 10 * n AS sessions_count, n AS bounces_count, 2 * n AS purchase_sessions_count
            FROM range(20) t(n)""",
    }
    for name, select in tables.items():
        con.execute(f"CREATE OR REPLACE TABLE {name} AS {select}")
    con.execute(
        """
        CREATE OR REPLACE TABLE agg_daily_sales AS
        SELECT order_date, coalesce(orders, 0) AS orders_count, coalesce(revenue, 0) AS revenue_amount,
            coalesce(gross, 0) AS gross_amount, coalesce(discounts, 0) AS discount_amount,
            margin AS margin_amount, coalesce(refunded, 0) AS refunded_amount
        FROM (SELECT order_date, count(*) AS orders, sum(units * 2.50 + 0.50) AS revenue, sum(units * 2.50) AS gross,
            sum(0.50) AS discounts, sum(units * 1.00) AS margin FROM orders WHERE NOT is_cancelled GROUP BY ALL)
        FULL JOIN (SELECT refund_date AS order_date, sum(2.50) AS refunded FROM orders
            WHERE refund_date NOTNULL AND NOT is_cancelled GROUP BY ALL) USING (order_date)"""
    )
    return {name: f"FROM {name}" for name in (*tables, "agg_daily_sales")}


def kpi_files(orders: Sequence[Order], *, has_costs: bool = True) -> dict[str, bytes | None]:
    """The files of a release of these orders' figures."""
    with duckdb.connect() as con, TemporaryDirectory() as folder:
        selects = marts(con, orders)
        if not has_costs:
            con.execute("UPDATE fct_order_items SET margin_amount = NULL")
        con.register("kpis", kpis.sums(con, selects, AS_OF))
        con.register("kpi_customers", kpis.customers(con, selects, AS_OF))
        inputs = Pinned(selects | {"kpis": "FROM kpis", "kpi_customers": "FROM kpi_customers"}, {})
        write_figures(Path(folder), released_kpis(con, inputs, AS_OF))
        return {name: (Path(folder) / name).read_bytes() for name in (KPI_FILE, KPIS, KPI_CUSTOMERS)}


VALUES: dict[str, Callable[[Order], str]] = {
    "country": lambda one: one.country or "unknown",
    "segment": lambda one: "guest" if one.customer is None else "champions" if one.customer == 1 else "none",
    "category": lambda one: f"shelf {one.product}" if one.product < 2 else "unknown",
    "total": lambda one: "all",  # noqa: ARG005 - it has one value
}


def counted(name: str, orders: Sequence[Order], first: date, last: date) -> float:
    """A figure of the days from `first` to `last`, one order after the other."""
    kept = [one for one in orders if first <= one.date <= last and not one.cancelled]
    back = [one for one in orders if one.refunded and first <= one.refund_date <= last and not one.cancelled]
    return {
        "orders": len(kept),
        "customers": len({one.customer for one in kept} - {None}),
        "units": sum(one.units for one in kept),
        "revenue": sum(one.units * 2.5 + 0.5 for one in kept),
        "sales": sum(one.units * 2.5 - 0.5 for one in kept),
        "refunds": 2.5 * len(back),
    }[name]
