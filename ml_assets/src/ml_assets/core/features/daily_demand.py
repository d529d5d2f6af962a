"""The daily demand panel: what was asked for of each product on each day, and what could be had.

A row knows nothing but its own day. Orders count whatever becomes of them: who cancels has asked, too, and the day does
not know of it. How rows become a model's input is `ml_assets.core.models.demand.daily`'s business.
"""

from __future__ import annotations

from datetime import date

import duckdb
import pyarrow as pa

from cartograph.contracts import Column
from cartograph.windows import Grain
from ml_assets.core.features.customers import Marts
from ml_assets.core.features.definition import Feature, FeatureTable

REQUIRED_MARTS = ("fct_order_items", "dim_products")
STOCK_MART = "fct_inventory_daily"

_NOTHING_SOLD = "nothing was ordered"
_NOT_COUNTED = "the stock was not counted"

_FEATURES = (
    Feature(
        name="ordered_units",
        type="bigint",
        unit="units",
        description="Asked for on the day, with what was cancelled later.",
    ),
    Feature(name="orders_count", type="bigint", unit="orders", description="Orders with the product."),
    Feature(
        name="mean_price_amount",
        type="double",
        unit="the shop's currency per unit",
        description="Mean price of the units ordered, before discounts.",
        null_means=_NOTHING_SOLD,
    ),
    Feature(
        name="discount_share",
        type="double",
        unit="share from 0 to 1",
        maximum=1,
        description="Discounts on the lines, over what these would cost without.",
        null_means="nothing was ordered, or all of it was free",
    ),
    Feature(
        name="stock_units",
        type="bigint",
        unit="units",
        description="In stock at the end of the day.",
        null_means=_NOT_COUNTED,
    ),
    Feature(
        name="received_units",
        type="bigint",
        unit="units",
        description="Delivered to the shop on the day.",
        null_means=_NOT_COUNTED,
    ),
    Feature(
        name="was_available",
        type="bigint",
        unit="0 or 1",
        maximum=1,
        description=(
            "0 where there was nothing in the end and nothing was ordered: what would have been asked for is not known."
        ),
        null_means=_NOT_COUNTED,
    ),
)

DAILY_DEMAND = FeatureTable(
    name="daily_demand",
    grain="A product and a day on which it was ordered or its stock was counted.",
    key=("product_id", "demand_date"),
    event_time="demand_date",
    columns=(
        Column(name="product_id", type="string", description="The product."),
        Column(name="demand_date", type="date", description="The day (UTC)."),
        Column(
            name="category",
            type="string",
            nullable=True,
            description="The product's category on that day. Null: the shop does not say.",
        ),
    ),
    features=_FEATURES,
)
"""All that is known of a product's day."""
CONTRACT = DAILY_DEMAND.contract()

# A day without sales that ends without stock: had something been sold, its demand would have been met in part at least.
# Such days are kept, as to leave out the days that sold out would leave out those of highest demand.
_QUERY = """
    WITH sold AS (
        SELECT product_id, order_date AS day, max(product_key) AS product_key, sum(quantity) AS units,
            count(DISTINCT order_id) AS orders, sum(gross_amount) AS gross, sum(discount_amount) AS discount
        FROM ({fct_order_items}) WHERE order_date >= $start AND order_date < $end GROUP BY ALL
    ), counted AS ({counted})
    SELECT product_id, day AS demand_date, p.category, coalesce(s.units, 0) AS ordered_units,
        coalesce(s.orders, 0) AS orders_count, s.gross::DOUBLE / s.units AS mean_price_amount,
        s.discount::DOUBLE / nullif(s.gross, 0)::DOUBLE AS discount_share,
        c.on_hand AS stock_units, c.received AS received_units,
        CASE WHEN c.on_hand IS NOT NULL THEN CAST(c.on_hand > 0 OR s.units IS NOT NULL AS BIGINT) END AS was_available
    FROM sold s FULL JOIN counted c USING (product_id, day)
    LEFT JOIN ({dim_products}) p ON p.product_key = coalesce(c.product_key, s.product_key)
    ORDER BY demand_date, product_id"""
_COUNTED = """
    SELECT product_id, snapshot_date AS day, product_key, quantity_on_hand AS on_hand, quantity_received AS received
    FROM ({mart}) WHERE snapshot_date >= $start AND snapshot_date < $end"""
_NOT_TOLD = """
    SELECT NULL::VARCHAR AS product_id, NULL::DATE AS day, NULL::VARCHAR AS product_key, NULL::BIGINT AS on_hand,
        NULL::BIGINT AS received WHERE false"""


def daily_demand(con: duckdb.DuckDBPyConnection, marts: Marts, start: date, end: date) -> pa.Table:
    """The rows of the days in [start, end), by day and product, in the schema of `CONTRACT`."""
    counted = _COUNTED.format(mart=marts[STOCK_MART]) if STOCK_MART in marts else _NOT_TOLD
    query = _QUERY.format(counted=counted, **{name: marts[name] for name in REQUIRED_MARTS})
    schema = CONTRACT.arrow_schema()
    return con.execute(query, {"start": start, "end": end}).to_arrow_table().select(schema.names).cast(schema)


_DATE_PART: dict[Grain, str] = {"daily": "day", "weekly": "week", "monthly": "month"}


def differing(
    con: duckdb.DuckDBPyConnection, order_items: str, stored: str, grain: Grain, limit: int
) -> tuple[int, int, list[str]]:
    """Units in the stored table, units in the order lines of its partitions, and products and days that differ.

    These differ in units, in worth or in discounts, to the cent.
    `order_items` and `stored` are DuckDB SELECTs; at most `limit` of those that differ are named.
    """
    part = _DATE_PART[grain]
    row = con.execute(
        f"""
        WITH kept AS (
            SELECT product_id, demand_date AS day, ordered_units AS units,
                coalesce(mean_price_amount, 0) * ordered_units AS gross,
                coalesce(discount_share, 0) * coalesce(mean_price_amount, 0) * ordered_units AS discount
            FROM ({stored})
        ), sold AS (
            SELECT product_id, order_date AS day, sum(quantity) AS units, sum(gross_amount)::DOUBLE AS gross,
                sum(discount_amount)::DOUBLE AS discount
            FROM ({order_items})
            WHERE date_trunc('{part}', order_date) IN (SELECT DISTINCT date_trunc('{part}', day) FROM kept)
            GROUP BY ALL
        ), compared AS (
            SELECT product_id, day, coalesce(kept.units, 0) AS kept_units, coalesce(sold.units, 0) AS sold_units,
                kept_units <> sold_units
                OR abs(coalesce(kept.gross, 0) - coalesce(sold.gross, 0)) >= $half_a_cent
                OR abs(coalesce(kept.discount, 0) - coalesce(sold.discount, 0)) >= $half_a_cent AS differs
            FROM kept FULL JOIN sold USING (product_id, day)
        )
        SELECT coalesce(sum(kept_units), 0), coalesce(sum(sold_units), 0),
            (array_agg(product_id || ' on ' || day ORDER BY day, product_id) FILTER (differs))[:$limit]
        FROM compared""",
        {"limit": limit, "half_a_cent": 0.005},
    ).fetchall()[0]
    return int(row[0]), int(row[1]), row[2] or []
