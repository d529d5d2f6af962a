"""The quarantine by the command line: what is in it, and how a mended row gets in, once."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path

from cartograph.lake import Lake
from tests.support.whole_run import Bench

Shop = tuple[Bench, str]


def test_the_reasons_are_listed_with_their_rows_and_days(small_shop: Shop) -> None:
    printed = small_shop[0].cartograph("quarantine", "list")
    assert "stock_not_negative" in printed
    assert "2024-01-02 to 2024-12-29" in printed
    assert "Missing from the lake: " in printed
    one = small_shop[0].cartograph("quarantine", "list", "orders")
    assert "total_ties_out" in one
    assert "stock_not_negative" not in one


def test_rows_are_shown_as_they_were_delivered(small_shop: Shop) -> None:
    printed = small_shop[0].cartograph("quarantine", "show", "orders", "--reason", "total_ties_out")
    reason, message, row = printed.splitlines()
    assert reason == "total_ties_out  simulator"
    assert message == "total must be subtotal - discount + shipping"
    assert json.loads(row)["total_amount"] == "0.01"
    assert "No row of orders" in small_shop[0].cartograph("quarantine", "show", "orders", "--reason", "none")


def test_rows_are_exported_for_whoever_mends_the_source(small_shop: Shop, tmp_path: Path) -> None:
    small_shop[0].cartograph("quarantine", "export", "orders", "--to", str(tmp_path / "out"))
    with (tmp_path / "out" / "orders.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 25
    assert stat.S_IMODE((tmp_path / "out" / "orders.csv").stat().st_mode) == 0o600
    assert {row["reason"] for row in rows} >= {"total_ties_out", "wrong_type:subtotal_amount"}


def test_a_dataset_that_is_not_there_is_answered_with_those_that_are(small_shop: Shop) -> None:
    printed = small_shop[0].cartograph("quarantine", "show", "order", expect=2)
    assert "Did you mean orders" in printed


def test_a_shop_without_state_has_no_quarantine(tmp_path: Path) -> None:
    bench = Bench.with_corner_shop(tmp_path)
    assert "`cartograph run` does" in bench.cartograph("quarantine", "list", expect=2)
    assert not (tmp_path / "home" / "corner_shop" / "catalog.db").exists()


def test_a_mended_row_gets_in_once_and_into_the_marts(tmp_path: Path) -> None:
    bench = Bench.with_corner_shop(tmp_path)
    sales = tmp_path / "docs/examples/corner_shop/data/sales/2024-01.csv"
    good = sales.read_text(encoding="latin-1")
    sales.write_text(good.replace("101;03.01.2024 17:40;;TEA-1;1;", "101;03.01.2024 17:40;;TEA-1;one;"), "latin-1")
    bench.variables["CARTOGRAPH_QUARANTINE_LIMIT_PCT"] = "50"
    bench.cartograph("run", "--select", 'group:"raw"')
    assert "wrong_type:quantity" in bench.cartograph("quarantine", "list", "order_items")
    sales.write_text(good, encoding="latin-1")
    retried = bench.cartograph("quarantine", "retry", "order_items")
    assert "order_items 2024-01-01: 1 new, -1 in the quarantine" in retried
    assert "wrong_type" not in bench.cartograph("quarantine", "list")
    lake = Lake.from_settings(bench.settings)
    for table in ("raw.order_items", "published.fct_order_items"):
        ids = lake.batches(table, columns=["order_id", "line_number"]).read_all().to_pylist()
        assert ids.count({"order_id": "101", "line_number": 1}) == 1
        assert len(ids) == len({tuple(row.values()) for row in ids})
    assert "No row waits" in bench.cartograph("quarantine", "retry")
