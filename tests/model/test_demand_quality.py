"""The demand forecast on the simulated shop, against one who knows what each product is wanted by on each day."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

import dagster as dg
import duckdb
import numpy as np
import pyarrow as pa
import pytest

from benchmarks.support import oracles
from ecom_assets.simulator.config import SimulatorConfig
from ecom_assets.simulator.goods import inventory_rows
from ecom_assets.simulator.orders import item_rows
from ecom_assets.simulator.world import World
from ml_assets.core.evaluation.forecasting import origins, point_scores, window
from ml_assets.core.features.daily_demand import daily_demand
from ml_assets.core.models.demand import daily, training
from ml_assets.core.models.demand.forecaster import Forecaster, fit
from ml_assets.defs.training.demand_forecaster import judge

START, END = date(2024, 1, 1), date(2026, 1, 1)
HORIZON = 14


class Shop(NamedTuple):
    """What a model gets of the shop, and the demand expected by one who knows the truth: products × days."""

    demand: daily.Demand
    oracle: np.ndarray


@pytest.fixture(scope="module")
def shop() -> Shop:
    """A shop of 5,000 customers; its oracle even knows how many orders each day will have."""
    world = World(SimulatorConfig(customers=5000, seed=11, start=START, end=END))
    calendar = world.calendar
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        register(con, "items", item_rows(world, calendar.start, calendar.end).columns)
        register(con, "stock", inventory_rows(world, calendar.start, calendar.end).columns)
        marts = {
            "fct_order_items": """
                SELECT order_id, product_id, product_id AS product_key, CAST(ordered_at AS DATE) AS order_date,
                    quantity, quantity * unit_price AS gross_amount, discount_amount FROM items""",
            "fct_inventory_daily": "SELECT *, product_id AS product_key FROM stock",
            "dim_products": "SELECT DISTINCT product_id AS product_key, 'goods' AS category FROM stock",
        }
        con.register("daily_rows", daily_demand(con, marts, START, END))
        con.execute("CREATE TABLE days AS SELECT DATE '2024-01-01' AS date_day, true AS is_holiday")
        tables = {"daily_demand": "SELECT * FROM daily_rows", "dim_dates": "SELECT * FROM days"}
        demand = daily.read(con, tables, END, HORIZON)
    return Shop(demand, oracles.demand(world))


def register(con: duckdb.DuckDBPyConnection, name: str, columns: Any) -> None:
    con.register(name, pa.table(columns))


@pytest.fixture(scope="module")
def trained(shop: Shop) -> training.Trained:
    return training.train(shop.demand, HORIZON)


def test_it_passes_its_checks(trained: training.Trained) -> None:
    assert [check.check_name for check in judge(trained) if not check.passed] == []
    assert 0.85 <= trained.coverage <= 0.95


def test_a_forecast_of_other_products_fails_the_check_that_blocks(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    true = Forecaster.predict

    def mixed_up(self: Forecaster, panel: Any, origin: int) -> Any:
        forecast = true(self, panel, origin)
        return replace(forecast, mean=forecast.mean[::-1], scale=forecast.scale[::-1])

    monkeypatch.setattr(Forecaster, "predict", mixed_up)
    checks = {check.check_name: check for check in judge(training.train(shop.demand, HORIZON))}
    assert not checks["beats_baselines"].passed
    assert checks["beats_baselines"].severity == dg.AssetCheckSeverity.ERROR


@pytest.mark.parametrize("until", [END, date(2025, 9, 1), date(2025, 5, 1)])
def test_it_closes_more_than_half_of_the_gap_between_last_week_and_the_truth(shop: Shop, until: date) -> None:
    panel, last = shop.demand.panel, (until - START).days
    starts = origins(last, HORIZON, training.WINDOWS)
    windows = [window(panel.quantity, start, HORIZON, season=7, recent=28) for start in starts]
    model = fit(panel, starts[0], HORIZON, training.PARAMETERS)
    naive = np.nan_to_num(np.stack([panel.quantity[:, start - 7 : start] for start in starts]))
    scores = [
        point_scores(windows, forecasts).weighted_rmsse
        for forecasts in (
            [np.tile(week, 2) for week in naive],
            [model.predict(panel, start).mean for start in starts],
            [shop.oracle[:, start : start + HORIZON] for start in starts],
        )
    ]
    last_week, forecast, oracle = scores
    assert oracle < forecast < last_week
    assert (last_week - forecast) / (last_week - oracle) >= 0.5


def test_a_second_training_gives_the_same_bytes(shop: Shop, trained: training.Trained) -> None:
    again = fit(shop.demand.panel, shop.demand.origin, HORIZON, training.PARAMETERS)
    assert again.to_text() == trained.model.to_text()
    assert Forecaster.from_text(again.to_text()) == again


def test_days_that_could_not_be_sold_are_not_learned_as_days_without_demand(shop: Shop) -> None:
    panel = shop.demand.panel
    unknown = panel.offered & np.isnan(panel.quantity)
    assert 0.002 < unknown.mean() < 0.05
    assert (panel.quantity[:, : shop.demand.origin] > 0).any(axis=1).all()
