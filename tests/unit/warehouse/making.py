"""A tiny shop for tests of the warehouse: its settings, and raw rows with sensible defaults, written to a real lake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from cartograph.contracts import with_provenance
from cartograph.lake import Lake
from cartograph.settings import Settings, load_settings
from ecom_assets.contracts import CONTRACTS

REQUIRED = ("customers", "products", "orders", "order_items")
SHOP = """
title: A tiny shop
currency: EUR
start: 2024-01-01
end: 2024-04-01
sources:
  - type: ecom_assets.components.FilesSource
    datasets: [{datasets}]
"""


def tiny_shop(root: Path, *datasets: str) -> Settings:
    """Settings whose chosen shop is `tiny`, from January to March 2024, delivering the required and these datasets."""
    shops = root / "shops"
    shops.mkdir(parents=True, exist_ok=True)
    (shops / "tiny.yaml").write_text(SHOP.format(datasets=", ".join([*REQUIRED, *datasets])), encoding="utf-8")
    return load_settings(home=root / "home", shop="tiny", shops_dir=shops)


def at(text: str) -> datetime:
    """An aware UTC timestamp."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def make_customer(customer_id: str = "c1", updated_at: str = "2024-01-01", **changes: Any) -> dict[str, Any]:
    moment = at(updated_at)
    return {"customer_id": customer_id, "updated_at": moment, "registered_at": at("2024-01-01"), **changes}


def make_product(product_id: str = "p1", updated_at: str = "2024-01-01", **changes: Any) -> dict[str, Any]:
    return {
        "product_id": product_id,
        "updated_at": at(updated_at),
        "is_active": True,
        "list_price": Decimal("10"),
        "unit_cost": Decimal("4"),
        **changes,
    }


def make_order(order_id: str, ordered_at: str, **changes: Any) -> dict[str, Any]:
    """An order of one line of `make_line`: 20.00 less 1.00 plus 5.00 for shipping."""
    return {
        "order_id": order_id,
        "ordered_at": at(ordered_at),
        "updated_at": at(ordered_at),
        "customer_id": "c1",
        "status": "completed",
        "subtotal_amount": Decimal("20.00"),
        "discount_amount": Decimal("1.00"),
        "shipping_amount": Decimal("5.00"),
        "total_amount": Decimal("24.00"),
        **changes,
    }


def make_line(order_id: str, ordered_at: str, **changes: Any) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "line_number": 1,
        "ordered_at": at(ordered_at),
        "product_id": "p1",
        "quantity": 2,
        "unit_price": Decimal("10"),
        "discount_amount": Decimal("1.00"),
        **changes,
    }


def make_refund(refund_id: str, refunded_at: str, **changes: Any) -> dict[str, Any]:
    return {
        "refund_id": refund_id,
        "refunded_at": at(refunded_at),
        "customer_id": "c1",
        "quantity": 1,
        "unit_price": Decimal("9.50"),
        "amount": Decimal("9.50"),
        **changes,
    }


def raw_rows(dataset: str, rows: Sequence[Mapping[str, Any]], ingested_at: str = "2024-05-01") -> pa.Table:
    """`rows` in the form of the lake's raw table; columns that are not given are null."""
    contract = with_provenance(CONTRACTS[dataset])
    blank = dict.fromkeys(contract.names)
    provenance = {"_ingested_at": at(ingested_at), "_source": "test", "_batch_id": "test"}
    return pa.Table.from_pylist([{**blank, **provenance, **row} for row in rows], schema=contract.arrow_schema())


def append(lake: Lake, dataset: str, *rows: Mapping[str, Any], ingested_at: str = "2024-05-01") -> None:
    """Add rows to a raw table, which is made where it is not there."""
    lake.ensure(f"raw.{dataset}", with_provenance(CONTRACTS[dataset]), "monthly")
    lake.append(f"raw.{dataset}", raw_rows(dataset, rows, ingested_at))
