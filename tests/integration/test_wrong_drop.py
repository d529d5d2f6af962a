"""A wrong drop through the whole platform: its rows reach `published/*` and the release by no run."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb
import pytest
import yaml

from cartograph.lake import Lake
from cartograph.releases import open_store
from tests.support.whole_run import SMALL_SHOP, Bench, content

STOCK = 'key:"raw/inventory"'
DOWNSTREAM = f'{STOCK}+ and not group:"raw"'
DAY = date(2024, 12, 18)
FOUND = "values_are_usual of raw/inventory for 2024-12-01 to before 2025-01-01"


@pytest.fixture
def bench(small_shop: tuple[Bench, str], tmp_path: Path) -> Bench:
    """The small shop, released, whose stock comes as a file from now on."""
    bench = small_shop[0].copied(tmp_path)
    shop = yaml.safe_load(SMALL_SHOP.format(customers=400, end="2025-01-01"))
    shop["sources"][0]["datasets"].remove("inventory")
    stock = {"stock": {"path": str(tmp_path / "stock.csv"), "format": "csv"}}
    shop["sources"].append(
        {
            "type": "ecom_assets.components.FilesSource",
            "attributes": {"files": stock},
            "datasets": {"inventory": {"select": "SELECT * EXCLUDE (_file, _line) FROM stock"}},
        }
    )
    (tmp_path / "shops").mkdir()
    (tmp_path / "shops" / "small.yaml").write_text(yaml.safe_dump(shop), encoding="utf-8")
    return Bench(tmp_path, {**bench.variables, "CARTOGRAPH_SHOPS_DIR": str(tmp_path / "shops")})


def drop(bench: Bench, quantity: str) -> None:
    """Write the file of all stock as it was loaded, with `quantity` for that of each product at the end of a day."""
    lake = Lake.from_settings(bench.settings)
    with lake.connect() as connection:
        columns = f"product_id, snapshot_date, {quantity} AS quantity_on_hand, quantity_received"
        loaded = lake.relation_sql("raw.inventory")
        connection.execute(f"COPY (SELECT {columns} FROM ({loaded})) TO '{bench.root / 'stock.csv'}' (HEADER)")


def test_stock_a_hundred_times_too_high_is_published_and_released_by_no_run(bench: Bench) -> None:
    good, release = content(bench.settings, "published"), open_store(bench.settings).current()
    drop(bench, f"quantity_on_hand * CASE snapshot_date WHEN DATE '{DAY}' THEN 100 ELSE 1 END")

    assert "values_are_usual" in bench.cartograph("run", "--from", "2024-12-01", "--select", f"{STOCK}+", expect=1)
    assert content(bench.settings, "published") == good, "the run that found it stopped there"

    refused = " ".join(bench.cartograph("run", "--select", DOWNSTREAM, expect=1).split())
    assert f"is not published: blocking checks failed, {FOUND}" in refused
    with duckdb.connect(bench.settings.warehouse_path, read_only=True) as warehouse:
        stock = "SELECT snapshot_date, sum(quantity_on_hand) FROM marts.fct_inventory_daily GROUP BY ALL"
        ((day, _), *_) = warehouse.execute(f"{stock} ORDER BY 2 DESC").fetchall()
    assert day == DAY, "that run has built the marts with it"
    assert content(bench.settings, "published") == good, "and did not publish them"

    assert "values_are_usual of raw/inventory" in bench.cartograph("run", "--select", 'key:"serving/release"', expect=1)
    assert open_store(bench.settings).current() == release
