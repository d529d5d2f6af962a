"""Backtests: which past dates they take, what was known at each, and when they warn."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.core.models import churn, classifier, clv
from ml_assets.core.models.training import fit_calibrated
from ml_assets.core.monitoring.backtests import POINTS, of_classifier, of_values, past_splits
from ml_assets.core.monitoring.quality import RECIPE, Figure, Point, contract, latest, rows_of
from ml_assets.core.own_models.form import own_model
from ml_assets.core.own_models.question import question
from ml_assets.core.registry import CHAMPION
from ml_assets.defs.monitoring.backtests import BEATS_THROUGHOUT
from ml_assets.defs.monitoring.quality import judge

START = date(2024, 1, 1)
SILENT, SPENDING = 400, 600


def months(number: int) -> list[date]:
    return [START + timedelta(days=30 * month) for month in range(1, number + 1)]


@given(number=st.integers(0, 40))
@settings(max_examples=40)
def test_a_backtest_trains_on_what_was_known_then_and_leaves_todays_date_to_the_training(number):
    dates = months(number)
    end = dates[-1] if dates else START
    found = past_splits(churn.QUESTION, dates, data_start=START, data_end=end)
    assert len(found) <= POINTS
    holdouts = [one.holdout for one in found]
    assert holdouts == sorted(set(holdouts))
    horizon = timedelta(days=churn.HORIZON_DAYS)
    assert all(day + horizon <= one.holdout for one in found for day in one.training)
    if found:
        assert classifier.split(churn.QUESTION, dates, data_start=START, data_end=end).holdout not in holdouts
    if number >= 20:
        assert len(found) == POINTS


class Shop:
    """Customers who on each of the dates have been silent for some days; the silent ones hardly order again."""

    def __init__(self, dates: list[date]) -> None:
        draw = np.random.default_rng(3)
        rows, orders = [], []
        for as_of in dates:
            for number in range(SILENT + SPENDING):
                silent = number < SILENT
                recency = int(draw.integers(40, 170) if silent else draw.integers(1, 120))
                rows.append((f"c{number}", as_of, recency, int(draw.integers(1, 4) if silent else draw.integers(2, 9))))
                if draw.random() < (0.15 if silent else 0.8):
                    moment = datetime.combine(as_of, datetime.min.time(), UTC) + timedelta(days=int(draw.integers(90)))
                    orders.append((f"c{number}", moment, False))
        self.con = duckdb.connect()
        self.con.execute("SET TimeZone = 'UTC'")
        names = ["customer_id", "as_of_date", "recency_days", "orders_count"]
        self.con.register("features", pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))))
        names = ["customer_id", "ordered_at", "is_cancelled"]
        self.con.register("orders", pa.table(dict(zip(names, map(list, zip(*orders, strict=True)), strict=True))))


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop(months(16))


def test_the_curve_has_a_point_for_each_past_date_and_passes(shop):
    dates = months(16)
    tables = {"customer_features": "FROM features", "fct_orders": "FROM orders"}
    points = of_classifier(churn.QUESTION, shop.con, tables, dates, data_start=START, data_end=dates[-1])
    made = contract("churn_backtest", "A past date.")
    table = made.arrow_table(rows_of(RECIPE, points))
    assert table.schema == made.arrow_schema()
    aucs = table.filter(pc.equal(table["metric"], "auc")).to_pylist()
    assert len(aucs) == POINTS
    assert all(row["low"] < row["value"] < row["high"] for row in aucs)
    assert judge(BEATS_THROUGHOUT, latest(table, RECIPE, 3), "past dates").passed
    rows = table.filter(pc.equal(table["metric"], "training_rows")).sort_by("as_of_date")["value"].to_pylist()
    assert rows == sorted(rows)


def own_question(**content: object) -> classifier.Question:
    """Who orders within 30 days, as the file of a shop's own model asks it."""
    target = {"events": "select customer_id, ordered_at as happened_at from fct_orders", "within_days": 30}
    given = {"name": "mine", "description": "Who orders.", "owner": "team:shop", "target": target, **content}
    return question(own_model({"estimator": {"path": "sklearn.linear_model.LogisticRegression"}, **given}))


def days_of_orders(_: duckdb.DuckDBPyConnection, tables: Mapping[str, str]) -> str:
    return f"SELECT customer_id, CAST(ordered_at AS DATE) AS day FROM ({tables['fct_orders']}) WHERE NOT is_cancelled"


def test_a_shops_own_model_is_tried_with_its_own_estimator_measure_and_margin(shop, monkeypatch):
    fitted = []
    monkeypatch.setattr(
        classifier, "fit_calibrated", lambda *given: fitted.append(given[-1][-1]) or fit_calibrated(*given)
    )
    asked = own_question(metric="average_precision", margin=0.01, baseline={"feature": "orders_count"})
    dates, tables = months(16), {"customer_features": "FROM features", "fct_orders": "FROM orders"}
    span = {"data_start": START, "data_end": dates[-1]}
    points = list(of_classifier(asked, shop.con, tables, dates, events=days_of_orders, **span))
    assert len(points) == POINTS
    assert {type(one).__name__ for one in fitted} == {"LogisticRegression"}
    for point in points:
        found = {figure.metric: figure for figure in point.figures}
        rule = found["orders_count_rule_average_precision"].value
        assert found["average_precision"].at_least == pytest.approx(rule + 0.01)
        assert found["average_precision"].low < found["average_precision"].value < found["average_precision"].high
        assert found["auc"].at_least is None, "it is told, and the file does not ask for it"


def test_a_past_date_on_which_nothing_tells_customers_apart_or_few_are_asked_of_has_no_point(shop):
    dates, tables = months(16), {"customer_features": "FROM features", "fct_orders": "FROM orders"}
    same = "SELECT * REPLACE (if(as_of_date < DATE '2024-10-01', 1, orders_count) AS orders_count) FROM features"
    span = {"data_start": START, "data_end": dates[-1]}
    asked = own_question(features=["orders_count"])
    found = of_classifier(asked, shop.con, tables | {"customer_features": same}, dates, events=days_of_orders, **span)
    assert 0 < len(list(found)) < POINTS
    few = own_question(population="orders_count = 8 AND recency_days = 3", features=["recency_days"])
    assert not list(of_classifier(few, shop.con, tables, dates, events=days_of_orders, **span))


def test_a_recipe_that_recency_beats_is_told_with_its_dates():
    early, late = months(2)
    points = [
        Point(early, None, 100, (Figure("auc", 0.7, at_least=0.65),)),
        Point(late, None, 100, (Figure("auc", 0.6, at_least=0.65),)),
    ]
    table = contract("churn_backtest", "A past date.").arrow_table(rows_of(RECIPE, points))
    found = judge(BEATS_THROUGHOUT, latest(table, RECIPE, 3), "past dates")
    assert not found.passed
    assert found.metadata["samples"].value == [str(late)]
    assert judge(BEATS_THROUGHOUT, latest(table, CHAMPION, 3), "past dates").passed, "nobody predicted yet"


def test_lifetime_values_are_tried_at_past_dates(shop_of_spenders):
    con, tables = shop_of_spenders
    dates = months(24)
    found = list(of_values(con, tables, dates, data_start=START, data_end=dates[-1]))
    assert len(found) == POINTS
    last = dates[-1] - timedelta(days=clv.HOLDOUT_DAYS)
    assert all(START + timedelta(days=clv.SHORTEST_HISTORY_DAYS) <= point.as_of <= last for point in found)
    by_name = {figure.metric: figure for figure in found[-1].figures}
    assert by_name["revenue_180d_total_ratio"].value == pytest.approx(1, abs=0.2)
    assert by_name["revenue_180d_mae"].value < by_name["revenue_180d_simple_mae"].value


@pytest.fixture
def shop_of_spenders() -> tuple[duckdb.DuckDBPyConnection, dict[str, str]]:
    """500 customers who order at rates of their own until they leave, and their features on each date."""
    draw = np.random.default_rng(5)
    rows = []
    for number in range(500):
        rate, leaves = draw.gamma(2.0, 0.02), draw.uniform(100, 1500)
        day = draw.uniform(0, 60)
        while day < min(leaves, 720):
            moment = datetime.combine(START, datetime.min.time(), UTC) + timedelta(days=day)
            rows.append((f"c{number}", moment, False, round(float(draw.gamma(4, 10)), 2)))
            day += draw.exponential(1 / rate) + 1
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    names = ["customer_id", "ordered_at", "is_cancelled", "total_amount"]
    con.register("orders", pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))))
    con.execute("CREATE TABLE dates AS SELECT unnest($dates::DATE[]) AS as_of_date", {"dates": months(24)})
    con.execute("""
        CREATE TABLE features AS
        SELECT customer_id, as_of_date, count(DISTINCT CAST(ordered_at AS DATE)) AS order_days_count,
            date_diff('day', min(CAST(ordered_at AS DATE)), as_of_date) AS tenure_days,
            date_diff('day', max(CAST(ordered_at AS DATE)), as_of_date) AS recency_days,
            sum(total_amount)::DOUBLE AS spend_amount
        FROM orders JOIN dates ON CAST(ordered_at AS DATE) < as_of_date
        GROUP BY customer_id, as_of_date""")
    items = "SELECT NULL::DOUBLE AS margin_amount, 1.0 AS net_amount, ordered_at, is_cancelled FROM orders"
    return con, {"customer_features": "FROM features", "fct_orders": "FROM orders", "fct_order_items": items}
