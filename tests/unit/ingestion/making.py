"""Factories for tests of loading: a source of rows, orders, lines and customers in it, a load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from cartograph.lake import Lake
from cartograph.windows import Window
from ecom_assets.contracts import CONTRACTS
from ecom_assets.ingestion import Batch, LoadReport, load
from ecom_assets.sources import Delivery, Unreadable

SHOP = Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC))
JANUARY = Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))
FEBRUARY = Window(datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC))
BATCH = Batch(ingested_at=datetime(2024, 3, 2, tzinfo=UTC), batch_id="test")


class Rows:
    """A source of one dataset from a list of rows, one delivery for each window."""

    def __init__(self, dataset: str, rows: list[dict[str, Any]], unreadable: tuple[Unreadable, ...] = ()) -> None:
        self.dataset, self.rows, self.unreadable = dataset, rows, unreadable

    @property
    def datasets(self) -> frozenset[str]:
        return frozenset({self.dataset})

    def fingerprint(self, dataset: str) -> str:
        return f"{dataset} {self.rows}"

    def deliveries(self, dataset: str, windows: Sequence[Window]) -> Iterator[Delivery]:
        time = CONTRACTS[dataset].event_time
        assert time is not None
        unplaced = [row for row in self.rows if row[time] not in SHOP]
        for window in windows:
            is_first = SHOP.start in window
            given = [row for row in self.rows if row[time] in window] + (unplaced if is_first else [])
            rows = [{"_source": "test", **row} for row in given]
            names = CONTRACTS[dataset].names
            table = (
                pa.Table.from_pylist(rows)
                if rows
                else pa.table({n: pa.array([], pa.string()) for n in (*names, "_source")})
            )
            yield Delivery(window, table, self.unreadable, 0 if is_first else len(unplaced))


def order(order_id: str, day: int, **changes: Any) -> dict[str, Any]:
    at = SHOP.start + timedelta(days=day)
    amounts = {"subtotal_amount": 10, "discount_amount": 0, "shipping_amount": 2, "total_amount": 12}
    money = {name: Decimal(amount) for name, amount in amounts.items()}
    return (
        {"order_id": order_id, "ordered_at": at, "updated_at": at, "status": "placed", "customer_id": None}
        | money
        | changes
    )


def line(order_id: str, day: int, **changes: Any) -> dict[str, Any]:
    at = SHOP.start + timedelta(days=day)
    amounts = {"quantity": 1, "unit_price": Decimal(10), "discount_amount": Decimal(0)}
    return {"order_id": order_id, "line_number": 1, "ordered_at": at, "product_id": "p"} | amounts | changes


def customer(customer_id: str, day: int = 0, **changes: Any) -> dict[str, Any]:
    at = SHOP.start + timedelta(days=day)
    return {"customer_id": customer_id, "updated_at": at, "registered_at": SHOP.start} | changes


def run(lake: Lake, source: Rows, *windows: Window) -> LoadReport:
    return load(
        lake,
        source,
        CONTRACTS[source.dataset],
        windows or (JANUARY, FEBRUARY),
        shop_window=SHOP,
        grain="monthly",
        batch=BATCH,
        late_limit=timedelta(hours=48),
    )
