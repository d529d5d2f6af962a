"""`cartograph export` on a shop that has run, as an analyst would use it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq

from cartograph.lake import Lake
from tests.support.whole_run import Bench

Shop = tuple[Bench, str]


def test_all_marts_are_written_with_rows_and_checksums(small_shop: Shop, tmp_path: Path) -> None:
    bench, lake = small_shop[0], Lake.from_settings(small_shop[0].settings)
    bench.cartograph("export", "--to", str(tmp_path / "out"))
    files = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["files"]
    published = [info for info in lake.tables() if info.identifier.startswith("published.")]
    assert [file["table"] for file in files] == [info.identifier for info in published]
    for file, info in zip(files, published, strict=True):
        path = tmp_path / "out" / file["file"]
        assert info.current is not None
        assert file["snapshot_id"] == str(info.current.snapshot_id)
        assert pq.read_metadata(path).num_rows == file["rows"] == info.current.rows
        assert pq.read_schema(path).names == lake.batches(info.identifier).schema.names
        assert file["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_folder_of_cartographs_own_state_is_refused(small_shop: Shop) -> None:
    bench = small_shop[0]
    inside = bench.settings.shop_home / "lake"
    before = sorted(inside.rglob("*"))
    printed = bench.cartograph("export", "--to", str(inside), expect=2)
    assert "where Cartograph keeps its state: choose another folder" in " ".join(printed.split())
    assert sorted(inside.rglob("*")) == before


def test_some_marts_and_days_for_excel(small_shop: Shop, tmp_path: Path) -> None:
    choices = ("fct_orders", "dim_products", "--format", "csv", "--excel")
    days = ("--first-day", "2024-03-01", "--last-day", "2024-03-31")
    printed = small_shop[0].cartograph("export", *choices, *days, "--to", str(tmp_path / "out"))
    assert "2 files and manifest.json" in printed
    assert {path.name for path in tmp_path.joinpath("out").iterdir()} == {
        "fct_orders.csv",
        "dim_products.csv",
        "manifest.json",
    }
    head, *orders = (tmp_path / "out" / "fct_orders.csv").read_text(encoding="utf-8-sig").splitlines()
    place = head.split(",").index("ordered_at")
    assert orders
    assert {line.split(",")[place][:7] for line in orders} == {"2024-03"}


def test_mistakes_are_answered_with_the_cure(small_shop: Shop, tmp_path: Path) -> None:
    bench, out = small_shop[0], str(tmp_path / "out")
    assert "Did you mean fct_orders" in bench.cartograph("export", "fct_order", "--to", out, expect=2)
    assert "--format csv" in bench.cartograph("export", "--excel", "--to", out, expect=2)
    backwards = ("--first-day", "2024-03-02", "--last-day", "2024-03-01")
    assert "exchange them" in bench.cartograph("export", *backwards, "--to", out, expect=2)
    (tmp_path / "file").write_text("")
    printed = bench.cartograph("export", "dim_dates", "--to", str(tmp_path / "file"), expect=2)
    assert "Nothing could be exported to" in printed
    assert "Traceback" not in printed
    assert not Path(out).exists()


def test_a_shop_that_never_ran_has_nothing_to_export(tmp_path: Path) -> None:
    bench = Bench.with_small_shop(tmp_path)
    assert "no published mart yet" in bench.cartograph("export", "--to", str(tmp_path / "out"), expect=2)
    assert not (tmp_path / "home").exists()
