"""Order-risk features, computed by DuckDB from the published marts for the orders of any window.

A value of an order placed at T uses only facts before T, and of the order itself what the checkout has at hand: the
basket, and card, device and internet address of the first payment attempt, whose outcome is not used. Orders of the
same microsecond do not know of each other, but for what they link. An order counts whatever becomes of it. An event
counts from when the shop received it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa

from ml_assets.core.features.customers import Marts
from ml_assets.core.features.order_catalogue import ORDER_RISK
from ml_assets.core.features.order_links import ROWS_AT_A_TIME, linked

MARTS = (
    "fct_orders",
    "fct_order_items",
    "fct_payments",
    "fct_refunds",
    "dim_customers",
    "dim_products",
    "dim_geographies",
)
OPTIONAL_MARTS = ("fct_events",)
CHARGEBACK = "chargeback"
"""The reason of a refund that the cardholder's bank has forced."""

CUSTOMER = "customer:"
"""How an actor begins who is a customer; no token does."""
MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

NO_VISIT = ("purchase", "email_sent", "email_open", "email_click")
"""Types of events that count for no visit: purchases are orders, and e-mails reach who does not look into the shop."""
VISITING = f"FROM ({{fct_events}}) WHERE customer_id IS NOT NULL AND event_type NOT IN {NO_VISIT}"
"""The events of visits; each counts from when it was received."""

# Microseconds are integers, and windows over them end one before the order's own: nothing of the same moment counts.
_BEFORE = "RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"


def _last(microseconds: int) -> str:
    return f"RANGE BETWEEN {microseconds} PRECEDING AND 1 PRECEDING"


# `actor` is the customer, or for a guest the order: guests cannot be told from each other. Windows, which
# sort, run over what is recent on `$first`; what was before is counted.
_STEPS = {
    "placed": """
        WITH attempts AS (
            SELECT order_id, card_fingerprint AS card, device_id AS device, ip_address AS network FROM ({fct_payments})
            QUALIFY row_number() OVER (PARTITION BY order_id ORDER BY paid_at, payment_id) = 1
        )
        SELECT o.order_id, o.order_date, o.ordered_at, epoch_us(o.ordered_at) AS us, o.customer_id,
            coalesce('{customer}' || o.customer_id, 'order:' || o.order_id) AS actor, a.card, a.device, a.network,
            c.registered_at,
            CASE WHEN c.street <> '' THEN concat_ws('|', c.street, c.postal_code, c.city, c.country) END AS address,
            CASE WHEN nullif(g.country, '') <> nullif(c.country, '') THEN 1
                WHEN nullif(g.country, '') = c.country THEN CAST(nullif(g.city, '') <> nullif(c.city, '') AS BIGINT)
                END AS is_sent_elsewhere,
            o.total_amount, o.gross_amount, o.discount_amount, o.item_quantity, o.line_count
        FROM ({fct_orders}) o
        LEFT JOIN attempts a ON a.order_id = o.order_id
        LEFT JOIN ({dim_customers}) c ON c.customer_key = o.customer_key
        LEFT JOIN ({dim_geographies}) g ON g.geography_key = o.geography_key
        WHERE o.order_date < $until""",
    "shown": """
        SELECT * FROM (SELECT order_id, order_date, us, actor, card, device, network, address FROM placed)
        UNPIVOT (token FOR kind IN (card, device, network, address))""",
    "shared": f"""
        WITH now AS (
            SELECT * FROM shown WHERE order_date >= $first
        ), firsts AS (
            SELECT kind, token, actor, min(us) AS us FROM shown SEMI JOIN now USING (kind, token) GROUP BY ALL
        ), counted AS (
            SELECT order_id, kind, coalesce(sum(is_customer) OVER (token {_BEFORE}), 0) AS customers,
                sum(is_order) OVER (token {_last(DAY)}) AS orders_24h
            FROM (
                SELECT NULL AS order_id, kind, token, us, CAST(actor LIKE '{CUSTOMER}%' AS BIGINT) AS is_customer,
                    0 AS is_order FROM firsts
                UNION ALL SELECT order_id, kind, token, us, 0, 1 FROM shown WHERE order_date >= $first - 1
            )
            WINDOW token AS (PARTITION BY kind, token ORDER BY us)
        )
        SELECT n.order_id, n.kind, c.customers - CAST(f.us < n.us AS BIGINT) AS others,
            coalesce(c.orders_24h, 0) AS orders_24h, f.us = n.us AS is_new
        FROM now n JOIN firsts f USING (kind, token, actor) JOIN counted c USING (order_id, kind)""",
    "declined": """
        SELECT p.actor, q.card_fingerprint AS card, epoch_us(q.paid_at) AS us
        FROM ({fct_payments}) q JOIN placed p USING (order_id)
        WHERE q.payment_status = 'declined' AND q.paid_at >= CAST($first AS TIMESTAMPTZ) - INTERVAL 7 DAY""",
    "charged_back": """
        SELECT p.order_id, p.actor, min(epoch_us(r.refunded_at)) AS us
        FROM ({fct_refunds}) r JOIN placed p USING (order_id)
        WHERE r.reason = $chargeback GROUP BY ALL""",
    "trusted": f"""
        SELECT order_id, max(declined_7d) AS declined_7d, max(card_declined_7d) AS card_declined_7d,
            max(charged_back) AS charged_back
        FROM (
            SELECT order_id, sum(is_declined) OVER (PARTITION BY actor ORDER BY us {_last(7 * DAY)}) AS declined_7d,
                sum(is_declined) OVER (PARTITION BY card ORDER BY us {_last(7 * DAY)}) AS card_declined_7d,
                sum(is_charged) OVER (PARTITION BY actor ORDER BY us {_BEFORE}) AS charged_back
            FROM (
                SELECT order_id, actor, card, us, 0 AS is_declined, 0 AS is_charged FROM placed
                WHERE order_date >= $first
                UNION ALL SELECT NULL, actor, card, us, 1, 0 FROM declined
                UNION ALL SELECT NULL, actor, NULL, us, 0, 1 FROM charged_back
            )
        )
        WHERE order_id IS NOT NULL GROUP BY order_id""",
    "customary": f"""
        WITH earlier AS (
            SELECT actor, min(us) AS first_at, max(us) AS last_at, count(*) AS orders, sum(total_amount) AS spent
            FROM placed WHERE order_date < $first - 7 GROUP BY actor
        ), lately AS (
            SELECT order_id, order_date, actor, min(us) OVER (customer {_BEFORE}) AS first_at,
                max(us) OVER (customer {_BEFORE}) AS last_at, count(*) OVER (customer {_BEFORE}) AS orders,
                count(*) OVER (customer {_last(HOUR)}) AS orders_1h,
                count(*) OVER (customer {_last(DAY)}) AS orders_24h,
                count(*) OVER (customer {_last(7 * DAY)}) AS orders_7d,
                sum(total_amount) OVER (customer {_BEFORE}) AS spent
            FROM placed WHERE order_date >= $first - 7 WINDOW customer AS (PARTITION BY actor ORDER BY us)
        )
        SELECT l.order_id, coalesce(e.first_at, l.first_at) AS first_at, coalesce(l.last_at, e.last_at) AS last_at,
            l.orders + coalesce(e.orders, 0) AS orders_before, l.orders_1h, l.orders_24h, l.orders_7d,
            coalesce(l.spent, 0) + coalesce(e.spent, 0) AS spent
        FROM lately l LEFT JOIN earlier e USING (actor) WHERE l.order_date >= $first""",
    "shop_days": """
        SELECT order_date, sum(amount) OVER month AS amount, sum(orders) OVER month AS orders
        FROM (SELECT order_date, sum(total_amount) AS amount, count(*) AS orders FROM placed GROUP BY order_date)
        WINDOW month AS (
            ORDER BY order_date RANGE BETWEEN INTERVAL 30 DAY PRECEDING AND INTERVAL 1 DAY PRECEDING
        )""",
    "basket": """
        WITH earlier AS (
            SELECT order_id, actor, us FROM placed SEMI JOIN (FROM placed WHERE order_date >= $first) USING (actor)
        ), known AS (
            SELECT p.actor, d.category, min(p.us) AS us
            FROM earlier p JOIN ({fct_order_items}) i USING (order_id) JOIN ({dim_products}) d USING (product_key)
            GROUP BY ALL
        ), lines AS (
            SELECT p.order_id, p.actor, p.us, d.category, i.quantity, i.unit_price, i.gross_amount
            FROM (FROM placed WHERE order_date >= $first) p
            JOIN ({fct_order_items}) i USING (order_id) JOIN ({dim_products}) d USING (product_key)
        )
        SELECT l.order_id, max(l.quantity) AS largest_line_units, max(l.unit_price) AS dearest_unit_price,
            count(DISTINCT l.category) AS categories, sum(l.gross_amount) AS gross,
            sum(l.gross_amount) FILTER (k.us = l.us) AS gross_new
        FROM lines l JOIN known k ON k.actor = l.actor AND k.category IS NOT DISTINCT FROM l.category
        GROUP BY l.order_id""",
    # Joined by the hour, too: the orders of who orders often would each meet all of their events.
    "visited": f"""
        WITH events AS (
            SELECT customer_id, epoch_us(received_at) AS us {VISITING}
                AND received_at >= CAST($first AS TIMESTAMPTZ) - INTERVAL 1 HOUR AND received_at < $until
        ), orders AS (
            SELECT order_id, customer_id, us, unnest([us // {HOUR} - 1, us // {HOUR}]) AS hour
            FROM placed WHERE order_date >= $first
        )
        SELECT o.order_id, count(*) AS events, min(e.us) AS first_us
        FROM orders o JOIN events e ON e.customer_id = o.customer_id AND e.us // {HOUR} = o.hour
        WHERE e.us >= o.us - {HOUR} AND e.us < o.us
        GROUP BY o.order_id""",
}

# Sums of decimals are exact and become doubles last: the order of rows cannot change a digit.
_VALUES = {
    "order_id": "p.order_id",
    "order_date": "p.order_date",
    "ordered_at": "p.ordered_at",
    "customer_id": "p.customer_id",
    "is_guest": "p.customer_id IS NULL",
    "is_first_order": "h.orders_before = 0",
    "registered_hours": f"""CASE WHEN p.registered_at IS NOT NULL
        THEN greatest(p.us - epoch_us(p.registered_at), 0) / {HOUR} END""",
    "tenure_days": f"(p.us - h.first_at) / {DAY}",
    "hours_since_order": f"(p.us - h.last_at) / {HOUR}",
    "orders_1h": "h.orders_1h",
    "orders_24h": "h.orders_24h",
    "orders_7d": "h.orders_7d",
    "orders_before": "h.orders_before",
    **{
        f"{kind}_{measure}": f"s.{kind}_{measure}"
        for kind in ("card", "device", "network", "address")
        for measure in ("others", "orders_24h")
    },
    "is_new_card": "s.card_is_new",
    "is_new_device": "s.device_is_new",
    "linked_customers": "coalesce(l.customers, CAST(p.customer_id IS NOT NULL AS BIGINT))",
    "linked_chargebacks": "coalesce(l.chargebacks, t.charged_back, 0)",
    "is_by_card": "p.card IS NOT NULL",
    "declined_7d": "coalesce(t.declined_7d, 0)",
    "card_declined_7d": "CASE WHEN p.card IS NOT NULL THEN coalesce(t.card_declined_7d, 0) END",
    "is_sent_elsewhere": "p.is_sent_elsewhere",
    "total_amount": "p.total_amount",
    "amount_to_own_mean": "p.total_amount::DOUBLE * h.orders_before / nullif(h.spent, 0)::DOUBLE",
    "amount_to_shop_mean": "p.total_amount::DOUBLE * d.orders / nullif(d.amount, 0)::DOUBLE",
    "discount_share": "CASE WHEN p.discount_amount > p.gross_amount THEN 1 "
    "ELSE p.discount_amount::DOUBLE / nullif(p.gross_amount, 0)::DOUBLE END",
    "units_count": "p.item_quantity",
    "lines_count": "p.line_count",
    "largest_line_units": "coalesce(b.largest_line_units, 0)",
    "dearest_unit_price": "coalesce(b.dearest_unit_price, 0)",
    "categories_count": "coalesce(b.categories, 0)",
    "new_category_share": """CASE WHEN h.orders_before > 0
        THEN coalesce(b.gross_new, 0)::DOUBLE / nullif(b.gross, 0)::DOUBLE END""",
    "hour_of_day": "hour(p.ordered_at)",
    "events_1h": "CASE WHEN p.customer_id IS NOT NULL THEN coalesce(v.events, 0) END",
    "visit_minutes": f"(p.us - v.first_us) / {MINUTE}",
}


def order_risk(con: duckdb.DuckDBPyConnection, marts: Marts, first: date, until: date) -> Iterator[pa.Table]:
    """The features of all orders placed on the days `[first, until)`, some at a time, by day and order.

    The tables have the schema of `ORDER_RISK` for these marts. `con` must work in UTC; temporary tables are made in it.
    """
    _make(con, marts, first, until, (name for name in _STEPS if name != "visited" or "fct_events" in marts))
    con.register("linked_rows", linked(con, first, CUSTOMER))
    con.execute("CREATE OR REPLACE TEMP TABLE linked AS FROM linked_rows")
    con.unregister("linked_rows")
    schema = ORDER_RISK.of(marts).contract().arrow_schema()
    found = con.execute(_query(marts, schema), {"first": first})
    for batch in found.to_arrow_reader(ROWS_AT_A_TIME):
        yield pa.Table.from_batches([batch]).cast(schema)


def facts(con: duckdb.DuckDBPyConnection, marts: Marts, until: date) -> None:
    """Make the temporary tables that all features are made of: `placed`, `shown`, `declined` and `charged_back`.

    They hold the orders before the day `until`, and the chargebacks and the last declined payments of these orders,
    whenever they were. `con` must work in UTC.
    """
    _make(con, marts, until, until, ("placed", "shown", "declined", "charged_back"))


def risk_table(con: duckdb.DuckDBPyConnection, marts: Marts, first: date, until: date) -> pa.Table:
    """`order_risk` as one table."""
    empty = ORDER_RISK.of(marts).contract().arrow_schema().empty_table()
    return pa.concat_tables([empty, *order_risk(con, marts, first, until)])


def _make(con: duckdb.DuckDBPyConnection, marts: Marts, first: date, until: date, steps: Iterable[str]) -> None:
    """Make the temporary tables of some of the steps, in their order."""
    for name in steps:
        query = _STEPS[name]
        given: dict[str, Any] = {"first": first, "until": until, "chargeback": CHARGEBACK}
        values = {value: given[value] for value in given if f"${value}" in query}
        con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query.format(**marts, customer=CUSTOMER)}", values)


def _query(marts: Marts, schema: pa.Schema) -> str:
    visited = "LEFT JOIN visited v USING (order_id)" if "fct_events" in marts else ""
    columns = ", ".join(f"{_VALUES[name]} AS {name}" for name in schema.names)
    kinds = ", ".join(
        f"max({value}) FILTER (kind = '{kind}') AS {kind}_{measure}"
        for kind in ("card", "device", "network", "address")
        for measure, value in (("others", "others"), ("orders_24h", "orders_24h"), ("is_new", "is_new"))
    )
    return f"""
        SELECT {columns}
        FROM placed p JOIN customary h USING (order_id) JOIN shop_days d USING (order_date)
        LEFT JOIN (SELECT order_id, {kinds} FROM shared GROUP BY order_id) s USING (order_id)
        LEFT JOIN trusted t USING (order_id) LEFT JOIN basket b USING (order_id) LEFT JOIN linked l USING (order_id)
        {visited}
        WHERE p.order_date >= $first ORDER BY p.order_date, p.order_id"""
