"""Planted trouble: rows delivered twice, rows that break their contract, and a column that appears one day.

What goes wrong and how often; every row's fate hangs on the row's own key, so it is the same in whatever window the
row is delivered. Late events are made late in `web`. The event time is left whole: a broken row stays in its window.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecom_assets.simulator.columns import DAY, Rows, blank
from ecom_assets.simulator.config import SimulatorConfig
from ecom_assets.simulator.streams import Ints, Streams

DRIFTING = ("payments", "wallet")
"""The dataset and the column that it gains."""


def drift_day(config: SimulatorConfig) -> date | None:
    """The first day of the month in which the column appears; None where it never does."""
    if config.schema_drift_after == 1:
        return None
    return (config.start + timedelta(days=int(config.schema_drift_after * config.days))).replace(day=1)


@dataclass(frozen=True)
class Fault:
    """A way to break a row: `column` becomes `value`, or for times is `minus` microseconds earlier."""

    column: str
    value: str | None = None
    minus: int | None = None


FAULTS: dict[str, tuple[Fault, ...]] = {
    "customers": (Fault("email", "unknown"), Fault("loyalty_tier", "diamond"), Fault("birth_date", "31.02.1980")),
    "products": (Fault("list_price", "-1.0000"), Fault("is_active", None), Fault("unit_cost", "n/a")),
    "campaigns": (),  # so few that one lost would take a channel's spend with it
    "orders": (Fault("total_amount", "0.01"), Fault("status", "paid?"), Fault("subtotal_amount", "12,50 EUR")),
    "order_items": (Fault("quantity", "0"), Fault("quantity", "two"), Fault("product_id", None)),
    "payments": (Fault("amount", "-9.99"), Fault("status", "unknown"), Fault("amount", "free")),
    "refunds": (Fault("quantity", "-1"), Fault("amount", "tbd")),
    "events": (Fault("event_type", "clik"), Fault("visitor_id", None), Fault("received_at", minus=3_600_000_000)),
    "reviews": (Fault("rating", "6"), Fault("rating", "five"), Fault("product_id", None)),
    "inventory": (Fault("quantity_on_hand", "-3"), Fault("quantity_on_hand", "?")),
    "marketing_spend": (Fault("spend_amount", "-5.00"), Fault("channel", None)),
    "experiment_assignments": (Fault("variant", None),),
}


def spoil(dataset: str, rows: Rows, config: SimulatorConfig, streams: Streams) -> tuple[pa.Table, Ints]:
    """The rows as they are delivered, with their event times; what is delivered twice stands next to itself.

    A column in which a value that is no number is planted is delivered as strings throughout, in every window.
    """
    fate = streams.uniform(f"trouble.{dataset}", rows.key)
    columns = dict(rows.columns)
    begins = drift_day(config)
    if dataset == DRIFTING[0] and begins is not None:
        before = rows.time < (begins - date(1970, 1, 1)).days * DAY
        columns[DRIFTING[1]] = blank(columns[DRIFTING[1]], before)
    faults = FAULTS[dataset]
    if config.invalid_rate > 0 and faults:
        for name in {fault.column for fault in faults if isinstance(fault.value, str)}:
            columns[name] = pc.cast(columns[name], pa.string())
        broken = fate < config.invalid_rate
        if rows.spared is not None:
            broken &= ~rows.spared
        which = np.minimum((fate / config.invalid_rate * len(faults)).astype(np.int64), len(faults) - 1)
        for number, fault in enumerate(faults):
            mine = np.flatnonzero(broken & (which == number))
            if len(mine):
                columns[fault.column] = _broken(columns[fault.column], fault, mine)
    table = pa.table(columns)
    twice = fate > 1 - config.duplicate_rate
    if not twice.any():
        return table, rows.time
    place = np.repeat(np.arange(len(fate)), 1 + twice)
    return table.take(pa.array(place)), rows.time[place]


def _broken(column: pa.Array, fault: Fault, rows: Ints) -> pa.Array:
    mask = np.zeros(len(column), dtype=bool)
    mask[rows] = True
    if fault.minus is not None:
        earlier = pc.subtract(column.take(pa.array(rows)), pa.scalar(fault.minus, type=pa.duration("us")))
        return pc.replace_with_mask(column, pa.array(mask), earlier)
    return pc.replace_with_mask(column, pa.array(mask), pa.scalar(fault.value, type=column.type))
