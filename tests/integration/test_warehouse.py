"""The warehouse on a tiny lake: built by Dagster and by a bare dbt, again, window by window, and with a fault in it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from cartograph.lake import Lake
from cartograph.settings import Settings, get_settings
from cartograph.shops import load_shop
from cartograph.windows import Window
from ecom_assets.defs.dbt.warehouse import warehouse_definitions
from ecom_assets.defs.publishing.published import published_definitions
from ecom_assets.warehouse.dbt_project import PROJECT_DIR, dbt_environment, dbt_executable, dbt_home
from ecom_assets.warehouse.unrecorded import begin, note
from tests.unit.warehouse.making import (
    append,
    at,
    make_customer,
    make_line,
    make_order,
    make_product,
    make_refund,
    tiny_shop,
)

MARTS = (
    "dim_customers",
    "dim_products",
    "dim_dates",
    "dim_geographies",
    "fct_orders",
    "fct_order_items",
    "fct_refunds",
    "agg_daily_sales",
    "agg_product_performance",
    "sales_by_geography",
    "weekday_sales",
    "discount_impact",
    "rfm_segments",
)
FEBRUARY = Window(at("2024-02-01"), at("2024-03-01"))


@dataclass(frozen=True)
class TinyShop:
    settings: Settings
    lake: Lake

    def run(self, first: str, last: str, *marts: str) -> dg.ExecuteInProcessResult:
        """Build and publish the partitions from `first` to `last`, as the job does: of all marts, or of `marts`."""
        return self.execute(first, last, dg.AssetSelection.assets(*(["published", mart] for mart in marts)).upstream())

    def execute(self, first: str, last: str, chosen: dg.AssetSelection) -> dg.ExecuteInProcessResult:
        """Build the partitions of what is chosen; of nothing, those of all."""
        definitions = dg.Definitions.merge(
            warehouse_definitions(), published_definitions(), dg.Definitions(jobs=[dg.define_asset_job("all_job")])
        )
        job, graph = definitions.resolve_job_def("all_job"), definitions.resolve_asset_graph()
        selected = chosen.resolve(graph)
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        with dg.DagsterInstance.ephemeral() as instance:
            return job.execute_in_process(
                instance=instance,
                asset_selection=sorted(selected & set(job.asset_layer.executable_asset_keys)) or None,
                tags=tags,
                raise_on_error=False,
            )

    def dbt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run dbt as a person would, with the lake as it is now."""
        target = {name: str(dbt_home(self.settings) / "run") for name in ("DBT_TARGET_PATH", "DBT_LOG_PATH")}
        variables = dbt_environment(self.settings, load_shop(self.settings).datasets)
        return subprocess.run(
            [dbt_executable(), *arguments],
            cwd=PROJECT_DIR,
            env={**os.environ, **variables, **target},
            capture_output=True,
            text=True,
            check=False,
        )

    def content(self, mart: str, where: str = "true") -> tuple[int, str]:
        """Row count and a hash of the sorted rows of a mart in the warehouse."""
        digest = f"SELECT md5(CAST(t AS VARCHAR)) AS digest FROM marts.{mart} AS t WHERE {where}"
        (found,) = self.query(f"SELECT count(*), md5(string_agg(digest, '' ORDER BY digest)) FROM ({digest})")
        return found  # type: ignore[return-value]

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with duckdb.connect(self.settings.warehouse_path, read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()

    def published(self, mart: str, columns: str) -> list[tuple[object, ...]]:
        with self.lake.connect() as connection:
            scan = self.lake.relation_sql(f"published.{mart}")
            return connection.execute(f"SELECT {columns} FROM ({scan}) ORDER BY ALL").fetchall()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyShop]:
    settings = tiny_shop(tmp_path_factory.mktemp("shop"), "refunds")
    lake = Lake.from_settings(settings)
    append(
        lake,
        "customers",
        make_customer("c1", "2024-01-05", loyalty_tier="bronze"),
        make_customer("c1", "2024-01-20", loyalty_tier="gold"),
        make_customer("c2", "2024-02-01", loyalty_tier="silver"),
    )
    append(
        lake,
        "products",
        make_product("p1", "2024-01-01", unit_cost=Decimal("4")),
        make_product("p1", "2024-02-01", unit_cost=Decimal("5")),
    )
    ordered = {
        "before": "2024-01-02 09:00:00",  # earlier than what is known of c1
        "bronze": "2024-01-19 23:59:59",
        "gold": "2024-01-20 00:00:00",
        "guest": "2024-02-10 12:00:00",
        "void": "2024-02-28 23:59:59",
    }
    changes = {"guest": {"customer_id": None}, "void": {"status": "cancelled", "customer_id": "c2"}}
    append(lake, "orders", *(make_order(name, moment, **changes.get(name, {})) for name, moment in ordered.items()))
    append(lake, "orders", make_order("gold", ordered["gold"], status="placed", updated_at=at("2024-01-20 00:00:01")))
    append(lake, "order_items", *(make_line(name, moment) for name, moment in ordered.items()))
    append(lake, "refunds", make_refund("r1", "2024-02-15", order_id="bronze", product_id="p1"))
    append(lake, "refunds", make_refund("r2", "2024-02-29", order_id="void", product_id="p1", customer_id="c2"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("home", "shop", "shops_dir"):
            patch.setenv(f"CARTOGRAPH_{name.upper()}", str(getattr(settings, name)))
        get_settings.cache_clear()
        yield TinyShop(settings, lake)
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def first_run(shop: TinyShop) -> dg.ExecuteInProcessResult:
    return shop.run("2024-01-01", "2024-02-01")


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    return [e.step_failure_data.error_display_string for e in result.all_events if e.is_step_failure]


def test_a_run_builds_checks_and_publishes_everything(shop: TinyShop, first_run: dg.ExecuteInProcessResult) -> None:
    assert failures(first_run) == []
    assert Path.cwd() != PROJECT_DIR, "dagster-dbt's threads must not leave the process in dbt's folder"
    checks = first_run.get_asset_check_evaluations()
    assert len(checks) > 60
    assert all(check.passed for check in checks)
    for mart in MARTS:
        ((expected,),) = shop.query(f"SELECT count(*) FROM marts.{mart}")
        assert shop.lake.row_count(f"published.{mart}") == expected > 0


@pytest.mark.usefixtures("first_run")
def test_an_order_has_the_version_of_its_customer_that_held_at_its_time(shop: TinyShop) -> None:
    found = shop.query(
        """
        SELECT order_id, loyalty_tier, version_number, is_guest, is_cancelled, status
        FROM marts.fct_orders JOIN marts.dim_customers USING (customer_key) ORDER BY ordered_at
        """
    )
    assert found == [
        ("before", "bronze", 1, False, False, "completed"),
        ("bronze", "bronze", 1, False, False, "completed"),
        ("gold", "gold", 2, False, False, "placed"),
        ("guest", None, 1, True, False, "completed"),
        ("void", "silver", 1, False, True, "cancelled"),
    ]


@pytest.mark.usefixtures("first_run")
def test_what_is_refunded_of_a_cancelled_order_is_taken_off_no_marts_revenue(shop: TinyShop) -> None:
    ((granted, counted),) = shop.query(
        "SELECT sum(amount), sum(amount) FILTER (order_id <> 'void') FROM marts.fct_refunds"
    )
    assert granted > counted > 0
    for mart in ("agg_daily_sales", "agg_product_performance", "agg_customer_metrics", "customer_cohorts"):
        assert shop.query(f"SELECT sum(refunded_amount) FROM marts.{mart}") == [(counted,)], mart
    ((total,),) = shop.query("SELECT sum(net_revenue_amount) FROM marts.agg_daily_sales")
    ((guests,),) = shop.query("SELECT sum(total_amount) FROM marts.fct_orders WHERE is_guest AND NOT is_cancelled")
    for mart in ("agg_customer_metrics", "customer_cohorts"):
        assert shop.query(f"SELECT sum(net_revenue_amount) FROM marts.{mart}") == [(total - guests,)], mart


@pytest.mark.usefixtures("first_run")
def test_a_lines_cost_is_that_of_its_day_and_money_is_published_to_the_cent(shop: TinyShop) -> None:
    assert shop.published("fct_order_items", "order_id, gross_amount, net_amount, cost_amount") == [
        (name, Decimal("20.00"), Decimal("19.00"), cost)
        for name, cost in {
            "before": Decimal("8.00"),
            "bronze": Decimal("8.00"),
            "gold": Decimal("8.00"),
            "guest": Decimal("10.00"),
            "void": Decimal("10.00"),
        }.items()
    ]
    assert shop.published("agg_daily_sales", "order_date, orders_count, customers_count, revenue_amount") == [
        (date(2024, 1, 2), 1, 1, Decimal("24.00")),
        (date(2024, 1, 19), 1, 1, Decimal("24.00")),
        (date(2024, 1, 20), 1, 1, Decimal("24.00")),
        (date(2024, 2, 10), 1, 0, Decimal("24.00")),
        (date(2024, 2, 15), 0, 0, Decimal("0.00")),
    ]
    assert shop.published("rfm_segments", "customer_id, as_of_date, recency_days, frequency, monetary_amount") == [
        ("c1", date(2024, 2, 29), 40, 3, Decimal("62.50"))
    ]


def test_materializations_tell_columns_lineage_rows_and_snapshots(
    shop: TinyShop, first_run: dg.ExecuteInProcessResult
) -> None:
    told = {m.asset_key.to_user_string(): m.metadata for m in _materializations(first_run)}
    email = told["marts/dim_customers"]["dagster/column_lineage"].value.deps_by_column["email"]
    assert email == [dg.TableColumnDep(dg.AssetKey(["intermediate", "int_customers_versioned"]), "email")]
    staged = told["staging/stg_shop__customers"]["dagster/column_lineage"].value.deps_by_column["email"]
    assert staged == [dg.TableColumnDep(dg.AssetKey(["raw", "customers"]), "email")]
    total = told["marts/agg_daily_sales"]["dagster/column_lineage"].value.deps_by_column["revenue_amount"]
    assert total == [dg.TableColumnDep(dg.AssetKey(["marts", "fct_orders"]), "total_amount")]
    assert told["marts/fct_orders"]["dagster/row_count"].value == 5
    assert told["published/fct_orders"]["dagster/row_count"].value == 5
    assert told["marts/fct_orders"]["lake_snapshots"].value["raw.orders"] == str(shop.lake.snapshot_id("raw.orders"))


@pytest.mark.usefixtures("first_run")
def test_tests_of_what_a_first_run_of_some_marts_does_not_build_are_left_out(shop: TinyShop) -> None:
    aside = shop.settings.warehouse_path.with_suffix(".aside")
    if shop.settings.warehouse_path.exists():
        shop.settings.warehouse_path.rename(aside)
    try:
        result = shop.run("2024-01-01", "2024-03-01", "fct_orders")
        asked = {evaluation.check_name for evaluation in result.get_asset_check_evaluations() if evaluation.passed}
        assert (result.success, failures(result)) == (True, [])
        assert "unique_fct_orders_order_id" in asked
        assert not any("dim_dates" in name for name in asked)
    finally:
        shop.settings.warehouse_path.unlink()
        if aside.exists():
            aside.rename(shop.settings.warehouse_path)


def test_a_bare_dbt_builds_the_same_and_proves_its_unit_tests(shop: TinyShop) -> None:
    before = {mart: shop.content(mart) for mart in MARTS}
    done = shop.dbt("build")
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b[1-9]\d+ unit tests", done.stdout)
    assert {mart: shop.content(mart) for mart in MARTS} == before


@pytest.mark.usefixtures("first_run")
def test_a_window_is_replaced_and_the_others_are_left_alone(shop: TinyShop) -> None:
    """A late order joins February, a line that is gone leaves it; a change to January waits for January's own run."""
    january = {mart: shop.content(mart, "order_date < DATE '2024-02-01'") for mart in ("fct_orders", "agg_daily_sales")}
    files = _files(shop, "published.fct_orders")
    append(shop.lake, "orders", make_order("early", "2024-01-03"), make_order("late", "2024-02-11"))
    append(shop.lake, "order_items", make_line("early", "2024-01-03"), make_line("late", "2024-02-11"))
    with shop.lake.overwriting("raw.refunds", FEBRUARY):
        pass

    assert failures(shop.run("2024-02-01", "2024-02-01")) == []
    assert {mart: shop.content(mart, "order_date < DATE '2024-02-01'") for mart in january} == january
    orders = ["before", "bronze", "gold", "guest", "late", "void"]
    assert shop.query("SELECT order_id FROM marts.fct_orders ORDER BY ALL") == [(order,) for order in orders]
    assert shop.published("fct_orders", "order_id") == [(order,) for order in orders]
    assert shop.query("SELECT count(*) FROM marts.fct_refunds") == [(0,)]
    assert shop.lake.row_count("published.fct_refunds") == 0
    kept = {path for path in files if "2024-01" in path}
    assert kept
    assert kept <= _files(shop, "published.fct_orders")


@pytest.mark.usefixtures("first_run")
def test_a_run_over_the_whole_history_takes_in_models_whose_columns_have_changed(shop: TinyShop) -> None:
    with duckdb.connect(shop.settings.warehouse_path) as earlier_version:
        earlier_version.execute("ALTER TABLE marts.fct_refunds DROP COLUMN reason")
    (told,) = failures(shop.run("2024-01-01", "2024-01-01", "fct_orders", "fct_refunds"))
    assert "model fct_refunds" in told
    assert "Run over the whole history once" in told
    assert "fct_orders" not in told
    assert failures(shop.run("2024-01-01", "2024-03-01")) == []
    assert ("reason",) in shop.query("SELECT column_name FROM (DESCRIBE marts.fct_refunds)")


@pytest.mark.usefixtures("first_run")
def test_a_failed_test_of_an_asset_that_was_not_chosen_is_its_own_checks_result(shop: TinyShop) -> None:
    """dbt asks whatever it has built something of: who publishes the mart next must know."""
    assert failures(shop.run("2024-01-01", "2024-03-01")) == []
    with duckdb.connect(shop.settings.warehouse_path) as connection:
        connection.execute("UPDATE marts.fct_orders SET total_amount = 100 * total_amount WHERE order_id = 'gold'")
    result = shop.execute("2024-01-01", "2024-03-01", dg.AssetSelection.assets(["staging", "stg_shop__orders"]))
    (told,) = failures(result)
    assert "test reconciles_fct_orders" in told
    found = {(one.asset_key.path[-1], one.check_name): one for one in result.get_asset_check_evaluations()}
    failed = [one for (asset, name), one in found.items() if asset == "fct_orders" and name.startswith("reconciles_")]
    assert [(one.passed, one.severity) for one in failed] == [(False, dg.AssetCheckSeverity.ERROR)]
    assert failed[0].description
    assert found["stg_shop__orders", "unique_stg_shop__orders_order_id"].passed
    assert failures(shop.run("2024-01-01", "2024-03-01")) == [], "the mart is as it was"


@pytest.mark.usefixtures("first_run")
def test_what_no_run_has_recorded_is_published_by_none_until_all_is_made_again(shop: TinyShop) -> None:
    """A run was killed before it said what it had made, or somebody called dbt: its rows are followed nowhere."""
    begin(shop.settings, "run 7, which was killed", None)
    before = shop.lake.snapshots("published.agg_daily_sales")
    (told,) = failures(
        shop.execute("2024-01-01", "2024-03-01", dg.AssetSelection.assets(["published", "agg_daily_sales"]))
    )
    assert "written by run 7, which was killed, and no run has recorded what" in told
    (told,) = failures(shop.run("2024-01-01", "2024-03-01", "agg_daily_sales"))
    assert "Make its tables anew: `cartograph run`" in told, "the tables of other marts are as that run left them"
    assert shop.lake.snapshots("published.agg_daily_sales") == before
    assert failures(shop.execute("2024-01-01", "2024-03-01", dg.AssetSelection.all())) == []
    assert not note(shop.settings).exists()


@pytest.mark.usefixtures("first_run")
def test_a_fault_is_named_with_its_test_and_sql_and_stops_publishing(shop: TinyShop) -> None:
    append(shop.lake, "orders", make_order("moved", "2024-03-01"), make_order("moved", "2024-03-02"))
    before = shop.lake.snapshots("published.fct_orders")
    result = shop.run("2024-03-01", "2024-03-01", "fct_orders", "fct_order_items")
    assert not result.success
    (told,) = failures(result)
    assert "test unique_stg_shop__orders_order_id: Got 1 result" in told
    path = told.split("unique_stg_shop__orders_order_id: ")[1].split("compiled SQL: ")[1].split(")")[0]
    assert "count(*) as n_records" in dbt_home(shop.settings).joinpath(path).read_text()
    failed = {(c.asset_key.path[-1], c.check_name) for c in result.get_asset_check_evaluations() if not c.passed}
    assert ("stg_shop__orders", "unique_stg_shop__orders_order_id") in failed
    assert {asset for asset, _ in failed} <= {"stg_shop__orders", "stg_shop__order_items"}
    assert shop.lake.snapshots("published.fct_orders") == before


def _materializations(result: dg.ExecuteInProcessResult) -> list[dg.AssetMaterialization]:
    return [event.materialization for event in result.get_asset_materialization_events()]


def _files(shop: TinyShop, table: str) -> set[str]:
    with shop.lake.connect() as connection:
        scan = shop.lake.relation_sql(table).replace(
            "hive_partitioning=false", "hive_partitioning=false, filename=true"
        )
        return {path for (path,) in connection.execute(f"SELECT DISTINCT filename FROM ({scan})").fetchall()}
