"""The published marts of a large shop that features are made of, written by SQL as Parquet files, in order of time.

Rows have the columns that features read, and a shop's proportions: a customer of many has few orders, cards and devices
are now and then shared, a tenth of the orders are guests'. Nothing in them is worth learning.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb

START, END = date(2024, 1, 1), date(2026, 1, 1)
SECONDS = (END - START).days * 86_400
LINES_PER_ORDER = 2.5
LINES_PER_CUSTOMER = 25
EVENTS_PER_SESSION = 5
SESSIONS_PER_ORDER = 2
PRODUCTS = 5_000

_AT = f"TIMESTAMPTZ '{START}' + to_microseconds(CAST(({{}}) * 1e6 AS BIGINT))"
# A random number in [0, 1) of an order, a line or a session, another one for each salt.
_DRAW = "(hash({}, {}) % 1000003) / 1000003.0"


def _draw(of: str, salt: int) -> str:
    return _DRAW.format(of, salt)


_ORDERS = f"""
    SELECT i, 'O' || lpad(CAST(i AS VARCHAR), 10, '0') AS order_id,
        {_AT.format(f"{SECONDS} * i / $orders")} AS ordered_at,
        CAST(ordered_at AS DATE) AS order_date, CAST(floor($customers * {_draw("i", 1)} ** 1.5) AS BIGINT) AS person,
        CASE WHEN hash(i, 2) % 10 > 0 THEN 'C' || lpad(CAST(person AS VARCHAR), 9, '0') END AS customer_id,
        1 + i % 4 AS line_count, hash(i, 3) % 50 = 0 AS is_cancelled
    FROM range($orders) t(i)"""
_LINES = f"""
    SELECT o.*, unnest(range(1, 1 + line_count)) AS line_number, CAST(hash(i, line_number) AS UBIGINT) AS h,
        'P' || lpad(CAST(CAST(floor({PRODUCTS} * ((h % 1000003) / 1000003.0) ** 2) AS BIGINT) AS VARCHAR), 5, '0')
            AS product_id,
        CAST(1 + h % 3 AS BIGINT) AS quantity, CAST(5 + h % 9500 / 100 AS DECIMAL(18, 4)) AS unit_price,
        CAST(quantity * unit_price AS DECIMAL(18, 2)) AS gross_amount,
        CAST(CASE WHEN i % 5 = 0 THEN 0.5 ELSE 0 END AS DECIMAL(18, 2)) AS discount_amount
    FROM orders o"""

_MARTS = {
    "fct_order_items": """
        SELECT order_id, line_number, ordered_at, order_date, customer_id, product_id,
            md5(product_id || ((order_date - DATE '2024-01-01') * 3 // 732)) AS product_key, quantity, unit_price,
            gross_amount, discount_amount, gross_amount - discount_amount AS net_amount,
            CAST(0.4 * gross_amount AS DECIMAL(18, 2)) AS margin_amount, is_cancelled
        FROM lines""",
    "fct_orders": """
        SELECT order_id, any_value(ordered_at) AS ordered_at, any_value(order_date) AS order_date,
            any_value(customer_id) AS customer_id,
            md5(coalesce(any_value(customer_id), '(guest)') || ((any_value(order_date) - DATE '2024-01-01') * 2 // 732))
                AS customer_key,
            md5('City ' || (any_value(person) + CAST(any_value(i) % 20 = 0 AS BIGINT)) % 90) AS geography_key,
            CASE WHEN any_value(is_cancelled) THEN 'cancelled' ELSE 'completed' END AS status,
            ['organic', 'paid_search', 'email', 'social'][1 + any_value(i) % 4] AS channel,
            ['mobile', 'desktop'][1 + any_value(i) % 2] AS device,
            CASE WHEN any_value(i) % 9 = 0 THEN 'SPRING' END AS coupon_code, any_value(line_count) AS line_count,
            CAST(sum(quantity) AS BIGINT) AS item_quantity, CAST(sum(gross_amount) AS DECIMAL(18, 2)) AS gross_amount,
            CAST(sum(discount_amount) AS DECIMAL(18, 2)) AS discount_amount,
            CAST(sum(gross_amount - discount_amount) + 4.90 AS DECIMAL(18, 2)) AS total_amount,
            any_value(is_cancelled) AS is_cancelled
        FROM lines GROUP BY order_id ORDER BY ordered_at""",
    "fct_payments": """
        SELECT order_id || '-' || attempt AS payment_id, order_id,
            ordered_at + to_seconds(20 + attempt * 60) AS paid_at,
            CASE WHEN attempt < attempts THEN 'declined' ELSE 'captured' END AS payment_status,
            CASE WHEN i % 5 > 0 THEN md5('card' || shown) END AS card_fingerprint, md5('device' || shown) AS device_id,
            concat_ws('.', 10, shown // 65536 % 256, shown // 256 % 256, shown % 256) AS ip_address
        FROM (
            SELECT *, CASE WHEN hash(i, 4) % 200 = 0 THEN person // 20 ELSE person END AS shown,
                CASE WHEN hash(i, 5) % 30 = 0 THEN 2 ELSE 1 END AS attempts, unnest(range(1, 1 + attempts)) AS attempt
            FROM orders
        )""",
    "fct_refunds": """
        SELECT order_id || '-' || line_number AS refund_id, order_id, customer_id, product_id, quantity,
            gross_amount AS amount, CASE WHEN h % 400 < 10 THEN 'chargeback' ELSE 'return' END AS reason,
            ordered_at + to_days(CAST(5 + h % 40 AS INTEGER)) AS refunded_at
        FROM lines WHERE h % 400 < 20""",
    "fct_reviews": """
        SELECT order_id || '-' || line_number AS review_id, product_id, customer_id,
            CAST(1 + h % 5 AS BIGINT) AS rating,
            ordered_at + to_days(CAST(5 + h % 30 AS INTEGER)) AS reviewed_at
        FROM lines WHERE h % 25 = 0 AND customer_id IS NOT NULL""",
    "fct_events": f"""
        SELECT CASE WHEN hash(s, 2) % 3 > 0 THEN 'C' || lpad(CAST(person AS VARCHAR), 9, '0') END AS customer_id,
            CASE WHEN step IN (2, 3, 4) THEN
                'P' || lpad(CAST(hash(s, step) % {PRODUCTS} AS VARCHAR), 5, '0') END AS product_id,
            CASE WHEN step = 4 AND hash(s, 3) % 3 > 0 THEN 'page_view'
                ELSE ['page_view', 'product_view', 'product_view', 'add_to_cart', 'email_sent'][step] END AS event_type,
            {_AT.format(f"{SECONDS} * s / $sessions + 60 * step")} AS occurred_at,
            occurred_at + to_seconds(CAST(hash(s, 4) % 600 AS INTEGER)) AS received_at,
            md5('session' || s) AS session_key,
            ['mobile', 'desktop'][CAST(1 + s % 2 AS INTEGER)] AS device,
            ['organic', 'paid_search', 'email', 'social'][CAST(1 + s % 4 AS INTEGER)] AS channel
        FROM (
            SELECT s, CAST(floor($customers * {_draw("s", 1)} ** 1.5) AS BIGINT) AS person,
                unnest(range(1, {EVENTS_PER_SESSION + 1})) AS step
            FROM range($sessions) t(s)
        )""",
    "fct_inventory_daily": f"""
        SELECT 'P' || lpad(CAST(p AS VARCHAR), 5, '0') AS product_id,
            DATE '{START}' + CAST(d AS INTEGER) AS snapshot_date,
            md5('P' || lpad(CAST(p AS VARCHAR), 5, '0') || (d * 3 // 732)) AS product_key,
            CAST(hash(p, d) % 50 AS BIGINT) AS quantity_on_hand, CAST(hash(d, p) % 9 AS BIGINT) AS quantity_received
        FROM range({(END - START).days}) days(d), range({PRODUCTS}) products(p)""",
    "dim_products": f"""
        SELECT 'P' || lpad(CAST(p AS VARCHAR), 5, '0') AS product_id, md5(product_id || version) AS product_key,
            version + 1 AS version_number, 'Category ' || p % 12 AS category,
            CAST(10 + p % 90 + version AS DECIMAL(18, 4)) AS list_price,
            CAST(5 + p % 40 AS DECIMAL(18, 4)) AS unit_cost,
            CASE version WHEN 0 THEN TIMESTAMPTZ '1900-01-01' ELSE {_AT.format(f"{SECONDS} * version / 3")} END
                AS valid_from,
            CASE version WHEN 2 THEN TIMESTAMPTZ '9999-12-31' ELSE {_AT.format(f"{SECONDS} * (version + 1) / 3")} END
                AS valid_to, version = 2 AS is_current
        FROM range({PRODUCTS}) products(p), range(3) versions(version)""",
    "dim_customers": f"""
        SELECT 'C' || lpad(CAST(c AS VARCHAR), 9, '0') AS customer_id, md5(customer_id || version) AS customer_key,
            version + 1 AS version_number,
            CASE version WHEN 0 THEN TIMESTAMPTZ '1900-01-01' ELSE {_AT.format(f"{SECONDS} / 2")} END AS valid_from,
            CASE version WHEN 1 THEN TIMESTAMPTZ '9999-12-31' ELSE {_AT.format(f"{SECONDS} / 2")} END AS valid_to,
            version = 1 AS is_current, TIMESTAMPTZ '{START}' AS registered_at,
            CASE version WHEN 0 THEN 'bronze' ELSE 'gold' END AS loyalty_tier, c % 2 = 0 AS is_email_opt_in,
            'Road ' || c - c % 100 * CAST(c % 300 = 0 AS BIGINT) AS street, '10115' AS postal_code,
            'City ' || c % 90 AS city, 'DE' AS country
        FROM range($customers) customers(c), range(2) versions(version)""",
    "dim_geographies": """
        SELECT md5('City ' || n) AS geography_key, 'City ' || n AS city, 'DE' AS country FROM range(90) cities(n)""",
}


def write(con: duckdb.DuckDBPyConnection, folder: Path, lines: int) -> Iterator[tuple[str, int]]:
    """Write each mart of a shop of about `lines` order lines as `<mart>.parquet`; its name and rows, as it is there."""
    orders = round(lines / LINES_PER_ORDER)
    values = {
        "orders": orders,
        "customers": max(lines // LINES_PER_CUSTOMER, 1),
        "sessions": orders * SESSIONS_PER_ORDER,
    }
    for name, select in (("orders", _ORDERS), ("lines", _LINES)):
        con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {select}", _given(select, values))
    for name, select in _MARTS.items():
        target = folder / f"{name}.parquet"
        copied = con.execute(f"COPY ({select}) TO '{target}' (FORMAT parquet)", _given(select, values)).fetchone()
        yield name, int(copied[0]) if copied else 0
    con.execute("DROP TABLE lines")
    con.execute("DROP TABLE orders")


def selects(folder: Path) -> dict[str, str]:
    """For each mart that `write` left in `folder`, a DuckDB SELECT."""
    return {name: f"SELECT * FROM read_parquet('{folder / name}.parquet')" for name in _MARTS}


def _given(select: str, values: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in values.items() if f"${name}" in select}
