"""Customer features, computed by DuckDB from the published marts for any as-of dates.

A value on as-of date D uses only what the shop knew before D began: orders placed, refunds granted and events
*received* before D (an event that arrives late changes no earlier row), and the customer's version that held then.
An order counts whatever becomes of it, because its later cancellation was not known on D.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa

from ml_assets.core.features.catalogue import available, contract

Marts = Mapping[str, str]
"""For each published mart that the shop has, by name (`fct_orders`), a DuckDB SELECT that reads it."""

REQUIRED_MARTS = ("dim_customers", "fct_orders", "fct_order_items")
OPTIONAL_MARTS = ("fct_refunds", "fct_events")

DATES_AT_A_TIME = 32
"""As-of dates in one query, so that daily partitions of years do not multiply in memory."""

# Marts are brought to one row for a customer and a day first: as-of dates are midnights, so days lose nothing.
_PREPARE = {
    "dim_customers": """
        CREATE OR REPLACE TEMP TABLE versions AS
        SELECT customer_id, version_number, CAST(valid_from AS DATE) AS known_day,
            min(CAST(registered_at AS DATE)) OVER (PARTITION BY customer_id) AS registered_day,
            list_position(['bronze', 'silver', 'gold', 'platinum'], loyalty_tier) AS loyalty_rank,
            CAST(is_email_opt_in AS BIGINT) AS email_opt_in
        FROM ({mart}) WHERE customer_id IS NOT NULL AND registered_at < $until""",
    "fct_orders": """
        CREATE OR REPLACE TEMP TABLE order_days AS
        SELECT customer_id, CAST(ordered_at AS DATE) AS day, count(*) AS orders, sum(total_amount) AS spend,
            sum(gross_amount) AS gross, sum(discount_amount) AS discount, sum(item_quantity) AS units
        FROM ({mart}) WHERE customer_id IS NOT NULL AND ordered_at < $until GROUP BY ALL""",
    "fct_order_items": """
        CREATE OR REPLACE TEMP TABLE first_purchases AS
        SELECT customer_id, product_id, min(CAST(ordered_at AS DATE)) AS day
        FROM ({mart}) WHERE customer_id IS NOT NULL AND ordered_at < $until GROUP BY ALL""",
    "fct_refunds": """
        CREATE OR REPLACE TEMP TABLE refund_days AS
        SELECT customer_id, CAST(refunded_at AS DATE) AS day, count(*) AS refunds, sum(amount) AS refunded
        FROM ({mart}) WHERE customer_id IS NOT NULL AND refunded_at < $until GROUP BY ALL""",
    "fct_events": """
        CREATE OR REPLACE TEMP TABLE event_days AS
        SELECT customer_id, CAST(received_at AS DATE) AS day,
            count(*) FILTER (event_type NOT LIKE 'email%') AS visit_events,
            count(*) FILTER (event_type = 'product_view') AS product_views,
            count(*) FILTER (event_type = 'add_to_cart') AS add_to_carts,
            count(*) FILTER (event_type = 'email_sent') AS emails_sent,
            count(*) FILTER (event_type = 'email_open') AS email_opens
        FROM ({mart}) WHERE customer_id IS NOT NULL AND received_at < $until
            AND received_at >= CAST($since AS TIMESTAMPTZ) - INTERVAL 180 DAY GROUP BY ALL""",
}

_CUSTOMERS = """
    SELECT a.as_of, v.customer_id, a.as_of - any_value(v.registered_day) AS registered_days,
        arg_max_null(v.loyalty_rank, v.version_number) FILTER (v.known_day < a.as_of) AS loyalty_rank,
        arg_max_null(v.email_opt_in, v.version_number) FILTER (v.known_day < a.as_of) AS email_opt_in
    FROM dates a JOIN versions v ON v.registered_day < a.as_of GROUP BY a.as_of, v.customer_id"""

_ORDERS = """
    SELECT a.as_of, o.customer_id, a.as_of - max(o.day) AS recency_days, a.as_of - min(o.day) AS tenure_days,
        count(*) AS order_days, sum(o.orders) AS orders, sum(o.spend) AS spend, sum(o.gross) AS gross,
        sum(o.discount) AS discount, sum(o.units) AS units,
        sum(o.orders) FILTER (o.day >= a.as_of - 30) AS orders_30d,
        sum(o.orders) FILTER (o.day >= a.as_of - 90) AS orders_90d,
        sum(o.orders) FILTER (o.day >= a.as_of - 180) AS orders_180d,
        sum(o.orders) FILTER (o.day >= a.as_of - 365) AS orders_365d,
        sum(o.spend) FILTER (o.day >= a.as_of - 90) AS spend_90d,
        sum(o.spend) FILTER (o.day >= a.as_of - 365) AS spend_365d
    FROM dates a JOIN order_days o ON o.day < a.as_of GROUP BY a.as_of, o.customer_id"""

_PRODUCTS = """
    SELECT a.as_of, p.customer_id, count(*) AS products
    FROM dates a JOIN first_purchases p ON p.day < a.as_of GROUP BY a.as_of, p.customer_id"""

_REFUNDS = """
    SELECT a.as_of, r.customer_id, sum(r.refunds) FILTER (r.day >= a.as_of - 180) AS refunds_180d,
        sum(r.refunded) AS refunded
    FROM dates a JOIN refund_days r ON r.day < a.as_of GROUP BY a.as_of, r.customer_id"""

_EVENTS = """
    SELECT a.as_of, e.customer_id,
        count(*) FILTER (e.visit_events > 0 AND e.day >= a.as_of - 30) AS visit_days_30d,
        a.as_of - max(e.day) FILTER (e.visit_events > 0) AS visit_recency_days,
        sum(e.product_views) FILTER (e.day >= a.as_of - 90) AS product_views_90d,
        sum(e.add_to_carts) FILTER (e.day >= a.as_of - 90) AS add_to_carts_90d,
        sum(e.emails_sent) AS emails_sent_180d, sum(e.email_opens) AS email_opens_180d
    FROM dates a JOIN event_days e ON e.day < a.as_of AND e.day >= a.as_of - 180 GROUP BY a.as_of, e.customer_id"""

# Sums of decimals are exact and become doubles last: the order of rows cannot change a digit.
_VALUES = {
    "customer_id": "c.customer_id",
    "as_of_date": "c.as_of",
    "registered_days": "c.registered_days",
    "loyalty_rank": "c.loyalty_rank",
    "email_opt_in": "c.email_opt_in",
    "recency_days": "o.recency_days",
    "tenure_days": "o.tenure_days",
    "orders_count": "coalesce(o.orders, 0)",
    "order_days_count": "coalesce(o.order_days, 0)",
    "orders_30d": "coalesce(o.orders_30d, 0)",
    "orders_90d": "coalesce(o.orders_90d, 0)",
    "orders_180d": "coalesce(o.orders_180d, 0)",
    "orders_365d": "coalesce(o.orders_365d, 0)",
    "mean_gap_days": "(o.tenure_days - o.recency_days) / nullif(o.order_days - 1, 0)",
    "overdue_ratio": "o.recency_days * (o.order_days - 1) / nullif(o.tenure_days - o.recency_days, 0)",
    "spend_amount": "coalesce(o.spend, 0)",
    "spend_90d_amount": "coalesce(o.spend_90d, 0)",
    "spend_365d_amount": "coalesce(o.spend_365d, 0)",
    "mean_order_amount": "o.spend::DOUBLE / o.orders",
    "mean_order_quantity": "o.units / o.orders",
    "discount_share": "o.discount::DOUBLE / nullif(o.gross, 0)::DOUBLE",
    "products_count": "coalesce(p.products, 0)",
    "refunds_180d": "coalesce(r.refunds_180d, 0)",
    "refunded_share": "coalesce(r.refunded, 0)::DOUBLE / nullif(o.spend, 0)::DOUBLE",
    "visit_days_30d": "coalesce(e.visit_days_30d, 0)",
    "visit_recency_days": "e.visit_recency_days",
    "product_views_90d": "coalesce(e.product_views_90d, 0)",
    "add_to_carts_90d": "coalesce(e.add_to_carts_90d, 0)",
    "emails_sent_180d": "coalesce(e.emails_sent_180d, 0)",
    "email_opens_180d": "coalesce(e.email_opens_180d, 0)",
}


def customer_features(
    con: duckdb.DuckDBPyConnection, marts: Marts, as_of_dates: Collection[date]
) -> Iterator[pa.Table]:
    """The features of every customer registered before each of `as_of_dates`, some dates at a time, oldest first.

    The tables have the schema of `catalogue.contract` and are sorted by as-of date and customer. `con` must work in
    UTC; temporary tables are made in it.
    """
    dates = sorted(set(as_of_dates))
    if not dates:
        return
    schema = contract(available(marts)).arrow_schema()
    _prepare(con, marts, dates[0], dates[-1])
    for first in range(0, len(dates), DATES_AT_A_TIME):
        rows = con.execute(_query(marts, schema), {"dates": dates[first : first + DATES_AT_A_TIME]})
        yield rows.to_arrow_table().cast(schema)


def feature_table(con: duckdb.DuckDBPyConnection, marts: Marts, as_of_dates: Collection[date]) -> pa.Table:
    """`customer_features` as one table; an empty one where there are no dates."""
    schema = contract(available(marts)).arrow_schema()
    return pa.concat_tables([schema.empty_table(), *customer_features(con, marts, as_of_dates)])


def as_of_dates(con: duckdb.DuckDBPyConnection, stored: str) -> list[date]:
    """The as-of dates in the feature table whose DuckDB SELECT is `stored`, oldest first."""
    found = con.execute(f"SELECT DISTINCT as_of_date FROM ({stored}) ORDER BY ALL").fetchall()
    return [row[0] for row in found]


def data_end(as_of_dates: Sequence[date], shop_end: date | None) -> date:
    """The day after the last of the data that the as-of dates, oldest first, have seen.

    The last window of a shop may reach beyond the shop's end, and so may the last as-of date.
    """
    return min(shop_end, as_of_dates[-1]) if shop_end else as_of_dates[-1]


def _prepare(con: duckdb.DuckDBPyConnection, marts: Marts, first: date, last: date) -> None:
    for mart, statement in _PREPARE.items():
        if mart not in marts:
            continue
        values: dict[str, Any] = {"until": last}
        if "$since" in statement:
            values["since"] = first
        con.execute(statement.format(mart=marts[mart]), values)


def _query(marts: Marts, schema: pa.Schema) -> str:
    columns = ", ".join(f"{_VALUES[name]} AS {name}" for name in schema.names)
    joins = [("o", _ORDERS), ("p", _PRODUCTS)]
    joins += [("r", _REFUNDS)] if "fct_refunds" in marts else []
    joins += [("e", _EVENTS)] if "fct_events" in marts else []
    return f"""
        WITH dates AS (SELECT unnest(CAST($dates AS DATE[])) AS as_of)
        SELECT {columns} FROM ({_CUSTOMERS}) c
        {" ".join(f"LEFT JOIN ({query}) {name} USING (as_of, customer_id)" for name, query in joins)}
        ORDER BY c.as_of, c.customer_id"""


def column_values(features: pa.Table, names: Sequence[str]) -> Any:
    """The columns `names` of a feature table as a float32 matrix, one row for each of its rows; null is NaN."""
    import numpy as np

    columns = [features[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for name in names]
    return np.column_stack(columns).astype(np.float32) if columns else np.empty((len(features), 0), np.float32)
