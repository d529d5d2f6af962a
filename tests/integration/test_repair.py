"""Late data by the command line: its partitions are built anew, no others, and marts are as a full build has them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cartograph.lake import Lake, tables
from tests.support.whole_run import Bench

SALES, PEOPLE = "docs/examples/corner_shop/data/sales/2024-01.csv", "docs/examples/corner_shop/data/people.jsonl"


def files(bench: Bench, table: str, month: str) -> set[str]:
    """The data files of a table that hold rows of a month."""
    now = tables.load(bench.settings, table)
    found = tables.data_files(now, table, now.current_snapshot())
    return {file.file_path for file in found if month in file.file_path}


def test_a_late_sale_is_built_into_its_own_partition(tmp_path: Path) -> None:
    bench = Bench.with_corner_shop(tmp_path)
    bench.cartograph("run", "--select", '+group:"published" or +group:"intermediate" or group:"quality"')
    february = {table: files(bench, table, "2024-02") for table in ("raw.orders", "published.fct_orders")}
    assert all(february.values())

    with (tmp_path / SALES).open("a", encoding="latin-1") as till:
        till.write("9001;30.01.2024 11:20;;TEA-1;3;4,50\n")
    told = bench.cartograph("repair", "--dry-run")
    assert "orders 2024-01-01: 1 new" in told
    assert "order_items 2024-01-01: 1 new" in told
    assert "1 partition to build anew" in told
    done = bench.cartograph("repair")
    assert "quality/rebuild" in done
    assert "0 failed" in done
    assert "Nothing is late" in bench.cartograph("repair")

    lake = Lake.from_settings(bench.settings)
    for table in ("raw.orders", "published.fct_orders"):
        assert lake.batches(table, columns=["order_id"]).read_all()["order_id"].to_pylist().count("9001") == 1
        assert files(bench, table, "2024-02") == february[table]
    sold = lake.batches("published.agg_daily_sales").read_all().to_pylist()
    assert [str(day["revenue_amount"]) for day in sold if str(day["order_date"]) == "2024-01-30"] == ["13.50"]


def test_a_repair_that_was_killed_is_gone_on_with(tmp_path: Path) -> None:
    """Once its rows are loaded: the sources deliver what the lake has, and the marts are as they were."""
    bench = Bench.with_corner_shop(tmp_path)
    bench.cartograph("run", "--select", '+group:"published" or +group:"intermediate" or group:"quality"')
    with (tmp_path / SALES).open("a", encoding="latin-1") as till:
        till.write("9001;30.01.2024 11:20;;TEA-1;3;4,50\n")
    command = bench.command("repair")
    with subprocess.Popen(command, env=bench.environment, cwd=bench.root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "raw/orders" in line and "✓" in line:
                process.kill()
    lake = Lake.from_settings(bench.settings)

    def sold() -> int:
        return (
            lake.batches("published.fct_orders", columns=["order_id"]).read_all()["order_id"].to_pylist().count("9001")
        )

    assert sold() == 0
    assert "orders 2024-01-01: an earlier repair of it did not end" in bench.cartograph("repair", "--dry-run")
    assert "0 failed" in bench.cartograph("repair")
    assert sold() == 1
    assert "Nothing is late" in bench.cartograph("repair")
