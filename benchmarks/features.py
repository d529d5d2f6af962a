"""What do all features of one as-of date cost? Prints JSON lines: each feature table's seconds, memory and rows.

`python benchmarks/features.py [--lines 10000000]`: marts of so many order lines over two years, with four events to a
line, are written as Parquet; then each table is computed in a process of its own, by the function that its asset calls:
features as of 2026-01-01, and of the month before the rows of demand and order risk. The commit to the lake is not in
it. Seconds of the processor are told too, since other work on the machine shows in those of the clock.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa

from benchmarks.support import large_marts
from cartograph.lake import Lake
from cartograph.settings import load_settings
from ml_assets.core.features import customers, daily_demand, interactions, order_risk, products
from ml_assets.core.features.customers import Marts

AS_OF = large_marts.END
FIRST = date(AS_OF.year - 1, 12, 1)

Compute = Callable[[duckdb.DuckDBPyConnection, Marts], Iterator[pa.Table]]
TABLES: dict[str, Compute] = {
    "customer_features": lambda con, marts: customers.customer_features(con, marts, [AS_OF]),
    "product_features": lambda con, marts: products.product_features(con, marts, [AS_OF]),
    "customer_product_interactions": lambda con, marts: interactions.interactions(con, marts, [AS_OF]),
    "daily_demand": lambda con, marts: iter([daily_demand.daily_demand(con, marts, FIRST, AS_OF)]),
    "order_risk": lambda con, marts: order_risk.order_risk(con, marts, FIRST, AS_OF),
}


def main() -> None:
    """Write the marts and measure each table; or, as the child of such a call, measure one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=10_000_000, help="Order lines.")
    parser.add_argument("--marts", type=Path, help="A folder to keep the marts in; those that are there are used.")
    parser.add_argument("--table", choices=TABLES, help="Measure this table only, of the marts that are there.")
    given = parser.parse_args()
    if given.table:
        print(json.dumps(measure(given.marts, given.table)))
        return
    with tempfile.TemporaryDirectory() as folder:
        marts: Path = given.marts or Path(folder)
        if not (marts / "written").exists():
            marts.mkdir(parents=True, exist_ok=True)
            with connect(marts) as con:
                for name, rows in large_marts.write(con, marts, given.lines):
                    print(f"{name}: {rows:,} rows", file=sys.stderr)
            (marts / "written").touch()
        found = [json.loads(child(marts, table)) for table in TABLES]
    for one in found:
        print(json.dumps(one))
    total = {name: round(sum(one[name] for one in found), 1) for name in ("seconds", "cpu_seconds")}
    print(json.dumps({"benchmark": "features", **total, "peak_mib": max(one["peak_mib"] for one in found)}))


def child(marts: Path, table: str) -> str:
    """What `measure` prints in a process of its own, whose memory is only this table's."""
    command = [sys.executable, __file__, "--marts", str(marts), "--table", table]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def connect(folder: Path) -> duckdb.DuckDBPyConnection:
    """A connection as the assets have it: with the limits of the settings, in UTC."""
    return Lake.from_settings(load_settings(home=folder / "home")).connect()


def measure(folder: Path, table: str) -> dict[str, float | str]:
    """Compute a feature table: its rows, the seconds of the clock and of the processor, the peak memory in MiB."""
    with connect(folder) as con:
        start, used = time.perf_counter(), time.process_time()
        rows = sum(len(part) for part in TABLES[table](con, large_marts.selects(folder)))
        seconds, cpu = time.perf_counter() - start, time.process_time() - used
    return {
        "benchmark": f"features.{table}",
        "rows": rows,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "rows_per_second": round(rows / seconds),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


if __name__ == "__main__":
    main()
