"""The panel of products by weeks: what each sold in a week, at which price and discount, and what was known before.

Rows only, as of the week's first day. What is asked of them is `products`' business.
"""

from __future__ import annotations

from datetime import date

import duckdb
import pyarrow as pa

from cartograph.contracts import Column, Contract
from ml_assets.core.features.customers import Marts

REQUIRED_MARTS = ("fct_order_items", "fct_orders", "dim_products")
STOCK_MART = "fct_inventory_daily"
LONGEST_DAYS = 731
"""How far back the weeks go."""
RECENT_WEEKS = 4
LEAST_DISCOUNT = 0.04
"""The share from which a discount counts as a promotion: below it stands what rounding leaves."""
MIXED_SHARE = 0.1
"""Of a category's products: if the discount of more changes within a week, it is a sale's first or last."""
AFTER_WEEKS = 4
"""How long a spell out of stock is looked for in later sales."""
LATER_DAYS = 28
"""How much later the price is that cannot have caused today's sales."""

CONTRACT = Contract(
    dataset="product_weeks",
    grain="A product and a whole week (from Monday, UTC) in which it was on sale on each day.",
    key=("product_id", "week_start"),
    event_time="week_start",
    columns=(
        Column(name="product_id", type="string", description="The product."),
        Column(name="week_start", type="date", description="The week's Monday (UTC)."),
        Column(name="category", type="string", description="Its category on that day, or `(none)`."),
        Column(name="units", type="double", description="Units in orders that stand (not cancelled) of the week."),
        Column(
            name="margin_amount",
            type="double",
            nullable=True,
            description="Their margin after discounts, in the shop's currency. Null: a line's cost is not known.",
        ),
        Column(name="list_price", type="double", description="Geometric mean of the list price over the week's days."),
        Column(
            name="discount_share",
            type="double",
            nullable=True,
            description="Discounts over list prices, 0 to 1, on lines of orders without a coupon: the product's own "
            "promotion. Null: there was no such line.",
        ),
        Column(
            name="is_steady",
            type="bigint",
            description="0: in the week a sale of the whole category began or ended, so that weekly units are of both.",
        ),
        Column(name="is_short", type="bigint", description="1: on a day of the week it could not be had."),
        Column(
            name="after_stock_out",
            type="bigint",
            description=f"1: a spell out of stock ended in the {AFTER_WEEKS} weeks before, and none is in the week.",
        ),
        Column(name="on_sale_days", type="bigint", description="Days on sale before the week, that are in the data."),
        Column(name="recent_units", type="double", description=f"Units a week, in the {RECENT_WEEKS} weeks before."),
        Column(
            name="earlier_units",
            type="double",
            nullable=True,
            description="Units a week, 9 to 12 weeks before the week: before a spell whose after-effect is looked for.",
        ),
        Column(
            name="units_before_price",
            type="double",
            nullable=True,
            description=f"Units a week, {RECENT_WEEKS} weeks before that in which the list price came into force. "
            "Null: it is the first.",
        ),
        Column(
            name="later_list_price",
            type="double",
            nullable=True,
            description=f"`list_price` {LATER_DAYS} days later. Null: past the end of the data.",
        ),
    ),
)

# A day without stock and without orders is no spell by itself: a slow product sells out on Friday, and nobody asks for
# it until it is filled up on Monday (88 % of such days in the simulated shop, where orders go on while the shelf is
# empty). A spell begins with stock that goes and that nobody bought, or lasts a week. Lines and counts in quarantine
# are not here: what came that day and is gone by night was sold, whether or not its line is here, and that nobody
# bought is told by all orders since the last count. So 137 of the 141 planted spells are found, and 3 that are none.
_SHORT = """
    SELECT product_id, date_trunc('week', day)::DATE AS week_start, true AS is_short
    FROM (
        SELECT product_id, day, is_empty,
            bool_or(was > 0) FILTER (is_empty) OVER spell
                OR max(day) FILTER (is_empty) OVER spell - min(day) FILTER (is_empty) OVER spell >= 6 AS is_spell
        FROM (
            SELECT *, count(*) FILTER (NOT is_empty) OVER (PARTITION BY product_id ORDER BY day) AS run
            FROM (
                SELECT product_id, day, on_hand = 0 AND received = 0 AND a.day IS NULL AS is_empty,
                    lag(on_hand, 1, 0) OVER (PARTITION BY product_id ORDER BY day) AS was
                FROM counted LEFT JOIN asked a USING (product_id, day)
            )
        ) WINDOW spell AS (PARTITION BY product_id, run)
    ) WHERE is_empty AND is_spell GROUP BY ALL"""
_COUNTED = """
    SELECT product_id, snapshot_date AS day, quantity_on_hand AS on_hand, coalesce(quantity_received, 0) AS received
    FROM ({mart}) WHERE snapshot_date >= $start AND snapshot_date < $end"""
_NOT_TOLD = "SELECT NULL::VARCHAR AS product_id, NULL::DATE AS day, 0 AS on_hand, 0 AS received WHERE false"

_QUERY = """
    WITH placed AS MATERIALIZED (
        SELECT i.product_id, i.order_date AS day, i.quantity, i.gross_amount, i.discount_amount, i.margin_amount,
            i.is_cancelled, o.coupon_code
        FROM ({fct_order_items}) i JOIN ({fct_orders}) o USING (order_id)
        WHERE i.order_date >= $start AND i.order_date < $end
    ), sold_weeks AS (
        SELECT product_id, date_trunc('week', day)::DATE AS week_start,
            sum(quantity) FILTER (NOT is_cancelled) AS units, sum(margin_amount) FILTER (NOT is_cancelled) AS margin,
            count(*) FILTER (NOT is_cancelled AND margin_amount IS NULL) AS uncosted,
            sum(discount_amount) FILTER (coupon_code IS NULL)::DOUBLE
                / nullif(sum(gross_amount) FILTER (coupon_code IS NULL), 0)::DOUBLE AS discount_share
        FROM placed GROUP BY ALL
    ), promoted AS (
        SELECT product_id, date_trunc('week', day)::DATE AS week_start, count(DISTINCT is_promoted) > 1 AS changes
        FROM (SELECT product_id, day, discount_amount > {least} * gross_amount AS is_promoted
            FROM placed WHERE coupon_code IS NULL AND gross_amount > 0)
        GROUP BY ALL
    ), counted AS ({counted}), asked AS (
        SELECT DISTINCT p.product_id, c.day
        FROM placed p ASOF JOIN counted c ON p.product_id = c.product_id AND p.day <= c.day
    ), short AS ({short}), versions AS (
        SELECT product_id, product_key, valid_from, ln(nullif(list_price, 0)::DOUBLE) AS log_price,
            coalesce(category, '(none)') AS category, is_active
        FROM ({dim_products})
    ), life AS (
        SELECT product_id, min(day) AS first_day
        FROM (SELECT product_id, day FROM placed UNION ALL SELECT product_id, day FROM counted) GROUP BY ALL
    ), calendar AS (
        SELECT CAST(day AS DATE) AS day FROM generate_series($start, $end - INTERVAL 1 DAY, INTERVAL 1 DAY) AS d(day)
    ), grid AS (
        SELECT product_id, day, first_day, (day::TIMESTAMP + INTERVAL 12 HOUR) AT TIME ZONE 'UTC' AS noon
        FROM life JOIN calendar ON day >= first_day
    ), priced AS (
        SELECT g.product_id, date_trunc('week', g.day)::DATE AS week_start,
            arg_min(v.product_key, g.day) AS product_key, arg_min(v.category, g.day) AS category,
            avg(v.log_price) AS log_price, min(g.day - g.first_day) AS on_sale_days
        FROM grid g ASOF JOIN versions v ON g.product_id = v.product_id AND g.noon >= v.valid_from
        GROUP BY ALL HAVING count(v.log_price) = 7 AND bool_and(v.is_active)
    ), weeks AS (
        SELECT p.*, coalesce(s.units, 0)::DOUBLE AS units,
            CASE WHEN coalesce(s.uncosted, 0) = 0 THEN coalesce(s.margin, 0) END::DOUBLE AS margin_amount,
            s.discount_share, coalesce(short.is_short, false)::BIGINT AS is_short,
            coalesce(avg(c.changes::BIGINT) OVER (PARTITION BY p.category, week_start) <= {mixed}, true)::BIGINT
                AS is_steady
        FROM priced p LEFT JOIN sold_weeks s USING (product_id, week_start)
        LEFT JOIN short USING (product_id, week_start) LEFT JOIN promoted c USING (product_id, week_start)
    ), known AS (
        SELECT *, coalesce(sum(units) OVER recent, 0) / {recent} AS recent_units,
            CASE WHEN on_sale_days >= 84 THEN coalesce(sum(units) OVER earlier, 0) / {recent} END AS earlier_units,
            CASE WHEN on_sale_days >= 35 THEN coalesce(sum(units) OVER gone, 0) / {recent} END AS gone_units,
            coalesce(max(is_short) OVER after, 0) AS was_short,
            round(max(exp(log_price)) OVER later, 6) AS later_list_price
        FROM weeks
        WINDOW recent AS (
            PARTITION BY product_id ORDER BY week_start RANGE BETWEEN 28 PRECEDING AND 7 PRECEDING
        ), gone AS (
            PARTITION BY product_id ORDER BY week_start RANGE BETWEEN 35 PRECEDING AND 14 PRECEDING
        ), earlier AS (
            PARTITION BY product_id ORDER BY week_start RANGE BETWEEN 84 PRECEDING AND 63 PRECEDING
        ), after AS (
            PARTITION BY product_id ORDER BY week_start RANGE BETWEEN {after} PRECEDING AND 7 PRECEDING
        ), later AS (
            PARTITION BY product_id ORDER BY week_start RANGE BETWEEN {later} FOLLOWING AND {later} FOLLOWING
        )
    )
    SELECT product_id, week_start, category, units, margin_amount, round(exp(log_price), 6) AS list_price,
        discount_share, is_steady, is_short, CAST(is_short = 0 AND was_short = 1 AS BIGINT) AS after_stock_out,
        on_sale_days, recent_units, earlier_units, later_list_price,
        first_value(gone_units) OVER (PARTITION BY product_id, product_key ORDER BY week_start) AS units_before_price
    FROM known ORDER BY product_id, week_start"""


def product_weeks(con: duckdb.DuckDBPyConnection, marts: Marts, start: date, end: date) -> pa.Table:
    """The rows of the whole weeks in [start, end), by product and week, in the schema of `CONTRACT`.

    Where the shop does not count its stock, a product is on sale from its first order on and never out of stock.
    """
    query = _QUERY.format(
        counted=_COUNTED.format(mart=marts[STOCK_MART]) if STOCK_MART in marts else _NOT_TOLD,
        short=_SHORT,
        least=LEAST_DISCOUNT,
        mixed=MIXED_SHARE,
        recent=f"{RECENT_WEEKS}.0",
        after=7 * AFTER_WEEKS,
        later=LATER_DAYS,
        **{name: marts[name] for name in REQUIRED_MARTS},
    )
    schema = CONTRACT.arrow_schema()
    return con.execute(query, {"start": start, "end": end}).to_arrow_table().select(schema.names).cast(schema)
