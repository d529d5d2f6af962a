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

from ml_assets.core.features.catalogue import CUSTOMER_FEATURES

Marts = Mapping[str, str]
"""For each published mart that the shop has, by name (`fct_orders`), a DuckDB SELECT that reads it."""

Tables = Mapping[str, tuple[str, str]]
"""Temporary tables by name: of each the mart without which it is left out, and the SELECT of marts that makes it.

It takes `$until`, the last as-of date, and `$since`, the first, where it needs that.
"""

REQUIRED_MARTS = ("dim_customers", "dim_products", "fct_orders", "fct_order_items")
OPTIONAL_MARTS = ("fct_refunds", "fct_reviews", "fct_events")

DATES_AT_A_TIME = 32
"""As-of dates in one query, so that daily partitions of years do not multiply in memory."""

# Marts are brought to one row for a customer and a day first: as-of dates are midnights, so days lose nothing.
_PREPARE: Tables = {
    "versions": (
        "dim_customers",
        """
        SELECT customer_id, version_number, CAST(valid_from AS DATE) AS known_day,
            min(CAST(registered_at AS DATE)) OVER (PARTITION BY customer_id) AS registered_day,
            list_position(['bronze', 'silver', 'gold', 'platinum'], loyalty_tier) AS loyalty_rank,
            CAST(is_email_opt_in AS BIGINT) AS email_opt_in
        FROM ({dim_customers}) WHERE customer_id IS NOT NULL AND registered_at < $until""",
    ),
    "order_days": (
        "fct_orders",
        """
        SELECT customer_id, CAST(ordered_at AS DATE) AS day, count(*) AS orders, sum(total_amount) AS spend,
            sum(gross_amount) AS gross, sum(discount_amount) AS discount, sum(item_quantity) AS units,
            sum(line_count) AS lines, count(coupon_code) AS coupons, count(device) AS with_device,
            count(*) FILTER (device = 'mobile') AS mobile,
            day - lag(day) OVER (PARTITION BY customer_id ORDER BY day) AS gap
        FROM ({fct_orders}) WHERE customer_id IS NOT NULL AND ordered_at < $until
        GROUP BY customer_id, CAST(ordered_at AS DATE)""",
    ),
    "channel_days": (
        "fct_orders",
        """
        SELECT customer_id, channel, CAST(ordered_at AS DATE) AS day, count(*) AS orders
        FROM ({fct_orders}) WHERE customer_id IS NOT NULL AND channel IS NOT NULL AND ordered_at < $until
        GROUP BY ALL""",
    ),
    "first_purchases": (
        "fct_order_items",
        """
        SELECT customer_id, product_id, min(CAST(ordered_at AS DATE)) AS day
        FROM ({fct_order_items}) WHERE customer_id IS NOT NULL AND ordered_at < $until GROUP BY ALL""",
    ),
    "line_days": (
        "fct_order_items",
        """
        SELECT customer_id, CAST(ordered_at AS DATE) AS day, count(*) AS lines, sum(gross_amount) AS gross
        FROM ({fct_order_items}) WHERE customer_id IS NOT NULL AND ordered_at < $until GROUP BY ALL""",
    ),
    "category_days": (
        "fct_order_items",
        """
        SELECT i.customer_id, p.category, CAST(i.ordered_at AS DATE) AS day, sum(i.gross_amount) AS gross
        FROM ({fct_order_items}) i JOIN ({dim_products}) p USING (product_key)
        WHERE i.customer_id IS NOT NULL AND p.category IS NOT NULL AND i.ordered_at < $until GROUP BY ALL""",
    ),
    "refund_days": (
        "fct_refunds",
        """
        SELECT customer_id, CAST(refunded_at AS DATE) AS day, count(*) AS refunds, sum(amount) AS refunded
        FROM ({fct_refunds}) WHERE customer_id IS NOT NULL AND refunded_at < $until GROUP BY ALL""",
    ),
    "review_days": (
        "fct_reviews",
        """
        SELECT customer_id, CAST(reviewed_at AS DATE) AS day, count(*) AS reviews, sum(rating) AS stars,
            count(*) FILTER (rating <= 2) AS low
        FROM ({fct_reviews}) WHERE customer_id IS NOT NULL AND reviewed_at < $until GROUP BY ALL""",
    ),
    "event_days": (
        "fct_events",
        """
        SELECT customer_id, CAST(received_at AS DATE) AS day,
            count(*) FILTER (event_type NOT LIKE 'email%') AS visit_events,
            count(device) FILTER (event_type NOT LIKE 'email%') AS with_device,
            count(*) FILTER (event_type NOT LIKE 'email%' AND device = 'mobile') AS mobile,
            count(*) FILTER (event_type NOT LIKE 'email%' AND channel = 'email') AS from_email,
            count(*) FILTER (event_type = 'product_view') AS product_views,
            count(*) FILTER (event_type = 'add_to_cart') AS add_to_carts,
            count(*) FILTER (event_type = 'email_sent') AS emails_sent,
            count(*) FILTER (event_type = 'email_open') AS email_opens
        FROM ({fct_events}) WHERE customer_id IS NOT NULL AND received_at < $until
            AND received_at >= CAST($since AS TIMESTAMPTZ) - INTERVAL 180 DAY GROUP BY ALL""",
    ),
    # Of each session the day on which the shop knew of it, and of its steps: read from 30 days before they count,
    # as the first events of one that crosses the line would be missing.
    "sessions": (
        "fct_events",
        """
        SELECT customer_id, min(day) AS day, min(day) FILTER (event_type = 'product_view') AS view_day,
            min(day) FILTER (event_type = 'add_to_cart') AS cart_day,
            min(day) FILTER (event_type = 'checkout') AS checkout_day,
            min(day) FILTER (event_type = 'purchase') AS purchase_day
        FROM (
            SELECT customer_id, session_key, event_type, CAST(received_at AS DATE) AS day FROM ({fct_events})
            WHERE customer_id IS NOT NULL AND session_key IS NOT NULL AND received_at < $until
                AND received_at >= CAST($since AS TIMESTAMPTZ) - INTERVAL 120 DAY
        ) GROUP BY customer_id, session_key""",
    ),
}

_CUSTOMERS = """
    SELECT a.as_of, v.customer_id, a.as_of - any_value(v.registered_day) AS registered_days,
        arg_max_null(v.loyalty_rank, v.version_number) FILTER (v.known_day < a.as_of) AS loyalty_rank,
        arg_max_null(v.email_opt_in, v.version_number) FILTER (v.known_day < a.as_of) AS email_opt_in
    FROM dates a JOIN versions v ON v.registered_day < a.as_of GROUP BY a.as_of, v.customer_id"""

_ORDERS = """
    SELECT a.as_of, o.customer_id, a.as_of - max(o.day) AS recency_days, a.as_of - min(o.day) AS tenure_days,
        count(*) AS order_days, sum(o.orders) AS orders, sum(o.spend) AS spend, sum(o.gross) AS gross,
        sum(o.discount) AS discount, sum(o.units) AS units, sum(o.lines) AS lines, sum(o.coupons) AS coupons,
        sum(o.with_device) AS with_device, sum(o.mobile) AS mobile, max(o.gap) AS longest_gap,
        sum(o.gap * o.gap) AS squared_gaps,
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

# Lines and their worth from the same rows: an order keeps its own amount where a line of it is in quarantine.
_LINES = """
    SELECT a.as_of, l.customer_id, sum(l.gross)::DOUBLE / sum(l.lines) AS mean_amount
    FROM dates a JOIN line_days l ON l.day < a.as_of GROUP BY a.as_of, l.customer_id"""

# The parts of a customer's orders by channel and of their worth by category: how many, the greatest, how even. The
# effective number of one part may be a rounding error below 1, which the API would refuse.
_PARTS = """
    SELECT as_of, customer_id, count(*) AS parts, max(part)::DOUBLE / nullif(sum(part), 0)::DOUBLE AS greatest,
        CASE WHEN sum(square) > 0 THEN greatest(sum(part)::DOUBLE ** 2 / sum(square)::DOUBLE, 1) END AS effective
    FROM (
        SELECT *, CAST(part AS DECIMAL(18, 2)) * CAST(part AS DECIMAL(18, 2)) AS square FROM (
            SELECT a.as_of, d.customer_id, d.{of}, sum(d.{measure}) AS part
            FROM dates a JOIN {table} d ON d.day < a.as_of GROUP BY ALL
        )
    ) GROUP BY as_of, customer_id"""

_REFUNDS = """
    SELECT a.as_of, r.customer_id, sum(r.refunds) FILTER (r.day >= a.as_of - 180) AS refunds_180d,
        sum(r.refunded) AS refunded
    FROM dates a JOIN refund_days r ON r.day < a.as_of GROUP BY a.as_of, r.customer_id"""

_REVIEWS = """
    SELECT a.as_of, w.customer_id, sum(w.reviews) AS reviews, sum(w.stars) AS stars,
        sum(w.reviews) FILTER (w.day >= a.as_of - 180) AS reviews_180d,
        sum(w.low) FILTER (w.day >= a.as_of - 180) AS low_ratings_180d
    FROM dates a JOIN review_days w ON w.day < a.as_of GROUP BY a.as_of, w.customer_id"""

_EVENTS = """
    SELECT a.as_of, e.customer_id,
        count(*) FILTER (e.visit_events > 0 AND e.day >= a.as_of - 30) AS visit_days_30d,
        a.as_of - max(e.day) FILTER (e.visit_events > 0) AS visit_recency_days,
        sum(e.product_views) FILTER (e.day >= a.as_of - 90) AS product_views_90d,
        sum(e.add_to_carts) FILTER (e.day >= a.as_of - 90) AS add_to_carts_90d,
        sum(e.emails_sent) AS emails_sent_180d, sum(e.email_opens) AS email_opens_180d,
        count(*) FILTER (e.visit_events > 0 AND e.day >= a.as_of - 90) AS visit_days_90d,
        count(*) FILTER (e.with_device > 0) AS device_days, count(*) FILTER (e.mobile > 0) AS mobile_days,
        count(*) FILTER (e.from_email > 0) AS email_visit_days_180d
    FROM dates a JOIN event_days e ON e.day < a.as_of AND e.day >= a.as_of - 180 GROUP BY a.as_of, e.customer_id"""

_SESSIONS = """
    SELECT a.as_of, s.customer_id, count(*) FILTER (s.day >= a.as_of - 30) AS sessions_30d, count(*) AS sessions_90d,
        sum(CASE WHEN s.purchase_day < a.as_of THEN 4 WHEN s.checkout_day < a.as_of THEN 3
            WHEN s.cart_day < a.as_of THEN 2 WHEN s.view_day < a.as_of THEN 1 ELSE 0 END) AS depth,
        count(*) FILTER (s.cart_day < a.as_of AND NOT coalesce(s.purchase_day < a.as_of, false)) AS abandoned_carts
    FROM dates a JOIN sessions s ON s.day < a.as_of AND s.day >= a.as_of - 90 GROUP BY a.as_of, s.customer_id"""

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
    "longest_gap_days": "o.longest_gap",
    "gap_variation": """
        CASE WHEN o.order_days > 2 THEN sqrt(greatest(0,
            (o.squared_gaps - (o.tenure_days - o.recency_days) ** 2 / (o.order_days - 1)) / (o.order_days - 2)
        )) * (o.order_days - 1) / (o.tenure_days - o.recency_days) END""",
    "spend_amount": "coalesce(o.spend, 0)",
    "spend_90d_amount": "coalesce(o.spend_90d, 0)",
    "spend_365d_amount": "coalesce(o.spend_365d, 0)",
    "mean_order_amount": "o.spend::DOUBLE / o.orders",
    "mean_order_quantity": "o.units / o.orders",
    "mean_order_lines": "o.lines / o.orders",
    "mean_line_amount": "l.mean_amount",
    "discount_share": "CASE WHEN o.discount > o.gross THEN 1 ELSE o.discount::DOUBLE / nullif(o.gross, 0)::DOUBLE END",
    "coupon_share": "o.coupons / o.orders",
    "mobile_order_share": "o.mobile / nullif(o.with_device, 0)",
    "channels_count": "h.parts",
    "top_channel_share": "h.greatest",
    "products_count": "coalesce(p.products, 0)",
    "categories_count": "k.parts",
    "top_category_share": "k.greatest",
    "category_diversity": "k.effective",
    "refunds_180d": "coalesce(r.refunds_180d, 0)",
    "refunded_share": "CASE WHEN o.spend > 0 THEN coalesce(r.refunded, 0)::DOUBLE / o.spend::DOUBLE END",
    "reviews_count": "coalesce(w.reviews, 0)",
    "reviews_180d": "coalesce(w.reviews_180d, 0)",
    "mean_rating": "w.stars / w.reviews",
    "low_ratings_180d": "coalesce(w.low_ratings_180d, 0)",
    "visit_days_30d": "coalesce(e.visit_days_30d, 0)",
    "visit_days_90d": "coalesce(e.visit_days_90d, 0)",
    "visit_recency_days": "e.visit_recency_days",
    "mobile_visit_share": "e.mobile_days / nullif(e.device_days, 0)",
    "sessions_30d": "coalesce(s.sessions_30d, 0)",
    "sessions_90d": "coalesce(s.sessions_90d, 0)",
    "funnel_depth_90d": "s.depth / s.sessions_90d",
    "abandoned_carts_90d": "coalesce(s.abandoned_carts, 0)",
    "product_views_90d": "coalesce(e.product_views_90d, 0)",
    "add_to_carts_90d": "coalesce(e.add_to_carts_90d, 0)",
    "emails_sent_180d": "coalesce(e.emails_sent_180d, 0)",
    "email_opens_180d": "coalesce(e.email_opens_180d, 0)",
    "email_visit_days_180d": "coalesce(e.email_visit_days_180d, 0)",
}


def customer_features(
    con: duckdb.DuckDBPyConnection, marts: Marts, as_of_dates: Collection[date]
) -> Iterator[pa.Table]:
    """The features of every customer registered before each of `as_of_dates`, some dates at a time, oldest first.

    The tables have the schema of `CUSTOMER_FEATURES` and are sorted by as-of date and customer. `con` must work in
    UTC; temporary tables are made in it.
    """
    dates = sorted(set(as_of_dates))
    if not dates:
        return
    schema = CUSTOMER_FEATURES.of(marts).contract().arrow_schema()
    prepare(con, _PREPARE, marts, dates[0], dates[-1])
    for first in range(0, len(dates), DATES_AT_A_TIME):
        rows = con.execute(_query(marts, schema), {"dates": dates[first : first + DATES_AT_A_TIME]})
        yield rows.to_arrow_table().cast(schema)


def feature_table(con: duckdb.DuckDBPyConnection, marts: Marts, as_of_dates: Collection[date]) -> pa.Table:
    """`customer_features` as one table; an empty one where there are no dates."""
    schema = CUSTOMER_FEATURES.of(marts).contract().arrow_schema()
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


def prepare(con: duckdb.DuckDBPyConnection, tables: Tables, marts: Marts, first: date, last: date) -> None:
    """Make the temporary `tables` of the marts that are there, for as-of dates from `first` to `last`."""
    for table, (mart, select) in tables.items():
        if mart not in marts:
            continue
        values: dict[str, Any] = {"until": last}
        if "$since" in select:
            values["since"] = first
        con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {select.format(**marts)}", values)


def _query(marts: Marts, schema: pa.Schema) -> str:
    columns = ", ".join(f"{_VALUES[name]} AS {name}" for name in schema.names)
    joins = {
        "o": _ORDERS,
        "p": _PRODUCTS,
        "l": _LINES,
        "h": _PARTS.format(table="channel_days", of="channel", measure="orders"),
        "k": _PARTS.format(table="category_days", of="category", measure="gross"),
    }
    joins |= {"r": _REFUNDS} if "fct_refunds" in marts else {}
    joins |= {"w": _REVIEWS} if "fct_reviews" in marts else {}
    joins |= {"e": _EVENTS, "s": _SESSIONS} if "fct_events" in marts else {}
    return f"""
        WITH dates AS (SELECT unnest(CAST($dates AS DATE[])) AS as_of)
        SELECT {columns} FROM ({_CUSTOMERS}) c
        {" ".join(f"LEFT JOIN ({query}) {name} USING (as_of, customer_id)" for name, query in joins.items())}
        ORDER BY c.as_of, c.customer_id"""


def column_values(features: pa.Table, names: Sequence[str]) -> Any:
    """The columns `names` of a feature table as a float32 matrix, one row for each of its rows; null is NaN."""
    import numpy as np

    columns = [features[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for name in names]
    return np.column_stack(columns).astype(np.float32) if columns else np.empty((len(features), 0), np.float32)
