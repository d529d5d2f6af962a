"""Product features: what was known of each product on an as-of date, computed by DuckDB from the published marts.

As with customers, a value on as-of date D uses only what the shop knew before D began, and a line counts whatever
becomes of its order. A product has a row from the day after it was first sold or counted in stock.
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
OPTIONAL_MARTS = ("fct_refunds", "fct_reviews", "fct_events", "fct_inventory_daily")

PRIOR_REVIEWS = 5
"""`shrunk_rating` is the mean as if a product had so many more reviews of the shop's mean rating: one with as many of
its own is half what they say and half what all products are."""

_NEVER_SOLD = "it has never been sold"
_NOT_SOLD = "it was not sold in the last 90 days"
_NOT_REVIEWED = "it was not reviewed"
_NOT_TOLD = "the shop does not say"
_NO_YEAR = "nothing of its category was sold in the last year, or the first sale of the shop is less than a year ago"


def _count(name: str, unit: str, description: str, needs: str | None = None) -> Feature:
    null = NO_MART if needs else None
    return Feature(name=name, type="bigint", unit=unit, description=description, needs=needs, null_means=null)


_FEATURES = (
    Feature(name="list_price", type="double", unit="shop currency", description="List price.", null_means=_NOT_TOLD),
    Feature(
        name="price_level",
        type="double",
        unit="ratio",
        description="List price over the median of its category.",
        null_means=f"{_NOT_TOLD} its price or category",
    ),
    Feature(
        name="list_margin_rate",
        type="double",
        unit="share of the list price",
        minimum=-1e6,
        maximum=1,
        description="List price less unit cost, over the list price.",
        null_means=f"{_NOT_TOLD} its price or cost",
    ),
    Feature(
        name="sold_margin_rate_90d",
        type="double",
        unit="share of net sales",
        minimum=-1e6,
        maximum=1,
        description="Margin over net amount of the lines of the last 90 days whose cost is known.",
        null_means=f"{_NOT_SOLD}, or its cost is not known",
    ),
    Feature(
        name="discount_share_90d",
        type="double",
        unit="share, 0 to 1",
        maximum=1,
        description="Discounts over gross amount of the last 90 days.",
        null_means=_NOT_SOLD,
    ),
    Feature(
        name="on_sale_days",
        type="bigint",
        unit="days",
        minimum=1,
        description="Since the first sale.",
        null_means=_NEVER_SOLD,
    ),
    Feature(
        name="sale_recency_days",
        type="bigint",
        unit="days",
        minimum=1,
        description="Since the latest sale.",
        null_means=_NEVER_SOLD,
    ),
    _count("units_7d", "units", "Sold in the last 7 days."),
    _count("units_30d", "units", "Sold in the last 30 days."),
    _count("units_90d", "units", "Sold in the last 90 days."),
    _count("orders_90d", "orders", "Orders of the last 90 days that hold it."),
    _count("buyers_90d", "customers", "Registered customers who ordered it in the last 90 days."),
    Feature(
        name="velocity_trend",
        type="double",
        unit="ratio, 0 to 3",
        maximum=3,
        description="Three times units_30d over units_90d: above 1 it sells faster than before.",
        null_means=_NOT_SOLD,
    ),
    Feature(
        name="weekend_share_90d",
        type="double",
        unit="share, 0 to 1",
        maximum=1,
        description="Units of the last 90 days that were sold on Saturdays and Sundays (UTC).",
        null_means=_NOT_SOLD,
    ),
    Feature(
        name="season_index",
        type="double",
        unit="ratio",
        description=(
            "Units of its category in the 30 days that began a year ago, over those of an average 30 days since then: "
            "above 1 a season begins."
        ),
        null_means=_NO_YEAR,
    ),
    Feature(
        name="returned_share_90d",
        type="double",
        unit="ratio",
        description="Units refunded over units sold in the last 90 days.",
        null_means=f"{_NOT_SOLD}, or {NO_MART}",
        needs="fct_refunds",
    ),
    _count("reviews_count", "reviews", "Of it, written so far.", "fct_reviews"),
    Feature(
        name="mean_rating",
        type="double",
        unit="stars, 1 to 5",
        minimum=1,
        maximum=5,
        description="Mean rating of its reviews so far.",
        null_means=f"{_NOT_REVIEWED}, or {NO_MART}",
        needs="fct_reviews",
    ),
    Feature(
        name="shrunk_rating",
        type="double",
        unit="stars, 1 to 5",
        minimum=1,
        maximum=5,
        description=f"The same with {PRIOR_REVIEWS} more reviews of the mean rating of all reviews so far.",
        null_means=f"nothing was reviewed yet, or {NO_MART}",
        needs="fct_reviews",
    ),
    Feature(
        name="rating_trend",
        type="double",
        unit="stars, -4 to 4",
        minimum=-4,
        maximum=4,
        description="Mean rating of its reviews of the last 90 days, less that of those before.",
        null_means=f"{_NOT_REVIEWED} in the last 90 days or before, or {NO_MART}",
        needs="fct_reviews",
    ),
    _count("views_30d", "views", "Views of its page in the last 30 days.", "fct_events"),
    _count("carts_30d", "events", "Times it was put into a cart in the last 30 days.", "fct_events"),
    Feature(
        name="cart_rate_30d",
        type="double",
        unit="ratio",
        description="carts_30d over views_30d.",
        null_means=f"it was not viewed in the last 30 days, or {NO_MART}",
        needs="fct_events",
    ),
    Feature(
        name="stock_quantity",
        type="bigint",
        unit="units",
        description="On hand at the end of the latest day counted.",
        null_means=f"it was never counted, or {NO_MART}",
        needs="fct_inventory_daily",
    ),
    Feature(
        name="stock_days",
        type="double",
        unit="days",
        description="How long that lasts at the pace of the last 30 days.",
        null_means=f"it was never counted or not sold in the last 30 days, or {NO_MART}",
        needs="fct_inventory_daily",
    ),
    _count("empty_days_30d", "days", "Of the last 30 days, those that ended with none on hand.", "fct_inventory_daily"),
)

PRODUCT_FEATURES = FeatureTable(
    name="product_features",
    grain="A product that was sold or in stock before an as-of date, from data strictly before that date.",
    key=("product_id", "as_of_date"),
    event_time="as_of_date",
    columns=(Column(name="product_id", type="string", description="The product."), AS_OF),
    features=_FEATURES,
)
"""All features; a shop has those `of` its marts."""

_PREPARE: Tables = {
    "product_lines": (
        "fct_order_items",
        """
        SELECT product_id, order_id, customer_id, quantity, gross_amount, discount_amount, net_amount, margin_amount,
            CAST(ordered_at AS DATE) AS day
        FROM ({fct_order_items}) WHERE ordered_at < $until""",
    ),
    "product_refunds": (
        "fct_refunds",
        """
        SELECT product_id, CAST(refunded_at AS DATE) AS day, sum(quantity) AS units
        FROM ({fct_refunds}) WHERE refunded_at < $until GROUP BY ALL""",
    ),
    "product_reviews": (
        "fct_reviews",
        """
        SELECT product_id, CAST(reviewed_at AS DATE) AS day, count(*) AS reviews, sum(rating) AS stars
        FROM ({fct_reviews}) WHERE reviewed_at < $until GROUP BY ALL""",
    ),
    "product_events": (
        "fct_events",
        """
        SELECT product_id, CAST(received_at AS DATE) AS day, count(*) FILTER (event_type = 'product_view') AS views,
            count(*) FILTER (event_type = 'add_to_cart') AS carts
        FROM ({fct_events}) WHERE received_at < $until AND received_at >= CAST($since AS TIMESTAMPTZ) - INTERVAL 30 DAY
        GROUP BY ALL""",
    ),
    "product_stock": (
        "fct_inventory_daily",
        """
        SELECT product_id, snapshot_date AS day, quantity_on_hand
        FROM ({fct_inventory_daily}) WHERE snapshot_date < $until""",
    ),
}

_SOLD = """
    sold AS (
        SELECT product_id, as_of - max(day) AS sale_recency_days, as_of - min(day) AS on_sale_days,
            coalesce(sum(quantity) FILTER (day >= as_of - 7), 0) AS units_7d,
            coalesce(sum(quantity) FILTER (day >= as_of - 30), 0) AS units_30d,
            coalesce(sum(quantity) FILTER (day >= as_of - 90), 0) AS units_90d,
            sum(quantity) FILTER (day >= as_of - 90 AND isodow(day) > 5) AS weekend_units,
            sum(gross_amount) FILTER (day >= as_of - 90) AS gross,
            sum(discount_amount) FILTER (day >= as_of - 90) AS discount,
            sum(margin_amount) FILTER (day >= as_of - 90) AS margin,
            sum(net_amount) FILTER (day >= as_of - 90 AND margin_amount IS NOT NULL) AS net
        FROM lines GROUP BY product_id, as_of
    ), bought AS (
        SELECT product_id, count(DISTINCT order_id) AS orders, count(DISTINCT customer_id) AS buyers
        FROM lines WHERE day >= as_of - 90 GROUP BY product_id
    ), category_units AS (
        SELECT p.category, sum(l.quantity) FILTER (l.day < l.as_of - 335) AS then, sum(l.quantity) AS year,
            (SELECT min(day) < min(as_of) - 365 FROM lines) AS is_a_year
        FROM lines l JOIN current p USING (product_id)
        WHERE l.day >= l.as_of - 365 AND p.category IS NOT NULL GROUP BY p.category
    )"""

_OPTIONAL = {
    "fct_refunds": """
    , returned AS (
        SELECT product_id, sum(units) AS units FROM product_refunds
        WHERE day < $as_of AND day >= $as_of - 90 GROUP BY product_id
    )""",
    "fct_reviews": """
    , rated AS (
        SELECT product_id, sum(reviews) AS reviews, sum(stars) AS stars,
            sum(reviews) FILTER (day >= $as_of - 90) AS late_reviews,
            sum(stars) FILTER (day >= $as_of - 90) AS late_stars
        FROM product_reviews WHERE day < $as_of GROUP BY product_id
    ), all_rated AS (
        SELECT sum(stars) / sum(reviews) AS rating FROM rated
    )""",
    "fct_events": """
    , seen AS (
        SELECT product_id, sum(views) AS views, sum(carts) AS carts FROM product_events
        WHERE day < $as_of AND day >= $as_of - 30 GROUP BY product_id
    )""",
    "fct_inventory_daily": """
    , stock AS (
        SELECT product_id, arg_max(quantity_on_hand, day) AS quantity,
            count(*) FILTER (quantity_on_hand <= 0 AND day >= $as_of - 30) AS empty_days
        FROM product_stock WHERE day < $as_of GROUP BY product_id
    )""",
}
_JOINED = {
    "fct_refunds": "returned r",
    "fct_reviews": "rated w",
    "fct_events": "seen e",
    "fct_inventory_daily": "stock i",
}

_VALUES = {
    "product_id": "p.product_id",
    "as_of_date": "$as_of",
    "list_price": "p.list_price::DOUBLE",
    "price_level": "p.list_price::DOUBLE / nullif(p.middle_price, 0)::DOUBLE",
    "list_margin_rate": "(p.list_price - p.unit_cost)::DOUBLE / nullif(p.list_price, 0)::DOUBLE",
    "sold_margin_rate_90d": "s.margin::DOUBLE / nullif(s.net, 0)::DOUBLE",
    "discount_share_90d": "s.discount::DOUBLE / nullif(s.gross, 0)::DOUBLE",
    "on_sale_days": "s.on_sale_days",
    "sale_recency_days": "s.sale_recency_days",
    "units_7d": "coalesce(s.units_7d, 0)",
    "units_30d": "coalesce(s.units_30d, 0)",
    "units_90d": "coalesce(s.units_90d, 0)",
    "orders_90d": "coalesce(b.orders, 0)",
    "buyers_90d": "coalesce(b.buyers, 0)",
    "velocity_trend": "3 * s.units_30d / nullif(s.units_90d, 0)",
    "weekend_share_90d": "coalesce(s.weekend_units, 0) / nullif(s.units_90d, 0)",
    "season_index": "CASE WHEN c.is_a_year THEN coalesce(c.then, 0) * 365 / (30 * c.year) END",
    "returned_share_90d": "coalesce(r.units, 0) / nullif(s.units_90d, 0)",
    "reviews_count": "coalesce(w.reviews, 0)",
    "mean_rating": "w.stars / w.reviews",
    "shrunk_rating": f"""(coalesce(w.stars, 0) + {PRIOR_REVIEWS} * (SELECT rating FROM all_rated))
        / (coalesce(w.reviews, 0) + {PRIOR_REVIEWS})""",
    "rating_trend": "w.late_stars / w.late_reviews - (w.stars - w.late_stars) / nullif(w.reviews - w.late_reviews, 0)",
    "views_30d": "coalesce(e.views, 0)",
    "carts_30d": "coalesce(e.carts, 0)",
    "cart_rate_30d": "e.carts / nullif(e.views, 0)",
    "stock_quantity": "i.quantity",
    "stock_days": "30 * i.quantity / nullif(s.units_30d, 0)",
    "empty_days_30d": "coalesce(i.empty_days, 0)",
}


def product_features(con: duckdb.DuckDBPyConnection, marts: Marts, as_of_dates: Collection[date]) -> Iterator[pa.Table]:
    """The features of every product known before each of `as_of_dates`, a date at a time, oldest first.

    The tables have the schema of `PRODUCT_FEATURES` and are sorted by product. `con` must work in UTC;
    temporary tables are made in it.
    """
    dates = sorted(set(as_of_dates))
    if not dates:
        return
    schema = PRODUCT_FEATURES.of(marts).contract().arrow_schema()
    prepare(con, _PREPARE, marts, dates[0], dates[-1])
    for as_of in dates:
        yield con.execute(_query(marts, schema), {"as_of": as_of}).to_arrow_table().cast(schema)


def product_table(con: duckdb.DuckDBPyConnection, marts: Marts, as_of_dates: Collection[date]) -> pa.Table:
    """`product_features` as one table; an empty one where there are no dates."""
    return pa.concat_tables(
        [PRODUCT_FEATURES.of(marts).contract().arrow_schema().empty_table(), *product_features(con, marts, as_of_dates)]
    )


def _query(marts: Marts, schema: pa.Schema) -> str:
    optional = [mart for mart in OPTIONAL_MARTS if mart in marts]
    stocked = "UNION SELECT product_id FROM stock" if "fct_inventory_daily" in marts else ""
    return f"""
        WITH lines AS (
            SELECT *, CAST($as_of AS DATE) AS as_of FROM product_lines WHERE day < $as_of
        ), current AS (
            SELECT product_id, arg_max_null(category, version_number) AS category,
                arg_max_null(list_price, version_number) AS list_price,
                arg_max_null(unit_cost, version_number) AS unit_cost
            FROM ({marts["dim_products"]}) WHERE valid_from < CAST($as_of AS TIMESTAMPTZ) GROUP BY product_id
        ), {_SOLD.strip()} {" ".join(_OPTIONAL[mart].strip() for mart in optional)},
        known AS (
            SELECT *, median(list_price) OVER (PARTITION BY category) AS median_price
            FROM current WHERE product_id IN (SELECT product_id FROM sold {stocked})
        ), products AS (
            SELECT *, CASE WHEN category IS NOT NULL THEN median_price END AS middle_price FROM known
        )
        SELECT {", ".join(f"{_VALUES[name]} AS {name}" for name in schema.names)}
        FROM products p LEFT JOIN sold s USING (product_id) LEFT JOIN bought b USING (product_id)
        LEFT JOIN category_units c USING (category)
        {" ".join(f"LEFT JOIN {_JOINED[mart]} USING (product_id)" for mart in optional)}
        ORDER BY p.product_id"""
