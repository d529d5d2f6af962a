"""How fast does the simulated shop deliver its rows? Prints JSON lines: order lines and events, then each dataset.

`python benchmarks/simulator.py [customers]`: the default shop's 24 months in monthly windows. Seconds are CPU seconds
of the process, all threads together, so that a busy machine does not count. `start_up` is what must be drawn once
before the first row: people, the times of orders, pools of names.
"""

from __future__ import annotations

import json
import resource
import sys
from datetime import date
from time import process_time

from cartograph.windows import Window, at_midnight, windows
from ecom_assets.simulator import SimulatedShop, SimulatorConfig

MAIN = ("order_items", "events")


def deliver(shop: SimulatedShop, dataset: str) -> tuple[int, float]:
    """Rows of all windows of a dataset, and the seconds that they took."""
    asked = list(windows(at_midnight(shop.config.start), at_midnight(shop.config.end), "monthly"))
    began = process_time()
    rows = sum(delivery.rows.num_rows for delivery in shop.deliveries(dataset, asked))
    return rows, process_time() - began


def start_up(shop: SimulatedShop) -> float:
    """Seconds to the shop's first row."""
    began = process_time()
    next(shop.deliveries("customers", [Window(at_midnight(date(2024, 1, 1)), at_midnight(date(2024, 1, 2)))]))
    return process_time() - began


def report(benchmark: str, measured: list[tuple[int, float]]) -> None:
    """Print one line for the sum of what was measured."""
    rows, seconds = (sum(part) for part in zip(*measured, strict=True))
    line = {
        "benchmark": benchmark,
        "rows": rows,
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows / seconds),
    }
    print(json.dumps(line))


def main(customers: int) -> None:
    """Measure a shop of that many customers."""
    shop = SimulatedShop(SimulatorConfig(customers=customers, start=date(2024, 1, 1), end=date(2026, 1, 1)))
    started = start_up(shop)
    measured = {dataset: deliver(shop, dataset) for dataset in sorted(shop.datasets)}
    report("simulator", [measured[dataset] for dataset in MAIN])
    for dataset, one in measured.items():
        report(f"simulator.{dataset}", [one])
    report("simulator.all", list(measured.values()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"benchmark": "simulator.start_up", "seconds": round(started, 3), "peak_memory_mb": peak}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
