"""Order-risk features, computed by DuckDB from the published marts for the orders of any window.

A value of an order placed at T uses only facts before T, and of the order itself what the checkout has at hand: the
basket, and card, device and internet address of the first payment attempt, whose outcome is not used. Orders of the
same microsecond do not know of each other, but for what they link. An order counts whatever becomes of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa

from ml_assets.core.features.customers import Marts
from ml_assets.core.features.order_catalogue import ORDER_RISK

MARTS = (
    "fct_orders",
    "fct_order_items",
    "fct_payments",
    "fct_refunds",
    "dim_customers",
    "dim_products",
    "dim_geographies",
)
CHARGEBACK = "chargeback"
"""The reason of a refund that the cardholder's bank has forced."""
ROWS_AT_A_TIME = 100_000

_HOUR = 3_600_000_000
_DAY = 24 * _HOUR

# Microseconds are integers, and windows over them end one before the order's own: nothing of the same moment counts.
_BEFORE = "RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"


def _last(microseconds: int) -> str:
    return f"RANGE BETWEEN {microseconds} PRECEDING AND 1 PRECEDING"


# `actor` is the customer, or for a guest the order: guests cannot be told from each other.
_STEPS = {
    "placed": """
        WITH attempts AS (
            SELECT order_id, card_fingerprint AS card, device_id AS device, ip_address AS network FROM ({fct_payments})
            QUALIFY row_number() OVER (PARTITION BY order_id ORDER BY paid_at, payment_id) = 1
        )
        SELECT o.order_id, o.order_date, o.ordered_at, epoch_us(o.ordered_at) AS us, o.customer_id,
            coalesce('customer:' || o.customer_id, 'order:' || o.order_id) AS actor, a.card, a.device, a.network,
            c.registered_at,
            CASE WHEN c.street <> '' THEN concat_ws('|', c.street, c.postal_code, c.city, c.country) END AS address,
            CAST(g.city IS DISTINCT FROM c.city OR g.country IS DISTINCT FROM c.country AS BIGINT) AS is_elsewhere,
            g.country IS NOT NULL AND c.country IS NOT NULL AS has_places,
            o.total_amount, o.gross_amount, o.discount_amount, o.item_quantity, o.line_count
        FROM ({fct_orders}) o
        LEFT JOIN attempts a ON a.order_id = o.order_id
        LEFT JOIN ({dim_customers}) c ON c.customer_key = o.customer_key
        LEFT JOIN ({dim_geographies}) g ON g.geography_key = o.geography_key
        WHERE o.order_date < $until""",
    "shown": """
        SELECT * FROM (SELECT order_id, us, actor, customer_id, card, device, network, address FROM placed)
        UNPIVOT (token FOR kind IN (card, device, network, address))""",
    "shared": f"""
        SELECT order_id, kind, others - CAST(earlier AS BIGINT) AS others, orders_24h, NOT earlier AS is_new
        FROM (
            SELECT order_id, kind, first_at < us AS earlier,
                coalesce(sum(CAST(is_first AND customer_id IS NOT NULL AS BIGINT)) OVER (token {_BEFORE}), 0) AS others,
                count(*) OVER (token {_last(_DAY)}) AS orders_24h
            FROM (
                SELECT *, min(us) OVER (PARTITION BY kind, token, actor) AS first_at,
                    row_number() OVER (PARTITION BY kind, token, actor ORDER BY us, order_id) = 1 AS is_first
                FROM shown
            )
            WINDOW token AS (PARTITION BY kind, token ORDER BY us)
        )""",
    "declined": """
        SELECT p.actor, q.card_fingerprint AS card, epoch_us(q.paid_at) AS us
        FROM ({fct_payments}) q JOIN placed p USING (order_id)
        WHERE q.payment_status = 'declined'""",
    "charged_back": """
        SELECT p.order_id, p.actor, min(epoch_us(r.refunded_at)) AS us
        FROM ({fct_refunds}) r JOIN placed p USING (order_id)
        WHERE r.reason = $chargeback GROUP BY ALL""",
    "trusted": f"""
        SELECT order_id, max(declined_7d) AS declined_7d, max(card_declined_7d) AS card_declined_7d,
            max(charged_back) AS charged_back
        FROM (
            SELECT order_id, sum(is_declined) OVER (PARTITION BY actor ORDER BY us {_last(7 * _DAY)}) AS declined_7d,
                sum(is_declined) OVER (PARTITION BY card ORDER BY us {_last(7 * _DAY)}) AS card_declined_7d,
                sum(is_charged) OVER (PARTITION BY actor ORDER BY us {_BEFORE}) AS charged_back
            FROM (
                SELECT order_id, actor, card, us, 0 AS is_declined, 0 AS is_charged FROM placed
                UNION ALL SELECT NULL, actor, card, us, 1, 0 FROM declined
                UNION ALL SELECT NULL, actor, NULL, us, 0, 1 FROM charged_back
            )
        )
        WHERE order_id IS NOT NULL GROUP BY order_id""",
    "customary": f"""
        SELECT order_id, min(us) OVER (customer {_BEFORE}) AS first_at, max(us) OVER (customer {_BEFORE}) AS last_at,
            count(*) OVER (customer {_BEFORE}) AS orders_before, count(*) OVER (customer {_last(_HOUR)}) AS orders_1h,
            count(*) OVER (customer {_last(_DAY)}) AS orders_24h,
            count(*) OVER (customer {_last(7 * _DAY)}) AS orders_7d,
            sum(total_amount) OVER (customer {_BEFORE}) AS spent
        FROM placed WINDOW customer AS (PARTITION BY actor ORDER BY us)""",
    "shop_days": """
        SELECT order_date, sum(amount) OVER month AS amount, sum(orders) OVER month AS orders
        FROM (SELECT order_date, sum(total_amount) AS amount, count(*) AS orders FROM placed GROUP BY order_date)
        WINDOW month AS (
            ORDER BY order_date RANGE BETWEEN INTERVAL 30 DAY PRECEDING AND INTERVAL 1 DAY PRECEDING
        )""",
    "basket": """
        WITH lines AS (
            SELECT p.order_id, p.actor, p.us, d.category, i.quantity, i.unit_price, i.gross_amount
            FROM placed p JOIN ({fct_order_items}) i USING (order_id) JOIN ({dim_products}) d USING (product_key)
        )
        SELECT order_id, max(quantity) AS largest_line_units, max(unit_price) AS dearest_unit_price,
            count(DISTINCT category) AS categories, sum(gross_amount) AS gross,
            sum(gross_amount) FILTER (known_from = us) AS gross_new
        FROM (SELECT *, min(us) OVER (PARTITION BY actor, category) AS known_from FROM lines)
        GROUP BY order_id""",
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
        THEN greatest(p.us - epoch_us(p.registered_at), 0) / {_HOUR} END""",
    "tenure_days": f"(p.us - h.first_at) / {_DAY}",
    "hours_since_order": f"(p.us - h.last_at) / {_HOUR}",
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
    "is_sent_elsewhere": "CASE WHEN p.has_places THEN p.is_elsewhere END",
    "total_amount": "p.total_amount",
    "amount_to_own_mean": "p.total_amount::DOUBLE * h.orders_before / nullif(h.spent, 0)::DOUBLE",
    "amount_to_shop_mean": "p.total_amount::DOUBLE * d.orders / nullif(d.amount, 0)::DOUBLE",
    "discount_share": "p.discount_amount::DOUBLE / nullif(p.gross_amount, 0)::DOUBLE",
    "units_count": "p.item_quantity",
    "lines_count": "p.line_count",
    "largest_line_units": "coalesce(b.largest_line_units, 0)",
    "dearest_unit_price": "coalesce(b.dearest_unit_price, 0)",
    "categories_count": "coalesce(b.categories, 0)",
    "new_category_share": """CASE WHEN h.orders_before > 0
        THEN coalesce(b.gross_new, 0)::DOUBLE / nullif(b.gross, 0)::DOUBLE END""",
    "hour_of_day": "hour(p.ordered_at)",
}

# What comes first at a moment: an order knows of no chargeback of its own microsecond.
_ORDER, _CHARGEBACK = 0, 1


def order_risk(con: duckdb.DuckDBPyConnection, marts: Marts, first: date, until: date) -> Iterator[pa.Table]:
    """The features of all orders placed on the days `[first, until)`, some at a time, by day and order.

    The tables have the schema of `ORDER_RISK`. `con` must work in UTC; temporary tables are made in it.
    """
    for name, query in _STEPS.items():
        values: dict[str, Any] = {"until": until} if "$until" in query else {}
        values |= {"chargeback": CHARGEBACK} if "$chargeback" in query else {}
        con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query.format(**marts)}", values)
    con.register("linked_rows", linked(con))
    con.execute("CREATE OR REPLACE TEMP TABLE linked AS FROM linked_rows")
    con.unregister("linked_rows")
    schema = ORDER_RISK.contract().arrow_schema()
    found = con.execute(_query(schema), {"first": first})
    for batch in found.to_arrow_reader(ROWS_AT_A_TIME):
        yield pa.Table.from_batches([batch]).cast(schema)


def risk_table(con: duckdb.DuckDBPyConnection, marts: Marts, first: date, until: date) -> pa.Table:
    """`order_risk` as one table."""
    empty = ORDER_RISK.contract().arrow_schema().empty_table()
    return pa.concat_tables([empty, *order_risk(con, marts, first, until)])


def linked(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """For orders with a card, device or address that others showed too: the size and chargebacks of what they link.

    A union-find over the orders in the order of time. What only one actor ever showed links nothing, and is left out:
    so the loop runs over the few that are shared, and the rest of the orders is told by SQL.
    """
    facts = con.execute(
        """
        WITH links AS (
            SELECT order_id, us, actor, customer_id, kind || ':' || token AS token
            FROM shown WHERE kind <> 'network'
        ), shared_links AS (
            SELECT * FROM links
            WHERE token IN (SELECT token FROM links GROUP BY token HAVING count(DISTINCT actor) > 1)
        ), concerned AS (
            SELECT DISTINCT actor FROM shared_links
        )
        SELECT p.us, $order AS kind, p.order_id, p.actor, p.customer_id IS NOT NULL AS is_customer,
            coalesce(list(s.token ORDER BY s.token) FILTER (s.token IS NOT NULL), []) AS tokens
        FROM placed p JOIN concerned USING (actor) LEFT JOIN shared_links s ON s.order_id = p.order_id GROUP BY ALL
        UNION ALL
        SELECT c.us, $chargeback, c.order_id, c.actor, false, []
        FROM charged_back c JOIN concerned USING (actor)
        ORDER BY 1, 2, 3""",
        {"order": _ORDER, "chargeback": _CHARGEBACK},
    )
    groups = _Groups()
    orders: list[str] = []
    customers: list[int] = []
    chargebacks: list[int] = []
    while rows := _next_rows(facts):
        for _, kind, order_id, actor, is_customer, tokens in rows:
            if kind == _CHARGEBACK:
                groups.charge(actor)
                continue
            root = groups.join(actor, is_customer, tokens)
            orders.append(order_id)
            customers.append(groups.customers[root])
            chargebacks.append(groups.chargebacks[root])
    return pa.table(
        {
            "order_id": pa.array(orders, pa.string()),
            "customers": pa.array(customers, pa.int64()),
            "chargebacks": pa.array(chargebacks, pa.int64()),
        }
    )


class _Groups:
    """Actors and what they showed, joined step by step; each group counts its customers and their chargebacks."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self.customers: dict[str, int] = defaultdict(int)
        self.chargebacks: dict[str, int] = defaultdict(int)

    def join(self, actor: str, is_customer: bool, tokens: list[str]) -> str:
        """Put an actor and what they show into one group; its root."""
        if is_customer and actor not in self._parent:
            self.customers[actor] = 1
        root = self._root(actor)
        for token in tokens:
            other = self._root(token)
            if other != root:
                self._parent[other] = root
                self.customers[root] += self.customers.pop(other, 0)
                self.chargebacks[root] += self.chargebacks.pop(other, 0)
        return root

    def charge(self, actor: str) -> None:
        """Count a chargeback to the actor's group."""
        self.chargebacks[self._root(actor)] += 1

    def _root(self, node: str) -> str:
        self._parent.setdefault(node, node)
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node


def _next_rows(facts: duckdb.DuckDBPyConnection) -> list[tuple[int, int, str, str, bool, list[str]]]:
    """The next rows of a query, none at its end."""
    return facts.fetchmany(ROWS_AT_A_TIME)


def _query(schema: pa.Schema) -> str:
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
        WHERE p.order_date >= $first ORDER BY p.order_date, p.order_id"""
