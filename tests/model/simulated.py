"""A simulated shop as the published marts that the models of this location read, and what is true of it.

Little more than renames: the simulator's rows without planted trouble have the keys and amounts of the marts already.
How dbt builds the marts is tested in `tests/integration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import duckdb
import pyarrow as pa

from cartograph.windows import Window, at_midnight
from ecom_assets.simulator import SimulatedShop, SimulatorConfig

DATASETS = (
    "customers", "products", "orders", "order_items", "payments", "refunds", "experiment_assignments",
    "campaigns", "marketing_spend",
)  # fmt: skip
EVENTS = """
    SELECT event_id, occurred_at, received_at, CAST(occurred_at AS DATE) AS event_date, event_type, visitor_id,
        CASE WHEN event_type NOT IN ('email_sent', 'email_open')
            THEN md5(concat_ws('|', visitor_id, CAST(occurred_at AS DATE))) END AS session_key,
        customer_id, device, channel, campaign_id, product_id, order_id
    FROM events"""
"""The mart `fct_events`; what a visitor does on a day is a session."""

MARTS = {
    "dim_customers": """
        SELECT md5(concat_ws('|', customer_id, epoch_us(updated_at))) AS customer_key, customer_id, registered_at,
            CASE WHEN row_number() OVER version = 1 THEN TIMESTAMPTZ '1900-01-01' ELSE updated_at END AS valid_from,
            coalesce(lead(updated_at) OVER version, TIMESTAMPTZ '9999-12-31') AS valid_to,
            lead(updated_at) OVER version IS NULL AS is_current, row_number() OVER version AS version_number,
            loyalty_tier, is_email_opt_in, street, city, postal_code, country
        FROM customers WINDOW version AS (PARTITION BY customer_id ORDER BY updated_at)
        UNION ALL
        SELECT md5('(guest)'), '(guest)', NULL, TIMESTAMPTZ '1900-01-01', TIMESTAMPTZ '9999-12-31',
            true, 1, NULL, NULL, NULL, NULL, NULL, NULL""",
    "dim_products": """
        SELECT DISTINCT ON (product_id) product_id AS product_key, product_id, category, list_price, unit_cost,
            is_active, TIMESTAMPTZ '1900-01-01' AS valid_from, TIMESTAMPTZ '9999-12-31' AS valid_to,
            true AS is_current, 1::BIGINT AS version_number
        FROM products ORDER BY product_id, updated_at""",
    "dim_dates": """
        SELECT CAST(day AS DATE) AS date_day, false AS is_holiday
        FROM generate_series(TIMESTAMP '2024-01-01', TIMESTAMP '2026-12-31', INTERVAL 1 DAY) AS days(day)""",
    "dim_geographies": """
        SELECT DISTINCT md5(concat_ws('|', shipping_city, shipping_country)) AS geography_key,
            shipping_city AS city, shipping_country AS country
        FROM orders""",
    "fct_orders": """
        SELECT DISTINCT ON (o.order_id) o.order_id, o.ordered_at, CAST(o.ordered_at AS DATE) AS order_date,
            o.customer_id, c.customer_key, md5(concat_ws('|', shipping_city, shipping_country)) AS geography_key,
            o.status, o.channel, o.device, o.campaign_id, o.coupon_code, o.subtotal_amount AS gross_amount,
            o.discount_amount,
            o.shipping_amount,
            o.total_amount, coalesce(l.units, 0) AS item_quantity, coalesce(l.lines, 0) AS line_count,
            o.status = 'cancelled' AS is_cancelled, o.customer_id IS NULL AS is_guest
        FROM orders o
        LEFT JOIN (
            SELECT order_id, CAST(sum(quantity) AS BIGINT) AS units, count(*) AS lines FROM order_items GROUP BY ALL
        ) l USING (order_id)
        JOIN dim_customers c ON c.customer_id = coalesce(o.customer_id, '(guest)')
            AND o.ordered_at >= c.valid_from AND o.ordered_at < c.valid_to
        ORDER BY o.order_id, o.updated_at DESC""",
    "fct_order_items": """
        SELECT i.order_id, i.line_number, i.ordered_at, o.order_date, o.customer_id, i.product_id,
            i.product_id AS product_key,
            i.quantity, i.unit_price,
            CAST(round(i.quantity * i.unit_price, 2) AS DECIMAL(18, 2)) AS gross_amount, i.discount_amount,
            CAST(round(i.quantity * i.unit_price, 2) - i.discount_amount AS DECIMAL(18, 2)) AS net_amount,
            CAST(0.4 * (round(i.quantity * i.unit_price, 2) - i.discount_amount) AS DECIMAL(18, 2)) AS margin_amount,
            o.is_cancelled
        FROM order_items i JOIN fct_orders o USING (order_id)""",
    "fct_payments": """
        SELECT payment_id, order_id, paid_at, CAST(paid_at AS DATE) AS payment_date, status AS payment_status,
            card_fingerprint, device_id, ip_address, amount, status = 'captured' AS is_captured
        FROM payments""",
    "rfm_segments": """
        SELECT customer_id, DATE '2024-01-01' AS as_of_date, 'Champions' AS segment
        FROM dim_customers WHERE is_current AND customer_id <> '(guest)'""",
    "fct_refunds": """
        SELECT refund_id, refunded_at, CAST(refunded_at AS DATE) AS refund_date, order_id, customer_id, product_id,
            quantity, amount, reason FROM refunds""",
    "fct_experiment_assignments": """
        SELECT experiment_id, customer_id, variant, assigned_at, CAST(assigned_at AS DATE) AS assignment_date
        FROM experiment_assignments""",
    "fct_marketing_spend": """
        SELECT DISTINCT ON (campaign_id, spend_date) campaign_id, spend_date, channel, spend_amount, impressions, clicks
        FROM marketing_spend""",
    "dim_campaigns": """
        SELECT DISTINCT ON (campaign_id) campaign_id, channel, started_at, ended_at FROM campaigns""",
    "agg_daily_sales": """
        SELECT order_date, coalesce(orders_count, 0) AS orders_count, gross_amount, discount_amount, revenue_amount,
            margin_amount, coalesce(refunded_amount, 0) AS refunded_amount
        FROM (
            SELECT o.order_date, count(*) AS orders_count, CAST(sum(o.gross_amount) AS DECIMAL(18, 2)) AS gross_amount,
                CAST(sum(o.discount_amount) AS DECIMAL(18, 2)) AS discount_amount,
                CAST(sum(o.total_amount) AS DECIMAL(18, 2)) AS revenue_amount,
                CAST(sum(i.margin_amount) AS DECIMAL(18, 2)) AS margin_amount
            FROM fct_orders o
            JOIN (SELECT order_id, sum(margin_amount) AS margin_amount FROM fct_order_items GROUP BY ALL) i
                USING (order_id)
            WHERE NOT o.is_cancelled GROUP BY o.order_date
        ) FULL JOIN (
            SELECT r.refund_date AS order_date, CAST(sum(r.amount) AS DECIMAL(18, 2)) AS refunded_amount
            FROM fct_refunds r LEFT JOIN fct_orders o USING (order_id)
            WHERE o.is_cancelled IS NOT TRUE GROUP BY ALL
        ) USING (order_date)""",
    "market_basket_rules": """
        SELECT '' AS antecedent_product_id, '' AS consequent_product_id, 0::BIGINT AS orders_count,
            0::BIGINT AS antecedent_orders_count, 0::BIGINT AS consequent_orders_count
        WHERE false""",
}


def simulated_marts(
    con: duckdb.DuckDBPyConnection,
    *,
    customers: int,
    end: date,
    seed: int = 7,
    has_events: bool = False,
    late_rate: float = 0,
) -> dict[str, str]:
    """Make the marts of a shop from 2024 on as tables in `con`; a DuckDB SELECT for each. Its truth is `truth_*`."""
    config = SimulatorConfig(
        customers=customers, seed=seed, start=date(2024, 1, 1), end=end,
        duplicate_rate=0, invalid_rate=0, late_rate=late_rate, schema_drift_after=1,
    )  # fmt: skip
    shop = SimulatedShop(config)
    whole = [Window(at_midnight(config.start), at_midnight(config.end))]
    delivered = {
        dataset: pa.concat_tables([one.rows for one in shop.deliveries(dataset, whole)], promote_options="default")
        for dataset in (*DATASETS, *(["events"] if has_events else []))
    }
    marts = MARTS | ({"fct_events": EVENTS} if has_events else {})
    make_marts(con, delivered, shop.truth(), marts)
    return {name: f"SELECT * FROM {name}" for name in marts}


def make_marts(
    con: duckdb.DuckDBPyConnection,
    datasets: Mapping[str, pa.Table],
    truth: Mapping[str, pa.Table],
    marts: Mapping[str, str],
) -> None:
    """Make tables of a shop's datasets, of its truth as `truth_*`, and of the SELECTs of its marts, in their order."""
    for name, rows in [*datasets.items(), *((f"truth_{name}", rows) for name, rows in truth.items())]:
        con.register("rows", rows)
        con.execute(f"CREATE OR REPLACE TABLE {name} AS FROM rows")
    con.unregister("rows")
    for name, select in marts.items():
        con.execute(f"CREATE OR REPLACE TABLE {name} AS {select}")
