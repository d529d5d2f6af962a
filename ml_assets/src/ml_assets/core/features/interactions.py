"""Features of a customer with a product: what was known of both together on an as-of date, by DuckDB from the marts.

A pair has a row where the customer viewed, put into the cart or ordered the product in the 90 days before the date. The
mart `customer_product_interactions` tells the same of today only and knows which orders were cancelled; here a value on
as-of date D uses only what the shop knew before D began.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date

import duckdb
import pyarrow as pa

from cartograph.contracts import Column
from ml_assets.core.features.catalogue import NO_MART
from ml_assets.core.features.customers import Marts, Tables, prepare
from ml_assets.core.features.definition import AS_OF, Feature, FeatureTable

REQUIRED_MARTS = ("dim_products", "fct_order_items")
OPTIONAL_MARTS = ("fct_events",)

_NOT_BOUGHT = "the customer did not order it in the last 90 days"
_NO_CATEGORY = "the shop does not say its category"


def _count(name: str, unit: str, description: str, needs: str | None = None) -> Feature:
    null = NO_MART if needs else None
    return Feature(name=name, type="bigint", unit=unit, description=description, needs=needs, null_means=null)


def _share(name: str, description: str, null_means: str | None = None, needs: str | None = None) -> Feature:
    null = f"{null_means}, or {NO_MART}" if needs else null_means
    return Feature(
        name=name, type="double", unit="share, 0 to 1", maximum=1, description=description, null_means=null, needs=needs
    )


_FEATURES = (
    *(_count(f"views_{days}d", "views", f"Views in the last {days} days.", "fct_events") for days in (7, 30, 90)),
    *(
        _count(f"carts_{days}d", "events", f"Put into the cart in the last {days} days.", "fct_events")
        for days in (7, 30, 90)
    ),
    *(_count(f"purchases_{days}d", "orders", f"Orders of it in the last {days} days.") for days in (7, 30, 90)),
    _count("units_90d", "units", "Units ordered in the last 90 days."),
    Feature(
        name="spend_90d_amount",
        type="double",
        unit="shop currency",
        description="Gross amount of these units.",
    ),
    _count("active_days_90d", "days", "Days with a view, a cart or an order of it in the last 90 days."),
    Feature(
        name="recency_days",
        type="bigint",
        unit="days",
        minimum=1,
        maximum=90,
        description="Since the latest of these days; 1 is the day before the as-of date.",
    ),
    Feature(
        name="purchase_recency_days",
        type="bigint",
        unit="days",
        minimum=1,
        maximum=90,
        description="Since the latest order of it.",
        null_means=_NOT_BOUGHT,
    ),
    Feature(
        name="view_recency_days",
        type="bigint",
        unit="days",
        minimum=1,
        maximum=90,
        description="Since the latest view of it.",
        null_means=f"the customer did not view it in the last 90 days, or {NO_MART}",
        needs="fct_events",
    ),
    _share("product_share", "Its part in the customer's views, carts and order lines of the last 90 days."),
    _share(
        "category_spend_share",
        "Part of its category in what the customer spent in the last 90 days.",
        f"{_NO_CATEGORY}, or the customer ordered nothing of worth in the last 90 days",
    ),
    _share(
        "category_view_share",
        "Part of its category in the customer's views of the last 90 days.",
        f"{_NO_CATEGORY}, or the customer viewed nothing in the last 90 days",
        "fct_events",
    ),
    _count("product_purchases_90d", "orders", "Orders of it by all registered customers in the last 90 days."),
    _count("product_buyers_90d", "customers", "Registered customers who ordered it in the last 90 days."),
    _count("product_views_90d", "views", "Views of it by all known customers in the last 90 days.", "fct_events"),
    Feature(
        name="popularity",
        type="double",
        unit="share, 0 to 1",
        maximum=1,
        description="Part of the products with a row that fewer customers ordered in the last 90 days.",
    ),
)

INTERACTIONS = FeatureTable(
    name="customer_product_interactions",
    grain="A registered customer and a product that met in the 90 days before an as-of date.",
    key=("customer_id", "product_id", "as_of_date"),
    event_time="as_of_date",
    columns=(
        Column(name="customer_id", type="string", description="The customer."),
        Column(name="product_id", type="string", description="The product."),
        AS_OF,
    ),
    features=_FEATURES,
)
"""All features; a shop has those `of` its marts."""

_VALUES = {
    "customer_id": "t.customer_id",
    "as_of_date": "$as_of",
    "recency_days": "$as_of - t.last_day",
    "purchase_recency_days": "$as_of - t.purchase_day",
    "view_recency_days": "$as_of - t.view_day",
    "product_share": "t.touches / sum(t.touches) OVER (PARTITION BY t.customer_id)",
    "category_spend_share": """
        CASE WHEN p.category IS NOT NULL THEN (sum(t.spend) OVER (PARTITION BY t.customer_id, p.category))::DOUBLE
            / nullif(sum(t.spend) OVER (PARTITION BY t.customer_id), 0)::DOUBLE END""",
    "category_view_share": """
        CASE WHEN p.category IS NOT NULL THEN sum(t.views_90d) OVER (PARTITION BY t.customer_id, p.category)
            / nullif(sum(t.views_90d) OVER (PARTITION BY t.customer_id), 0) END""",
    "spend_90d_amount": "t.spend",
    "product_purchases_90d": "q.purchases",
    "product_buyers_90d": "q.buyers",
    "product_views_90d": "q.views",
    "popularity": "q.popularity",
}

_PREPARE: Tables = {
    "pair_orders": (
        "fct_order_items",
        """
        SELECT customer_id, product_id, CAST(ordered_at AS DATE) AS day, 0 AS viewed, 0 AS carted,
            count(DISTINCT order_id) AS bought, sum(quantity) AS units, sum(gross_amount) AS spend, count(*) AS touches
        FROM ({fct_order_items})
        WHERE customer_id IS NOT NULL AND product_id IS NOT NULL AND ordered_at < $until
            AND ordered_at >= CAST($since AS TIMESTAMPTZ) - INTERVAL 90 DAY GROUP BY ALL""",
    ),
    "pair_events": (
        "fct_events",
        """
        SELECT customer_id, product_id, CAST(received_at AS DATE) AS day,
            count(*) FILTER (event_type = 'product_view') AS viewed,
            count(*) FILTER (event_type = 'add_to_cart') AS carted, 0 AS bought, 0 AS units, 0 AS spend,
            count(*) AS touches
        FROM ({fct_events})
        WHERE customer_id IS NOT NULL AND product_id IS NOT NULL AND event_type IN ('product_view', 'add_to_cart')
            AND received_at < $until AND received_at >= CAST($since AS TIMESTAMPTZ) - INTERVAL 90 DAY GROUP BY ALL""",
    ),
}


def interactions(con: duckdb.DuckDBPyConnection, marts: Marts, as_of_dates: Collection[date]) -> Iterator[pa.Table]:
    """The features of every pair that met before each of `as_of_dates`, a date at a time, oldest first.

    The tables have the schema of `INTERACTIONS` and are sorted by customer and product. `con` must work in UTC;
    temporary tables are made in it.
    """
    dates = sorted(set(as_of_dates))
    if not dates:
        return
    schema = INTERACTIONS.of(marts).contract().arrow_schema()
    prepare(con, _PREPARE, marts, dates[0], dates[-1])
    for as_of in dates:
        yield con.execute(_query(marts, schema), {"as_of": as_of}).to_arrow_table().cast(schema)


def interaction_table(con: duckdb.DuckDBPyConnection, marts: Marts, as_of_dates: Collection[date]) -> pa.Table:
    """`interactions` as one table; an empty one where there are no dates."""
    return pa.concat_tables(
        [INTERACTIONS.of(marts).contract().arrow_schema().empty_table(), *interactions(con, marts, as_of_dates)]
    )


def _query(marts: Marts, schema: pa.Schema) -> str:
    seen = "UNION ALL FROM pair_events" if "fct_events" in marts else ""
    windows = ", ".join(
        f"coalesce(sum({what}) FILTER (day >= $as_of - {days}), 0) AS {name}_{days}d"
        for name, what in (("views", "viewed"), ("carts", "carted"), ("purchases", "bought"))
        for days in (7, 30, 90)
    )
    return f"""
        WITH t AS (
            SELECT customer_id, product_id, {windows}, sum(touches) AS touches, sum(units) AS units_90d,
                sum(spend) AS spend, count(DISTINCT day) AS active_days_90d, max(day) AS last_day,
                max(day) FILTER (bought > 0) AS purchase_day, max(day) FILTER (viewed > 0) AS view_day
            FROM (FROM pair_orders {seen}) WHERE day < $as_of AND day >= $as_of - 90
            GROUP BY customer_id, product_id
        ), met AS (
            SELECT product_id, sum(purchases_90d) AS purchases, count(*) FILTER (purchases_90d > 0) AS buyers,
                sum(views_90d) AS views
            FROM t GROUP BY product_id
        ), q AS (
            SELECT *, percent_rank() OVER (ORDER BY buyers) AS popularity FROM met
        ), p AS (
            SELECT product_id, arg_max_null(category, version_number) AS category
            FROM ({marts["dim_products"]}) WHERE valid_from < CAST($as_of AS TIMESTAMPTZ) GROUP BY product_id
        )
        SELECT {", ".join(f"{_VALUES.get(name, f't.{name}')} AS {name}" for name in schema.names)}
        FROM t JOIN q USING (product_id) LEFT JOIN p USING (product_id)
        ORDER BY t.customer_id, t.product_id"""
