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
VERSIONS = "assert_fct_inventory_daily_find_one_product_version"
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


def test_a_fault_in_one_partition_of_a_mart_stands_while_another_passes(bench: Bench) -> None:
    drop(bench, "quantity_on_hand")
    november, stock = ("--from", "2024-11-01", "--to", "2024-11-30"), 'key:"marts/fct_inventory_daily"'
    with duckdb.connect(bench.settings.warehouse_path) as warehouse:
        twice = "SELECT * FROM marts.dim_products WHERE product_id = (SELECT min(product_id) FROM marts.dim_products)"
        warehouse.execute(f"INSERT INTO marts.dim_products {twice}")
    assert VERSIONS in bench.cartograph("run", *november, "--select", stock, expect=1)

    bench.cartograph("run", "--select", 'key:"marts/dim_products"')
    bench.cartograph("run", "--from", "2024-12-01", "--select", stock)
    published = 'key:"published/fct_inventory_daily"'
    refused = " ".join(bench.cartograph("run", *november, "--select", published, expect=1).split())
    assert f"{VERSIONS} of marts/fct_inventory_daily for 2024-11-01 to before 2024-12-01" in refused

    bench.cartograph("run", *november, "--select", stock)
    bench.cartograph("run", *november, "--select", published)


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

    drop(bench, f"quantity_on_hand / CASE snapshot_date WHEN DATE '{DAY}' THEN 100 ELSE 1 END")
    bench.cartograph("run", "--from", "2024-12-01", "--select", STOCK)
    stale = " ".join(bench.cartograph("run", "--from", "2024-12-01", "--select", 'group:"published"', expect=1).split())
    assert f"marts/fct_inventory_daily was made of rows in which {FOUND} found an error, and not again since" in stale
    assert content(bench.settings, "published") == good, "the mended load says nothing of what was made before it"

    bench.cartograph("run", "--from", "2024-12-01", "--select", f"{STOCK}+")
    assert content(bench.settings, "published") == good
