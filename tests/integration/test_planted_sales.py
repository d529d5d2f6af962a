"""Sales, money and stock in the published marts of a whole simulated shop, held against what the simulator planted.

What stands in quarantine is missing from the marts, as it must be: it is left out here by name, never by a tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from cartograph.lake import Lake
from tests.support.whole_run import Bench

TABLES = {
    "published": (
        "dim_customers",
        "fct_orders",
        "fct_order_items",
        "fct_payments",
        "fct_refunds",
        "fct_inventory_daily",
        "agg_daily_sales",
        "agg_product_performance",
        "sales_by_geography",
        "payment_mix",
        "weekday_sales",
        "discount_impact",
    ),
    "truth": ("loyalty_tiers", "stockouts"),
    "quarantine": ("customers", "order_items", "payments"),
}


@pytest.fixture(scope="module")
def tables(small_shop: tuple[Bench, str]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with a view of each table, named `<name>`, or `lost_<name>` for what is in quarantine."""
    lake = Lake.from_settings(small_shop[0].settings)
    with lake.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for namespace, names in TABLES.items():
            for name in names:
                view = f"lost_{name}" if namespace == "quarantine" else name
                connection.execute(f"CREATE VIEW {view} AS {lake.relation_sql(f'{namespace}.{name}')}")
        yield connection


def test_an_order_has_the_tier_that_the_customer_had_at_its_time(tables: duckdb.DuckDBPyConnection) -> None:
    ((orders, wrong, tiers),) = tables.sql(
        """
        WITH planted AS (
            SELECT o.order_id, o.customer_key, t.loyalty_tier
            FROM fct_orders AS o ASOF JOIN loyalty_tiers AS t
                ON o.customer_id = t.customer_id AND o.ordered_at >= t.valid_from
            WHERE o.customer_id NOT IN (
                SELECT "row" ->> 'customer_id' FROM lost_customers WHERE reason <> 'exact_duplicate'
            )
        )
        SELECT
            count(*),
            count(*) FILTER (WHERE planted.loyalty_tier IS DISTINCT FROM found.loyalty_tier),
            count(DISTINCT found.loyalty_tier)
        FROM planted JOIN dim_customers AS found USING (customer_key)
        """
    ).fetchall()
    assert wrong == 0
    assert orders > 1_000
    assert tiers >= 3


def test_each_order_is_paid_to_the_cent_unless_it_was_cancelled(tables: duckdb.DuckDBPyConnection) -> None:
    ((paid, wrong, cancelled_and_paid),) = tables.sql(
        """
        WITH captured AS (
            SELECT order_id, sum(amount) AS amount FROM fct_payments WHERE is_captured GROUP BY order_id
        ),
        settled AS (
            SELECT orders.order_id, is_cancelled, total_amount, coalesce(captured.amount, 0) AS captured_amount
            FROM fct_orders AS orders LEFT JOIN captured USING (order_id)
            WHERE orders.order_id NOT IN (
                SELECT "row" ->> 'order_id' FROM lost_payments WHERE reason <> 'exact_duplicate'
            )
        )
        SELECT
            count(*) FILTER (WHERE NOT is_cancelled),
            count(*) FILTER (WHERE NOT is_cancelled AND captured_amount <> total_amount),
            count(*) FILTER (WHERE is_cancelled AND captured_amount > 0)
        FROM settled
        """
    ).fetchall()
    assert (wrong, cancelled_and_paid) == (0, 0)
    assert paid > 1_000


def test_revenue_is_the_same_in_every_published_mart(tables: duckdb.DuckDBPyConnection) -> None:
    ((revenue,),) = tables.sql("SELECT sum(total_amount) FROM fct_orders WHERE NOT is_cancelled").fetchall()
    for mart in ("agg_daily_sales", "sales_by_geography", "weekday_sales", "discount_impact"):
        assert tables.sql(f"SELECT sum(revenue_amount) FROM {mart}").fetchall() == [(revenue,)], mart
    ((captured,),) = tables.sql("SELECT sum(amount) FROM fct_payments WHERE is_captured").fetchall()
    for mart in ("agg_daily_sales", "payment_mix"):
        assert tables.sql(f"SELECT sum(captured_amount) FROM {mart}").fetchall() == [(captured,)], mart
    ((refunded,),) = tables.sql("SELECT sum(amount) FROM fct_refunds").fetchall()
    for mart in ("agg_daily_sales", "agg_product_performance"):
        assert tables.sql(f"SELECT sum(refunded_amount) FROM {mart}").fetchall() == [(refunded,)], mart


def test_stock_follows_from_the_day_before_unless_it_was_withdrawn(tables: duckdb.DuckDBPyConnection) -> None:
    """On hand is what was there, plus what came, less what was sold, and nothing in a planted stockout.

    A line in quarantine was sold too: its product's day is left out, or the whole day where the product is unreadable.
    """
    ((days, wrong, withdrawn),) = tables.sql(
        """
        WITH stock AS (
            SELECT
                *,
                lag(quantity_on_hand) OVER history + quantity_received - units_sold AS expected,
                lag(snapshot_date) OVER history AS previous_date
            FROM fct_inventory_daily
            WINDOW history AS (PARTITION BY product_id ORDER BY snapshot_date)
        ),
        lost AS (
            SELECT DISTINCT
                "row" ->> 'product_id' AS product_id,
                CAST(CAST("row" ->> 'ordered_at' AS TIMESTAMPTZ) AS DATE) AS order_date
            FROM lost_order_items
            WHERE reason <> 'exact_duplicate'
        ),
        held AS (
            SELECT stock.*, stockouts.product_id IS NOT NULL AS is_withdrawn
            FROM stock
            LEFT JOIN stockouts
                ON stock.product_id = stockouts.product_id
                AND stock.snapshot_date >= stockouts.starts_on AND stock.snapshot_date < stockouts.ends_on
            WHERE previous_date = snapshot_date - 1
                AND NOT EXISTS (
                    SELECT 1 FROM lost
                    WHERE lost.order_date = stock.snapshot_date
                        AND coalesce(lost.product_id, stock.product_id) = stock.product_id
                )
        )
        SELECT
            count(*),
            count(*) FILTER (WHERE quantity_on_hand <> CASE WHEN is_withdrawn THEN 0 ELSE expected END),
            count(*) FILTER (WHERE is_withdrawn)
        FROM held
        """
    ).fetchall()
    assert wrong == 0
    assert days > 10_000
    assert withdrawn > 0
