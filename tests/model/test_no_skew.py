"""One definition of a feature serves training, batch scoring and the API: a row is the same in all three ways.

Training has all dates at once, from marts that have gone on since; batch scoring has one partition, from the marts as
they are on its date; the API has a row as JSON. A row that is made otherwise is stopped by the table's guard.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from api.services.features import GivenFeatures
from cartograph.releases.contents.models import FeatureSpec
from ml_assets.core.features import (
    customers,
    daily_demand,
    interactions,
    leakage,
    order_leakage,
    order_risk,
    products,
)
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.features.customers import column_values
from ml_assets.core.features.definition import FeatureTable
from ml_assets.core.features.order_catalogue import ORDER_RISK
from tests.model.simulated import simulated_marts

FIRST, AS_OF, END = date(2024, 5, 1), date(2024, 6, 1), date(2024, 7, 1)
Marts = Mapping[str, str]
Compute = Callable[[duckdb.DuckDBPyConnection, Marts, list[date]], pa.Table]

OF_DATES: dict[str, Compute] = {
    "customer_features": customers.feature_table,
    "product_features": products.product_table,
    "customer_product_interactions": interactions.interaction_table,
}


@pytest.fixture(scope="module")
def shop() -> tuple[duckdb.DuckDBPyConnection, Marts]:
    con = duckdb.connect(config={"threads": 1})
    con.execute("SET TimeZone = 'UTC'")
    return con, simulated_marts(con, customers=150, end=END, has_events=True, late_rate=0.2)


def of_table(table: str, marts: Marts) -> Marts:
    """The marts that a table is made of."""
    modules = {"customer_features": customers, "product_features": products}
    module = modules.get(table, interactions)
    return {name: marts[name] for name in (*module.REQUIRED_MARTS, *module.OPTIONAL_MARTS) if name in marts}


def on(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


@pytest.mark.parametrize("table", OF_DATES)
def test_a_backfill_has_the_rows_of_a_run_on_the_day(shop, table):
    con, all_marts = shop
    marts, compute = of_table(table, all_marts), OF_DATES[table]
    training = compute(con, marts, [FIRST, AS_OF, END])
    batch = compute(con, leakage.cut_off(marts, AS_OF), [AS_OF])
    assert len(batch) > 20
    assert training.filter(pc.equal(training["as_of_date"], AS_OF)).equals(batch)


def test_the_days_of_a_panel_are_the_same_in_a_backfill_and_in_a_run_of_its_month(shop):
    con, all_marts = shop
    marts = {name: all_marts[name] for name in daily_demand.REQUIRED_MARTS}
    training = daily_demand.daily_demand(con, marts, date(2024, 1, 1), END)
    cut = leakage.cut_off({name: marts[name] for name in ("dim_products", "fct_order_items")}, AS_OF)
    batch = daily_demand.daily_demand(con, {**marts, **cut}, FIRST, AS_OF)
    of_month = pc.and_(pc.greater_equal(training["demand_date"], FIRST), pc.less(training["demand_date"], AS_OF))
    assert len(batch) > 20
    assert training.filter(of_month).equals(batch)


def test_an_order_is_the_same_in_a_backfill_in_a_run_of_its_month_and_at_the_checkout(shop):
    con, marts = shop
    training = order_risk.risk_table(con, marts, date(2024, 1, 1), END)
    of_month = pc.and_(pc.greater_equal(training["order_date"], FIRST), pc.less(training["order_date"], AS_OF))
    batch = order_risk.risk_table(con, marts, FIRST, AS_OF)
    assert training.filter(of_month).equals(batch)
    placed = batch.sort_by("ordered_at").slice(len(batch) // 2, 1)
    moment = placed["ordered_at"][0].as_py()
    checkout = order_risk.risk_table(con, order_leakage.cut_off(marts, moment), moment.date(), AS_OF)
    assert checkout.filter(pc.equal(checkout["order_id"], placed["order_id"][0])).equals(placed)


@pytest.mark.parametrize("table", [CUSTOMER_FEATURES, ORDER_RISK], ids=lambda table: table.name)
def test_a_model_is_given_the_same_numbers_by_the_api_as_in_training(shop, table: FeatureTable):
    con, marts = shop
    if table is ORDER_RISK:
        rows = order_risk.risk_table(con, marts, FIRST, END)
        names = [feature.name for feature in table.features]
    else:
        rows = customers.feature_table(con, of_table(table.name, marts), [AS_OF])
        names = [feature.name for feature in table.features if feature.name in rows.schema.names]
    given = GivenFeatures([FeatureSpec.model_validate(spec) for spec in table.specs(names)])
    trained_on = column_values(rows, names)
    for row, expected in zip(rows.select(names).to_pylist()[:200], trained_on, strict=False):
        served = given.one(json.dumps({"features": row}).encode()).astype(np.float32)  # as a model runs on it
        assert np.array_equal(served[0], expected, equal_nan=True)


SKEWS = {
    "customer_features": "SELECT * REPLACE (spend_90d_amount * 100 AS spend_90d_amount)",
    "product_features": "SELECT * REPLACE (coalesce(season_index, 0) AS season_index)",
    "customer_product_interactions": "SELECT * REPLACE (recency_days - 1 AS recency_days)",
}


def stored(con: duckdb.DuckDBPyConnection, rows: pa.Table, change: str) -> str:
    """A SELECT of `rows` as a pipeline would have stored them that computes a feature in another way."""
    con.register("sound_rows", rows)
    con.execute(f"CREATE OR REPLACE TABLE stored_rows AS {change} FROM sound_rows")
    return "FROM stored_rows"


@pytest.mark.parametrize("table", OF_DATES)
def test_a_skewed_feature_is_stopped_by_the_guard(shop, table):
    con, all_marts = shop
    marts, compute = of_table(table, all_marts), OF_DATES[table]
    rows = compute(con, marts, [FIRST, AS_OF])
    assert [found.differing for found in leakage.guard(con, marts, stored(con, rows, "SELECT *"), compute)] == [0, 0]
    assert leakage.guard(con, marts, stored(con, rows, SKEWS[table]), compute)[-1].differing > 0


def test_a_skewed_order_is_stopped_by_the_guard(shop):
    con, marts = shop
    rows = order_risk.risk_table(con, marts, FIRST, END)
    skewed = stored(con, rows, "SELECT * REPLACE (hour_of_day + 1 AS hour_of_day)")
    assert order_leakage.guard(con, marts, skewed, "monthly")[-1].differing > 0


@pytest.mark.parametrize(
    "skew",
    ["ordered_units + 1 AS ordered_units", "mean_price_amount * 1.19 AS mean_price_amount", "0 AS discount_share"],
)
def test_a_skewed_day_of_demand_is_stopped_by_its_reconciliation(shop, skew):
    con, all_marts = shop
    marts = {name: all_marts[name] for name in daily_demand.REQUIRED_MARTS}
    rows = daily_demand.daily_demand(con, marts, FIRST, AS_OF)
    items = marts["fct_order_items"]
    assert daily_demand.differing(con, items, stored(con, rows, "SELECT *"), "monthly", 5)[-1] == []
    assert (
        len(daily_demand.differing(con, items, stored(con, rows, f"SELECT * REPLACE ({skew})"), "monthly", 5)[-1]) == 5
    )
