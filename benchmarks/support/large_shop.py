"""A large shop's four required raw datasets, made by SQL straight into the lake: sound rows, no planted trouble.

Orders have 1 to 4 lines and come evenly over the months; a product has three versions and a customer two, so that facts
must find the version of their time. The simulated shop would be truer to life, and slower to make than to build.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from cartograph.contracts import DUCKDB_TYPES, with_provenance
from cartograph.lake import Lake
from cartograph.settings import Settings, load_settings
from cartograph.windows import Window, windows
from ecom_assets.contracts import CONTRACTS

DATASETS = ("customers", "products", "orders", "order_items")
LINES_PER_ORDER = 2.5
LINES_PER_CUSTOMER = 25
PRODUCTS = 5_000
END = datetime(2026, 1, 1, tzinfo=UTC)
BATCH_ROWS = 200_000

_SHOP = """
title: A large shop
currency: EUR
start: {start}
end: 2026-01-01
sources:
  - type: ecom_assets.components.FilesSource
    datasets: [customers, products, orders, order_items]
"""
_LINES = """
    SELECT
        i,
        unnest(range(1, 2 + i % 4)) AS line_number,
        'O' || lpad(CAST(i AS VARCHAR), 10, '0') AS order_id,
        to_timestamp($start + CAST(floor($seconds * (i - $first) / ($last - $first)) AS BIGINT)) AS ordered_at
    FROM range($first, $last) AS orders(i)
"""
_PRICED = f"""
    SELECT
        *,
        'P' || lpad(CAST(hash(i * 7 + line_number) % {PRODUCTS} AS VARCHAR), 5, '0') AS product_id,
        CAST(1 + hash(i + line_number) % 3 AS BIGINT) AS quantity,
        CAST(5 + hash(i - line_number) % 9500 / 100 AS DECIMAL(18, 4)) AS unit_price,
        CAST(CASE WHEN i % 5 = 0 THEN 0.5 ELSE 0 END AS DECIMAL(18, 2)) AS discount_amount
    FROM ({_LINES})
"""
_ORDERS = f"""
    SELECT
        order_id, ordered_at AS updated_at, ordered_at,
        'C' || lpad(CAST(hash(any_value(i)) % $customers AS VARCHAR), 9, '0') AS customer_id,
        CASE WHEN any_value(i) % 50 = 0 THEN 'cancelled' ELSE 'completed' END AS status,
        sum(round(quantity * unit_price, 2)) AS subtotal_amount, sum(discount_amount) AS discount_amount,
        4.90 AS shipping_amount, subtotal_amount - sum(discount_amount) + 4.90 AS total_amount
    FROM ({_PRICED}) GROUP BY order_id, ordered_at ORDER BY ordered_at
"""
_PRODUCTS = f"""
    SELECT
        'P' || lpad(CAST(i AS VARCHAR), 5, '0') AS product_id,
        to_timestamp($start + $seconds * version // 3) AS updated_at, 'Product ' || i AS name,
        'Category ' || i % 12 AS category, 'Brand ' || i % 90 AS brand, 10 + i % 90 + version AS list_price,
        5 + i % 40 AS unit_cost, true AS is_active
    FROM range({PRODUCTS}) AS products(i), range(3) AS versions(version)
"""
_CUSTOMERS = """
    SELECT
        'C' || lpad(CAST(i AS VARCHAR), 9, '0') AS customer_id,
        to_timestamp($start + $seconds * version // 2) AS updated_at, to_timestamp($start) AS registered_at,
        CASE version WHEN 0 THEN 'bronze' ELSE 'gold' END AS loyalty_tier, 'DE' AS country
    FROM range($customers) AS customers(i), range(2) AS versions(version)
"""


def large_shop(folder: Path, lines: int, months: int) -> Settings:
    """Settings of a shop in `folder` whose lake holds about `lines` order lines over so many months up to 2026."""
    year, month = divmod(2026 * 12 - months, 12)
    start = datetime(year, month + 1, 1, tzinfo=UTC)
    (folder / "shops").mkdir(parents=True)
    (folder / "shops" / "large.yaml").write_text(_SHOP.format(start=start.date()), encoding="utf-8")
    settings = load_settings(home=folder / "home", shop="large", shops_dir=folder / "shops")
    lake = Lake.from_settings(settings)
    customers = max(1, lines // LINES_PER_CUSTOMER)
    orders = int(lines / LINES_PER_ORDER)
    whole = Window(start, END)
    _write(lake, "customers", whole, _CUSTOMERS, customers=customers)
    _write(lake, "products", whole, _PRODUCTS)
    for number, window in enumerate(windows(start, END, "monthly")):
        share = {"first": orders * number // months, "last": orders * (number + 1) // months}
        _write(lake, "orders", window, _ORDERS, customers=customers, **share)
        _write(lake, "order_items", window, _PRICED, **share)
    return settings


def _write(lake: Lake, dataset: str, window: Window, select: str, **numbers: int) -> None:
    contract = with_provenance(CONTRACTS[dataset])
    lake.ensure(f"raw.{dataset}", contract, "monthly")
    span = {"start": int(window.start.timestamp()), "seconds": int((window.end - window.start).total_seconds())}
    given = {name: value for name, value in {**span, **numbers}.items() if f"${name}" in select}
    provenance = {"_source": "'large'", "_batch_id": "'1'", "_ingested_at": "TIMESTAMPTZ '2026-01-01 00:00:00+00'"}
    with lake.connect() as connection, lake.overwriting(f"raw.{dataset}", window) as writer:
        made = {column[0] for column in connection.execute(f"DESCRIBE {select}", given).fetchall()}
        columns = ", ".join(
            f"CAST({column.name if column.name in made else provenance.get(column.name, 'NULL')} "
            f"AS {DUCKDB_TYPES[column.type]}) AS {column.name}"
            for column in contract.columns
        )
        rows = connection.execute(f"SELECT {columns} FROM ({select})", given)
        for batch in rows.to_arrow_reader(BATCH_ROWS):
            writer.write(pa.Table.from_batches([batch]).cast(contract.arrow_schema()))
