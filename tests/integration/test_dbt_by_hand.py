"""dbt as somebody calls it by hand: what is wrong with its variables or the home is said, and nothing is built."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest
import yaml
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from typer.testing import CliRunner

from cartograph.cli import EXIT_INTERRUPTED
from cartograph.cli.app import app
from cartograph.lake import Lake
from cartograph.settings import Settings
from cartograph.shops import load_shop
from ecom_assets.warehouse import parsed_dbt
from ecom_assets.warehouse.dbt_project import (
    PARSED_VARIABLE,
    PROJECT_DIR,
    WAREHOUSE_VARIABLE,
    DbtProjectError,
    dbt_environment,
    dbt_home,
    environment_of,
    parsed_project,
)
from tests.support.dbt import PLACES, call
from tests.unit.warehouse.making import append, make_customer, make_order, tiny_shop

VARS = yaml.safe_load((PROJECT_DIR / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    """A shop of which one customer is loaded."""
    settings = tiny_shop(tmp_path)
    append(Lake.from_settings(settings), "customers", make_customer())
    return settings


@pytest.fixture
def unloaded(tmp_path: Path) -> Settings:
    return tiny_shop(tmp_path)


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


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"rfm_frequency_orders": [2, 3]}, "takes a list of 4 rising whole numbers from 1 to 1000000, got [2, 3]"),
        ({"rfm_recency_days": [30, 90, 180, 365]}, "takes a list of 4 falling whole numbers"),
        ({"rfm_monetary_amount": [50, 150, 150, 500]}, "takes a list of 4 rising numbers"),
        ({"customer_recency_band_days": [180, 30, 90]}, "takes a list of 3 rising whole numbers"),
        ({"customer_frequency_band_orders": [2, 5.5]}, "takes a list of 2 rising whole numbers"),
        ({"lifetime_value_band_percent_ranks": [0.5, 0.8, 1.5]}, "takes a list of 3 rising numbers from 0 to 1, got"),
        ({"discount_bands_pct": []}, "takes a list of one or more rising numbers from 0 to 100, got []"),
        ({"discount_bands_pct": "10"}, 'takes a list of one or more rising numbers from 0 to 100, got "10"'),
        ({"attribution_half_life_days": -7}, "takes a number from 1 to 3650, got -7"),
        ({"attribution_window_days": True}, "takes a whole number from 1 to 1000, got true"),
        ({"inventory_demand_days": 0}, "takes a whole number from 1 to 3650, got 0"),
        ({"inventory_low_cover_days": 121}, "takes at most inventory_overstock_cover_days (120), got 121"),
        ({"category_affinity_prior_amount": float("nan")}, "takes a number from 0.01 to 1000000000, got NaN"),
        ({"market_basket_min_support": "few"}, 'takes a number from 0 to 1, got "few"'),
        ({"holiday_country": "Germany"}, 'takes the ISO 3166 code of a country, two capital letters, got "Germany"'),
    ],
)
def test_a_var_that_would_build_nonsense_is_named(shop: Settings, changed: dict[str, object], reason: str) -> None:
    (name,) = changed
    assert f"The dbt var {name} {reason}" in _refusal_of(shop, changed)
    assert _tables(shop.warehouse_path, "staging") == []


@pytest.mark.parametrize("command", [("compile", "--select", "rfm_segments"), ("show", "--select", "dim_dates")])
def test_a_command_that_only_writes_sql_names_a_wrong_var_too(shop: Settings, command: tuple[str, ...]) -> None:
    wrong = yaml.safe_dump({"rfm_frequency_orders": [2, 3]})
    told = call(shop, *command, "--vars", wrong, variables={})
    assert "The dbt var rfm_frequency_orders takes a list of 4 rising whole numbers" in str(
        told.exception or told.result
    )
    assert call(shop, "compile", "--select", "rfm_segments", variables={}).success


@pytest.mark.parametrize("name", VARS)
def test_each_var_is_held_to_a_type_and_a_range(shop: Settings, name: str) -> None:
    value = VARS[name]
    for wrong in (value[0], value[::-1]) if isinstance(value, list) else (None, 10**12):
        assert f"The dbt var {name} takes " in _refusal_of(shop, {name: wrong}), wrong


def _refusal_of(shop: Settings, changed: dict[str, object]) -> str:
    called = ("run", "--select", "stg_shop__customers", "--vars", yaml.safe_dump(changed))
    return str(call(shop, *called, variables={}).exception)


def test_a_country_without_holidays_fails_where_the_dates_alone_are_built(shop: Settings) -> None:
    append(Lake.from_settings(shop), "orders", make_order("o1", "2024-01-01"))
    orders = {"CARTOGRAPH_DBT_DATASETS": "customers,orders"}
    assert call(shop, "run", "--select", "stg_shop__orders", variables=orders).success
    assert call(shop, "seed", variables=orders).success
    alone = ("build", "--select", "dim_dates", "--exclude-resource-type", "unit_test")
    known = call(shop, *alone, variables=orders)
    unknown = call(shop, *alone, "--vars", "holiday_country: XX", variables=orders)
    failed = [{r.node.name for r in done.result if r.status == "fail"} for done in (known, unknown)]
    assert failed == [set(), {"assert_holiday_country_is_known"}]


def test_a_shop_says_whose_holidays_its_calendar_has(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    file = shop.resolved_shops_dir / "tiny.yaml"
    file.write_text(file.read_text(encoding="utf-8") + "dbt_vars: {holiday_country: GB}\n", encoding="utf-8")
    append(Lake.from_settings(shop), "orders", make_order("o1", "2024-03-31"))
    folders = {name: str(dbt_home(shop) / "run") for name in ("DBT_TARGET_PATH", "DBT_LOG_PATH")}
    parsed = {PARSED_VARIABLE: str(parsed_project(shop, load_shop(shop).datasets))}
    with environment_of({**dbt_environment(shop, ("customers", "orders")), **folders, **parsed}):
        for command in (("seed",), ("run", "--select", "stg_shop__orders dim_dates")):
            monkeypatch.setattr("sys.argv", ["dbt", *command, *PLACES])
            assert parsed_dbt.main() == 0
    DuckDBConnectionManager.close_all_connections()
    with duckdb.connect(str(shop.warehouse_path), read_only=True) as con:
        found = con.execute("SELECT DISTINCT holiday_name FROM marts.dim_dates WHERE month(date_day) IN (3, 4)")
        assert set(found.fetchall()) == {("Good Friday",), (None,)}, "and no Easter Monday, as in Germany"


@pytest.mark.parametrize("command", [("build",), ("source", "freshness"), ("docs", "generate")])
def test_a_shop_that_is_not_loaded_is_told_to_run(unloaded: Settings, command: tuple[str, ...]) -> None:
    done = call(unloaded, *command, variables={})
    assert f"Nothing of shop 'tiny' is loaded in {unloaded.home}. `cartograph run` loads it" in str(done.exception)


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("CARTOGRAPH_SHOP", "nowhere", "There is no shop 'nowhere'"),
        ("CARTOGRAPH_LATE_LIMIT_HOURS", "never", "CARTOGRAPH_LATE_LIMIT_HOURS=never: "),
        ("CARTOGRAPH_DUCKDB_THREADS", "many", "CARTOGRAPH_DUCKDB_THREADS=many: "),
        ("CARTOGRAPH_DUCKDB_THREADS", "0", "CARTOGRAPH_DUCKDB_THREADS=0: "),
        ("CARTOGRAPH_DUCKDB_MEMORY_LIMIT", "much", "CARTOGRAPH_DUCKDB_MEMORY_LIMIT=much: "),
    ],
)
def test_a_wrong_setting_is_told_in_its_own_words(shop: Settings, variable: str, value: str, reason: str) -> None:
    done = call(shop, "run", "--select", "stg_shop__customers", variables={variable: value})
    assert reason in str(done.exception)


@pytest.mark.parametrize("command", [("run", "--select", "stg_shop__customers"), ("docs", "generate")])
def test_a_warehouse_that_another_process_has_open_is_told(shop: Settings, command: tuple[str, ...]) -> None:
    with _held(shop.warehouse_path) as holder:
        done = call(shop, *command, variables={})
    told = str(done.exception)
    assert f"The warehouse {shop.warehouse_path} cannot be opened: " in told
    assert f"(PID {holder})" in told
    assert "wait for that process or end it, and try again" in told
    assert call(shop, *command, variables={}).success, "once it is free"


def test_the_command_says_so_before_dbt_parses_the_project(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(shop, "run", "--select", "stg_shop__customers", variables={}).success
    for name in ("home", "shop", "shops_dir"):
        monkeypatch.setenv(f"CARTOGRAPH_{name.upper()}", str(getattr(shop, name)))
    with _held(shop.warehouse_path) as holder:
        held = CliRunner().invoke(app, ["dbt", "build", "--select", "stg_shop__customers"])
        listed = CliRunner().invoke(app, ["dbt", "--version"])
    assert isinstance(held.exception, DbtProjectError)
    assert f"The warehouse {shop.warehouse_path} cannot be opened: " in str(held.exception)
    assert f"(PID {holder})" in str(held.exception)
    assert not (dbt_home(shop) / "by_hand" / "manifest.json").exists(), "dbt was not called"
    assert listed.exit_code == 0


def test_an_interrupted_dbt_says_so_and_leaves_the_warehouse_usable(shop: Settings) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CARTOGRAPH_")}
    settings = {f"CARTOGRAPH_{name.upper()}": str(getattr(shop, name)) for name in ("home", "shop", "shops_dir")}
    command = [sys.executable, "-c", "from cartograph.cli import main; main()", "dbt", "run"]
    with subprocess.Popen(
        command, env=inherited | settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert b"Running with dbt" in process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        printed = process.stdout.read().decode()
    assert process.returncode == EXIT_INTERRUPTED
    assert "Stopped. The models that were finished are kept." in printed
    assert "Traceback" not in printed
    assert call(shop, "run", "--select", "stg_shop__customers", variables={}).success


def test_the_warehouse_may_have_any_name(shop: Settings, tmp_path: Path) -> None:
    path = tmp_path / "other-house.db"
    done = call(shop, "run", "--select", "stg_shop__customers", variables={WAREHOUSE_VARIABLE: str(path)})
    assert done.success, done.exception
    assert _tables(path, "staging") == ["stg_shop__customers"]


@contextmanager
def _held(warehouse: Path) -> Iterator[int]:
    """The id of another process, which has the warehouse open for as long as the block lasts."""
    opened = f"import duckdb; held = duckdb.connect({str(warehouse)!r}); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", opened], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        yield holder.pid
        holder.communicate("\n")


def _tables(warehouse: Path, schema: str) -> list[str]:
    with duckdb.connect(warehouse, read_only=True) as connection:
        found = connection.execute("SELECT view_name FROM duckdb_views() WHERE schema_name = ?", [schema]).fetchall()
    return [name for (name,) in found]
