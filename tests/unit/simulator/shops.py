"""Small simulated shops for tests, and the rows of a dataset as one table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from cartograph.windows import Window, at_midnight
from ecom_assets.simulator import SimulatedShop, SimulatorConfig

NO_TROUBLE: dict[str, Any] = {
    "duplicate_rate": 0,
    "invalid_rate": 0,
    "late_rate": 0,
    "schema_drift_after": 1,
}


def make_config(**overrides: Any) -> SimulatorConfig:
    values: dict[str, Any] = {
        "customers": 300,
        "seed": 11,
        "start": date(2024, 1, 1),
        "end": date(2024, 7, 1),
        **overrides,
    }
    return SimulatorConfig(**values)


def make_shop(**overrides: Any) -> SimulatedShop:
    return SimulatedShop(make_config(**overrides))


def whole(shop: SimulatedShop) -> Window:
    return Window(at_midnight(shop.config.start), at_midnight(shop.config.end))


def window(first: date, last: date) -> Window:
    return Window(at_midnight(first), at_midnight(last))


def read(shop: SimulatedShop, dataset: str, windows: Sequence[Window] | None = None) -> pa.Table:
    """The rows of the windows (by default of the whole shop) in one table."""
    deliveries = shop.deliveries(dataset, windows or [whole(shop)])
    return pa.concat_tables([delivery.rows for delivery in deliveries], promote_options="default")


def moment(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)
