"""dbt as somebody calls it by hand: what is wrong with its variables or the home is said, and nothing is built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from cartograph.lake import Lake
from cartograph.settings import Settings, get_settings
from ecom_assets.warehouse.dbt_project import WAREHOUSE_VARIABLE
from tests.support.dbt import call
from tests.unit.warehouse.making import append, make_customer, tiny_shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Settings]:
    """A shop of which one customer is loaded."""
    settings = tiny_shop(tmp_path)
    append(Lake.from_settings(settings), "customers", make_customer())
    yield from _read_anew(settings)


@pytest.fixture
def unloaded(tmp_path: Path) -> Iterator[Settings]:
    yield from _read_anew(tiny_shop(tmp_path))


def _read_anew(settings: Settings) -> Iterator[Settings]:
    get_settings.cache_clear()
    yield settings
    get_settings.cache_clear()


@pytest.mark.parametrize(
    ("first", "end", "reason"),
    [
        ("2024-03-01", "2024-02-01", "MAX is not after MIN"),
        ("2024-03-01", "2024-03-01", "MAX is not after MIN"),
        ("2024-02-31", "2024-03-01", "2024-02-31 is no day"),
        ("2024-02-01", "tomorrow", "tomorrow is no day"),
        ("2024-02-01", "", "nothing is no day"),
        ("", "2024-02-01", "nothing is no day"),
    ],
)
def test_a_window_that_is_none_is_named(shop: Settings, first: str, end: str, reason: str) -> None:
    variables = {"CARTOGRAPH_DBT_MIN_DATE": first, "CARTOGRAPH_DBT_MAX_DATE": end}
    done = call(shop, "run", "--select", "stg_shop__customers", variables=variables)
    told = f"CARTOGRAPH_DBT_MIN_DATE={first} and CARTOGRAPH_DBT_MAX_DATE={end} bound no window: {reason}. Set both"
    assert told in str(done.exception)
    assert _tables(shop.warehouse_path, "staging") == []


def test_a_window_of_days_is_built(shop: Settings) -> None:
    variables = {"CARTOGRAPH_DBT_MIN_DATE": "2024-02-01", "CARTOGRAPH_DBT_MAX_DATE": "2024-03-01"}
    assert call(shop, "run", "--select", "stg_shop__customers", variables=variables).success


def test_a_dataset_that_nobody_knows_is_named(shop: Settings) -> None:
    variables = {"CARTOGRAPH_DBT_DATASETS": "customers, orders"}
    done = call(shop, "run", "--select", "stg_shop__customers", variables=variables)
    assert 'CARTOGRAPH_DBT_DATASETS=customers, orders: there is no dataset " orders"' in str(done.exception)


@pytest.mark.parametrize("command", [("build",), ("source", "freshness"), ("docs", "generate")])
def test_a_shop_that_is_not_loaded_is_told_to_run(unloaded: Settings, command: tuple[str, ...]) -> None:
    done = call(unloaded, *command, variables={})
    assert f"Nothing of shop 'tiny' is loaded in {unloaded.home}. `cartograph run` loads it" in str(done.exception)


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("CARTOGRAPH_SHOP", "nowhere", "There is no shop 'nowhere'"),
        ("CARTOGRAPH_LATE_LIMIT_HOURS", "never", "CARTOGRAPH_LATE_LIMIT_HOURS=never: "),
    ],
)
def test_a_wrong_setting_is_told_in_its_own_words(shop: Settings, variable: str, value: str, reason: str) -> None:
    done = call(shop, "run", "--select", "stg_shop__customers", variables={variable: value})
    assert reason in str(done.exception)


def test_the_warehouse_may_have_any_name(shop: Settings, tmp_path: Path) -> None:
    path = tmp_path / "other-house.db"
    done = call(shop, "run", "--select", "stg_shop__customers", variables={WAREHOUSE_VARIABLE: str(path)})
    assert done.success, done.exception
    assert _tables(path, "staging") == ["stg_shop__customers"]


def _tables(warehouse: Path, schema: str) -> list[str]:
    with duckdb.connect(warehouse, read_only=True) as connection:
        found = connection.execute("SELECT view_name FROM duckdb_views() WHERE schema_name = ?", [schema]).fetchall()
    return [name for (name,) in found]
