"""Marts from the warehouse to the lake."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cartograph.contracts import Column, Contract
from cartograph.lake import Lake, SchemaConflict
from cartograph.settings import Settings, load_settings
from cartograph.windows import Window, windows
from ecom_assets.defs.publishing.published import rows_match_mart
from ecom_assets.warehouse.marts import Mart
from ecom_assets.warehouse.publishing import (
    WarehouseHeldError,
    WarehouseMissingError,
    differing_keys,
    lacking_tables,
    mart_totals,
    open_warehouse,
    publish,
    published_totals,
    relations,
    unaskable_tests,
)
from tests.unit.warehouse.making import tiny_shop

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)
MONTHS = list(windows(START, END, "monthly"))


def make_mart(event_time: str | None) -> Mart:
    columns = (
        Column(name="id", type="bigint", description="The key."),
        Column(name="happened_at", type="timestamp", description="When."),
        Column(name="happened_on", type="date", description="Which day."),
        Column(name="amount", type="money", description="How much.", nullable=True),
    )
    return Mart(
        "fct",
        "marts.fct",
        Contract(dataset="fct", grain="A row.", columns=columns, key=("id",), event_time=event_time),
        "sales",
    )


def write_warehouse(settings: Settings, moments: list[datetime]) -> None:
    settings.shop_home.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(settings.warehouse_path) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE SCHEMA IF NOT EXISTS marts")
        connection.execute(
            "CREATE OR REPLACE TABLE marts.fct"
            "(id BIGINT, happened_at TIMESTAMPTZ, happened_on DATE, amount DECIMAL(18,2))"
        )
        for number, moment in enumerate(moments):
            connection.execute("INSERT INTO marts.fct VALUES (?, ?, ?, ?)", [number, moment, moment.date(), number / 4])


def published(lake: Lake) -> list[tuple[object, ...]]:
    with lake.connect() as connection:
        return connection.execute(f"SELECT * FROM ({lake.relation_sql('published.fct')}) ORDER BY id").fetchall()


def in_warehouse(settings: Settings) -> list[tuple[object, ...]]:
    with open_warehouse(settings) as connection:
        return connection.execute("SELECT * FROM marts.fct ORDER BY id").fetchall()


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    return tiny_shop(tmp_path)


@hypothesis_settings(max_examples=8)
@given(
    minutes=st.lists(st.integers(0, 91 * 24 * 60 - 1), max_size=12),
    event_time=st.sampled_from(["happened_at", "happened_on"]),
    seed=st.integers(0, 99),
)
def test_windows_published_in_any_order_give_the_mart(
    tmp_path_factory: pytest.TempPathFactory, minutes: list[int], event_time: str, seed: int
) -> None:
    settings = tiny_shop(tmp_path_factory.mktemp("shop"))
    write_warehouse(settings, [START + timedelta(minutes=m) for m in minutes])
    lake, mart = Lake.from_settings(settings), make_mart(event_time)
    order = random.Random(seed).sample(MONTHS, k=len(MONTHS))
    with open_warehouse(settings) as warehouse:
        for window in [*order, order[0]]:
            publish(warehouse, lake, mart, grain="monthly", window=window)
            assert published_totals(warehouse, lake, mart, window) == mart_totals(warehouse, mart, window)
    assert published(lake) == in_warehouse(settings)


def test_a_mart_with_a_new_required_column_is_published_anew_by_a_run_over_all(shop: Settings) -> None:
    write_warehouse(shop, [START, START + timedelta(days=40)])
    lake, mart = Lake.from_settings(shop), make_mart("happened_at")
    with open_warehouse(shop) as warehouse:
        publish(warehouse, lake, mart, grain="monthly", window=None)
    with duckdb.connect(shop.warehouse_path) as connection:
        connection.execute("ALTER TABLE marts.fct ADD COLUMN units BIGINT DEFAULT 7")
    added = Column(name="units", type="bigint", description="How many.")
    contract = mart.contract.model_copy(update={"columns": (*mart.contract.columns, added)})
    grown = replace(mart, contract=contract)
    with open_warehouse(shop) as warehouse:
        with pytest.raises(SchemaConflict, match=r"has no column units.*run over the whole history once"):
            publish(warehouse, lake, grown, grain="monthly", window=MONTHS[1])
        assert len(published(lake)) == 2, "nothing is lost by what could not be done"
        publish(warehouse, lake, grown, grain="monthly", window=None)
    assert [row[-1] for row in published(lake)] == [7, 7]


def test_a_window_leaves_the_other_windows_as_they_were(shop: Settings) -> None:
    write_warehouse(shop, [START, START + timedelta(days=40)])
    lake, mart = Lake.from_settings(shop), make_mart("happened_at")
    with open_warehouse(shop) as warehouse:
        publish(warehouse, lake, mart, grain="monthly", window=Window(START, END))
    write_warehouse(shop, [START + timedelta(days=1), START + timedelta(days=41)])
    with open_warehouse(shop) as warehouse:
        done = publish(warehouse, lake, mart, grain="monthly", window=MONTHS[1])
    assert (done.rows, done.table_rows) == (1, 2)
    assert [row[1] for row in published(lake)] == [START, START + timedelta(days=41)]


def test_a_mart_without_windows_is_replaced_whole(shop: Settings) -> None:
    lake, mart = Lake.from_settings(shop), make_mart(None)
    for moments in ([START, END], [START]):
        write_warehouse(shop, moments)
        with open_warehouse(shop) as warehouse:
            done = publish(warehouse, lake, mart, grain="monthly", window=None)
            found = published_totals(warehouse, lake, mart, None)
        assert done.table_rows == found["rows"] == len(moments)
        assert done.snapshot_id == lake.snapshot_id(mart.table)


DAMAGES = {
    "a row is lost": "SELECT * FROM published WHERE id <> 1",
    "a row is there twice": "SELECT * FROM published UNION ALL SELECT * FROM published WHERE id = 1",
    "a cent is lost": "SELECT * REPLACE (CASE WHEN id = 1 THEN amount - 0.01 ELSE amount END AS amount) FROM published",
    "an amount is gone": "SELECT * REPLACE (CASE WHEN id = 1 THEN NULL ELSE amount END AS amount) FROM published",
    "a row is another's": "SELECT * REPLACE (CASE WHEN id = 1 THEN 9 ELSE id END AS id) FROM published",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("window", [None, MONTHS[0]])
def test_what_was_published_is_held_against_the_mart(shop: Settings, damage: str, window: Window | None) -> None:
    write_warehouse(shop, [START + timedelta(days=days) for days in (0, 1, 40)])
    lake, mart = Lake.from_settings(shop), make_mart("happened_at" if window else None)
    with open_warehouse(shop) as warehouse:
        publish(warehouse, lake, mart, grain="monthly", window=None)
        expected = mart_totals(warehouse, mart, window)
        assert published_totals(warehouse, lake, mart, window) == expected
        assert differing_keys(warehouse, lake, mart, window, 10) == []
        assert expected["rows"] == (2 if window else 3)
        assert expected["amount"] == Decimal("0.25" if window else "0.75")
        warehouse.execute(f"CREATE TEMP VIEW published AS {lake.relation_sql(mart.table)}")
        damaged = warehouse.execute(damage).to_arrow_table()
    with lake.overwriting(mart.table, None) as writer:
        writer.write(damaged.cast(mart.contract.arrow_schema()))
    with open_warehouse(shop) as warehouse:
        found = published_totals(warehouse, lake, mart, window)
        assert found != expected
        strays = differing_keys(warehouse, lake, mart, window, 10)
    assert "id=1" in strays
    assert set(strays) <= {"id=1", "id=9"}
    result = rows_match_mart(expected, found, strays)
    assert not result.passed
    assert result.metadata["samples"].value == strays


def test_totals_that_differ_are_told_and_no_others() -> None:
    expected = {"rows": 1200, "amount": Decimal("1234.50"), "quantity": 7}
    result = rows_match_mart(expected, expected | {"amount": Decimal("1234.49")}, ["id=1"])
    assert result.description == (
        "in the lake rows 1,200, amount 1,234.49; expected: in the warehouse rows 1,200, amount 1,234.50"
    )
    assert rows_match_mart(expected, expected, []).description == "in the lake rows 1,200, amount 1,234.50, quantity 7"


def test_a_warehouse_or_mart_that_is_not_built_is_named_with_the_cure(shop: Settings) -> None:
    with (
        pytest.raises(WarehouseMissingError, match=r"no warehouse at .*warehouse\.duckdb.*cartograph run"),
        open_warehouse(shop),
    ):
        pass
    write_warehouse(shop, [])
    with duckdb.connect(shop.warehouse_path) as connection:
        connection.execute("DROP TABLE marts.fct")
    with (
        open_warehouse(shop) as warehouse,
        pytest.raises(WarehouseMissingError, match=r"marts\.fct is not in the warehouse\. Build marts/fct") as told,
    ):
        publish(warehouse, Lake.from_settings(shop), make_mart(None), grain="monthly", window=None)
    assert told.value.__cause__ is None, "a run tells the first cause, which was DuckDB's SQL"


MANIFEST = {
    "nodes": {
        name: {"resource_type": "model", "schema": "marts", "alias": name, "config": {"event_time": time}}
        for name, time in (("fct_orders", "ordered_at"), ("fct_refunds", "refunded_at"), ("dim_dates", None))
    }
}


def test_the_tables_that_a_window_alone_would_not_fill_are_known(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    settings.shop_home.mkdir(parents=True)
    assert lacking_tables(MANIFEST, relations(settings)) == ["marts.fct_orders", "marts.fct_refunds"], "no warehouse"
    with duckdb.connect(settings.warehouse_path) as connection:
        connection.execute("CREATE SCHEMA marts; CREATE TABLE marts.fct_orders (order_id VARCHAR)")
        connection.execute("CREATE VIEW marts.dim_dates AS SELECT 1 AS day")
    assert relations(settings) == {"marts.fct_orders", "marts.dim_dates"}
    assert lacking_tables(MANIFEST, relations(settings)) == ["marts.fct_refunds"]


@pytest.mark.parametrize(
    ("selected", "there", "unaskable"),
    [
        ((), (), []),
        (("orders",), (), ["of_days"]),
        (("orders", "days"), (), []),
        (("orders",), ("marts.dim_dates",), []),
        ((), ("marts.fct_orders", "marts.dim_dates"), []),
    ],
)
def test_a_test_of_what_is_built_is_asked_where_each_of_its_models_is_there_or_built(
    selected: tuple[str, ...], there: tuple[str, ...], unaskable: list[str]
) -> None:
    models = {"orders": "fct_orders", "days": "dim_dates"}
    tests = {"of_orders": ["orders", "source.orders"], "of_days": ["orders", "days"]}
    nodes = {
        **{name: {"resource_type": "model", "schema": "marts", "alias": alias} for name, alias in models.items()},
        **{name: {"resource_type": "test", "name": name, "depends_on": {"nodes": on}} for name, on in tests.items()},
    }
    assert unaskable_tests({"nodes": nodes}, selected, there) == unaskable


def test_a_warehouse_that_another_process_holds_is_named(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    settings.shop_home.mkdir(parents=True)
    hold = (
        f"import duckdb, sys; c = duckdb.connect({str(settings.warehouse_path)!r}); print('held', flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(WarehouseHeldError, match=rf"warehouse.duckdb cannot be opened.*PID {holder.pid}"):
            relations(settings)
        holder.communicate(b"\n")
