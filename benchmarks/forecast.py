"""How good is the demand forecast on real data? Prints JSON: metrics of the forecaster and of its baselines.

`python benchmarks/forecast.py [file] [horizon]`: daily sales of 118 products of an Italian grocery store, 2014 to 2018,
with promotions (Mancuso, Piccialli and Sudoso 2021): a column QTY_… and a column PROMO_… for each product.
The file is `CARTOGRAPH_DEMAND_FILE` or ../shared/data/demand/italian_grocery_daily.csv; without it there is nothing to
measure, and a line says so. The columns become rows of series, date, quantity and promotion, and go the way of any
file that a user gives to `cartograph bench forecast`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from ml_assets.core.bench.forecast import bench

FILE = Path(os.environ.get("CARTOGRAPH_DEMAND_FILE", "../shared/data/demand/italian_grocery_daily.csv"))


def unpivot(file: Path, target: Path) -> None:
    """Write the rows of `file` in the documented format."""
    with duckdb.connect() as con:
        con.execute("CREATE TABLE wide AS SELECT * FROM read_csv($file)", {"file": str(file)})
        con.execute(
            """
            CREATE TABLE long AS
            WITH cells AS (UNPIVOT wide ON COLUMNS(* EXCLUDE DATE) INTO NAME product VALUE amount)
            SELECT split_part(product, '_', 2) || '_' || split_part(product, '_', 3) AS series, DATE AS date,
                max(amount) FILTER (product LIKE 'QTY%') AS quantity,
                max(amount) FILTER (product LIKE 'PROMO%') AS promotion
            FROM cells GROUP BY ALL ORDER BY ALL"""
        )
        con.execute(f"COPY long TO '{target}' (FORMAT parquet)")


def main(file: Path, horizon: int | None) -> None:
    """Measure, or say why not."""
    if not file.is_file():
        skipped = f"{file} is not there; give a path, or set CARTOGRAPH_DEMAND_FILE."
        print(json.dumps({"benchmark": "forecast", "skipped": skipped}))
        return
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "demand.parquet"
        unpivot(file, target)
        start, used = time.perf_counter(), time.process_time()
        report = bench(target, horizon=horizon)
        seconds = {"wall": time.perf_counter() - start, "processor": time.process_time() - used}
    print(json.dumps(report | {"seconds": {name: round(value, 1) for name, value in seconds.items()}}))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE, int(sys.argv[2]) if len(sys.argv) > 2 else None)
