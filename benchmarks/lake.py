"""What does the lake cost: a look at an unchanged table, a month's commit, finding the files, and a stream of rows?

A table of 24 months in a home of its own. Times are medians in milliseconds of wall and of processor time, since other
work on the machine shows in the first only; the stream's memory is what the process grew by while 20 million cells
passed through one commit.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pyarrow as pa

from cartograph.contracts import Column, Contract
from cartograph.lake import Lake
from cartograph.settings import load_settings
from cartograph.windows import Window, windows

MONTHS = list(windows(datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), "monthly"))
CONTRACT = Contract(
    dataset="lines",
    grain="A line.",
    key=("line_id",),
    event_time="sold_at",
    columns=(
        Column(name="line_id", type="bigint", description="The line."),
        Column(name="sold_at", type="timestamp", description="When it was sold."),
        Column(name="amount", type="money", description="What it was sold for."),
        Column(name="note", type="string", nullable=True, description="A remark."),
    ),
)
SMALL, LARGE = 1_000, 200_000


def main() -> None:
    """Measure each and print a line for it."""
    with tempfile.TemporaryDirectory() as home:
        lake = Lake.from_settings(load_settings(home=Path(home)))
        report("create", 1, lambda: lake.ensure("raw.lines", CONTRACT, "monthly"))
        commits = iter([(month, rows(month, SMALL)) for month in MONTHS] * 2)
        report("first_commit_of_a_month", 24, lambda: overwrite(lake, *next(commits)))
        report("commit_of_a_month_again", 24, lambda: overwrite(lake, *next(commits)))
        report("ensure_unchanged", 20, lambda: lake.ensure("raw.lines", CONTRACT, "monthly"))
        report("plan_24_months", 20, lambda: lake.relation_sql("raw.lines"))
        report("read_one_month", 20, lambda: lake.batches("raw.lines", window=MONTHS[3]).read_all())
        stream(lake)


def report(name: str, times: int, action: Callable[[], object]) -> None:
    """Print the medians over `times` runs of `action`."""
    wall, processor = [], []
    for _ in range(times):
        start, used = time.perf_counter(), time.process_time()
        action()
        wall.append((time.perf_counter() - start) * 1000)
        processor.append((time.process_time() - used) * 1000)
    medians = {"wall_ms": statistics.median(wall), "processor_ms": statistics.median(processor)}
    print(json.dumps({"benchmark": "lake", "case": name, **{key: round(ms, 1) for key, ms in medians.items()}}))


def stream(lake: Lake) -> None:
    """Print the speed and the growth of the process while 25 tables go to each of 24 months in turns."""
    tables = [rows(month, LARGE // 24) for month in MONTHS]
    process = psutil.Process()
    before = peak = process.memory_info().rss
    start = time.perf_counter()
    with lake.overwriting("raw.lines", None) as writer:
        for _ in range(25):
            for table in tables:
                writer.write(table)
            peak = max(peak, process.memory_info().rss)
    seconds = time.perf_counter() - start
    result = {"rows": writer.rows, "rows_per_second": round(writer.rows / seconds), "grew_mib": (peak - before) >> 20}
    print(json.dumps({"benchmark": "lake", "case": "stream", **result}))


def overwrite(lake: Lake, window: Window, table: pa.Table) -> None:
    """Replace a window by the rows of `table`."""
    with lake.overwriting("raw.lines", window) as writer:
        writer.write(table)


def rows(window: Window, count: int) -> pa.Table:
    """Rows spread over a window."""
    step = int((window.end - window.start).total_seconds() * 1_000_000) // count
    first = int(window.start.timestamp() * 1_000_000)
    return pa.table(
        {
            "line_id": pa.array(range(count)),
            "sold_at": pa.array(range(first, first + step * count, step)).cast(pa.timestamp("us", tz="UTC")),
            "amount": pa.array(range(count)).cast(pa.decimal128(38, 2)).cast(pa.decimal128(18, 2)),
            "note": pa.array([f"note {number % 1000}" for number in range(count)]),
        }
    )


if __name__ == "__main__":
    main()
