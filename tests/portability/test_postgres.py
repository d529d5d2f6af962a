"""The dbt project on PostgreSQL: all tests green there too, and every mart the same as DuckDB's, row for row.

The list of marts is read from dbt's manifest, so a new one is compared as soon as it is there.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from jinja2 import Environment

from cartograph.lake import Lake
from cartograph.settings import Settings
from cartograph.shops import Shop, load_shop
from cartograph.windows import Window
from ecom_assets.attribution.markov import attribute
from ecom_assets.contracts import CONTRACTS
from ecom_assets.ingestion import Batch, load
from ecom_assets.simulator import SimulatedShop, SimulatorConfig
from ecom_assets.warehouse.dbt_project import (
    PROJECT_DIR,
    dbt_environment,
    dbt_executable,
    dbt_home,
    environment_of,
    read_manifest,
)
from ecom_assets.warehouse.lake_views import pinned_views
from ecom_assets.warehouse.marts import Mart, marts
from ecom_assets.warehouse.raw_copy import RawCopyError, attach_postgres, copy_raw
from tests.portability.comparing import content, difference
from tests.support.postgres import NoServerError, postgres_server
from tests.support.whole_run import Bench

CUSTOMERS, SEED, END = 150, 11, "2024-06-01"
MARCH = Window(datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC))
MAY_BE_EMPTY: frozenset[str] = frozenset()
"""Marts without rows in so small a shop. Of such a mart the comparison proves nothing but its columns."""


@dataclass(frozen=True)
class TwoWarehouses:
    """One lake, and what leads dbt to a warehouse over it in DuckDB and in PostgreSQL."""

    settings: Settings
    shop: Shop
    lake: Lake
    server: dict[str, str]

    def target(self, engine: str) -> Path:
        return dbt_home(self.settings) / engine

    def dbt(
        self, engine: str, *arguments: str, window: Window | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        folders = {name: str(self.target(engine)) for name in ("DBT_TARGET_PATH", "DBT_LOG_PATH")}
        chosen = dbt_environment(self.settings, self.shop.datasets, window=window)
        return subprocess.run(
            [dbt_executable(), *arguments, "--target", engine, "--no-use-colors"],
            cwd=PROJECT_DIR,
            env={**os.environ, **self.server, **chosen, **folders, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def build(self, engine: str, window: Window | None = None) -> None:
        proofs = ["--exclude-resource-type", "unit_test"] if window else []  # their rows lie outside the window
        done = self.dbt(engine, "build", *proofs, window=window)
        assert done.returncode == 0, done.stdout

    def results(self, engine: str) -> dict[str, str]:
        """What became of each model and test in the last build."""
        results = json.loads((self.target(engine) / "run_results.json").read_bytes())["results"]
        return {result["unique_id"]: result["status"] for result in results}

    def copy(self) -> dict[str, int]:
        with environment_of(self.server):
            return copy_raw(self.lake, pinned_views(self.lake, self.shop.datasets))

    def marts(self) -> list[Mart]:
        return marts(read_manifest(self.target("postgres")))

    @contextmanager
    def both(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that sees the warehouses as `duckdb` and, writable, `postgres`."""
        with self.lake.connect() as connection, environment_of(self.server):
            connection.execute(f"ATTACH '{self.settings.warehouse_path}' AS duckdb (READ_ONLY)")
            attach_postgres(connection, read_only=False)
            yield connection

    def differences(self) -> list[str]:
        with self.both() as connection:
            compared = (difference(connection, mart, "duckdb", "postgres") for mart in self.marts())
            return [told for told in compared if told]


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    try:
        with postgres_server() as variables:
            yield variables
    except NoServerError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def warehouses(server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> TwoWarehouses:
    """Both warehouses, built whole from the same lake."""
    bench = Bench.with_small_shop(tmp_path_factory.mktemp("shop"), customers=CUSTOMERS, end=END)
    shop, lake = load_shop(bench.settings), Lake.from_settings(bench.settings)
    assert shop.end is not None
    config = SimulatorConfig(customers=CUSTOMERS, seed=SEED, start=shop.start, end=shop.end)
    source, batch = SimulatedShop(config), Batch(datetime(2024, 6, 1, tzinfo=UTC), "portability")
    windows = shop.windows("monthly", datetime(2024, 6, 1, tzinfo=UTC))
    for contract in CONTRACTS.values():
        load(lake, source, contract, windows, shop_window=shop.span, grain="monthly", batch=batch)
    both = TwoWarehouses(bench.settings, shop, lake, server)
    assert both.copy()["raw.orders"] == lake.row_count("raw.orders") > 0
    both.build("duckdb")
    both.build("postgres")
    return both


def test_the_same_models_and_tests_succeed_on_both(warehouses: TwoWarehouses) -> None:
    assert warehouses.results("postgres") == warehouses.results("duckdb")
    assert set(warehouses.results("postgres").values()) == {"success", "pass", "no-op"}  # exposures do nothing


def test_raw_tables_have_the_contracts_types(warehouses: TwoWarehouses) -> None:
    with warehouses.both() as connection:
        found = connection.sql(
            """
            SELECT column_name, data_type, numeric_precision, numeric_scale FROM postgres_query(
                'postgres',
                'SELECT column_name::text, data_type::text, numeric_precision::int, numeric_scale::int
                FROM information_schema.columns WHERE table_schema = ''raw'''
            )
            """
        ).fetchall()
    types = {name: (kind, precision, scale) for name, kind, precision, scale in found}
    assert types["order_id"] == ("character varying", None, None)
    assert types["ordered_at"] == ("timestamp with time zone", None, None)
    assert types["total_amount"] == ("numeric", 18, 2)
    assert types["list_price"] == ("numeric", 18, 4)
    assert types["quantity"] == ("bigint", 64, 0)
    assert types["discount_pct"] == ("double precision", 53, None)
    assert types["is_active"] == ("boolean", None, None)
    assert types["snapshot_date"] == ("date", None, None)


def test_every_mart_has_the_same_content_on_both(warehouses: TwoWarehouses) -> None:
    assert len(warehouses.marts()) >= 10
    assert not (found := warehouses.differences()), "\n" + "\n".join(found)
    with warehouses.both() as connection:
        rows = {mart.name: content(connection, f"postgres.{mart.relation}")[0] for mart in warehouses.marts()}
    assert {name for name, count in rows.items() if count == 0} <= MAY_BE_EMPTY


def test_the_markov_effects_of_both_engines_paths_are_the_same(warehouses: TwoWarehouses) -> None:
    """They are reckoned in Python, from the marts of whichever engine: `published/markov_attribution`."""
    with warehouses.both() as connection:
        duckdb_s, postgres_s = (
            attribute(connection, f"FROM {side}.marts.order_touches", f"FROM {side}.marts.abandoned_touches")
            for side in ("duckdb", "postgres")
        )
    assert duckdb_s.num_rows > 1
    assert sum(duckdb_s["credit_share"].to_pylist()) == pytest.approx(1)
    assert postgres_s.equals(duckdb_s), f"{postgres_s.to_pylist()}\n{duckdb_s.to_pylist()}"


def test_a_window_that_was_lost_is_rebuilt_from_a_fresh_copy_as_it_was(warehouses: TwoWarehouses) -> None:
    with warehouses.both() as connection:
        for mart in warehouses.marts():
            if time := mart.contract.event_time:
                lost = f"{time} >= DATE '{MARCH.start:%Y-%m-%d}' AND {time} < DATE '{MARCH.end:%Y-%m-%d}'"
                connection.execute(f"DELETE FROM postgres.{mart.relation} WHERE {lost}")
    assert any(told.startswith("fct_orders: ") and "only in duckdb" in told for told in warehouses.differences())
    warehouses.copy()  # drops dbt's staging with the tables it stands on
    warehouses.build("postgres", MARCH)
    assert not (found := warehouses.differences()), "\n" + "\n".join(found)


def test_a_ratio_has_the_same_bits_on_both(warehouses: TwoWarehouses) -> None:
    """Also where six decimals lie halfway between two, and where a double has no digits left to tell."""
    sql = (PROJECT_DIR / "macros" / "ratio.sql").read_text()
    macro = Environment().from_string(sql).module.ratio  # noqa: S701  (SQL, not HTML)
    ratio = macro("amount", "parts")
    amounts = """
        SELECT CAST((i * 7919 % 100003) * power(10, i % 8) / 100 AS DECIMAL(18, 2)) AS amount,
            [1, 3, 32, 96, 640, 3200, 0, -7][i % 8 + 1] AS parts
        FROM range(50000) AS r (i)
    """
    with warehouses.both() as connection:
        connection.execute(f"CREATE TABLE postgres.ratios AS {amounts}")
        differing = f"""
            (SELECT amount, parts, {ratio} AS r FROM postgres.ratios)
            EXCEPT ALL
            FROM postgres_query('postgres', 'SELECT amount, parts, {ratio} AS r FROM ratios')
        """
        assert connection.sql(differing).fetchall() == []


def test_a_server_that_is_not_there_is_named_with_the_cure(warehouses: TwoWarehouses, tmp_path: Path) -> None:
    views = pinned_views(warehouses.lake, warehouses.shop.datasets)
    with environment_of({"PGHOST": str(tmp_path)}), pytest.raises(RawCopyError, match="PGHOST"):
        copy_raw(warehouses.lake, views)


def test_a_session_that_would_give_other_days_is_refused(warehouses: TwoWarehouses) -> None:
    done = warehouses.dbt("postgres", "run", "--select", "dim_dates", PGTZ="Europe/Berlin")
    assert done.returncode != 0
    assert "PGTZ=UTC" in done.stdout
