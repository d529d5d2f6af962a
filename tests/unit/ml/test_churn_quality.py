"""Churn over time: which past dates a backtest takes, and what became of predictions that were made."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.core.models import churn, classifier
from ml_assets.core.monitoring.churn_quality import BACKTEST, POINTS, REALISED, backtest, past_splits, realised
from ml_assets.defs.monitoring.churn_quality import held, throughout

START = date(2024, 1, 1)
SILENT, SPENDING = 400, 600


def months(number: int) -> list[date]:
    return [START + timedelta(days=30 * month) for month in range(1, number + 1)]


@given(number=st.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_a_backtest_trains_on_what_was_known_then_and_leaves_todays_date_to_the_training(number):
    dates = months(number)
    end = dates[-1] if dates else START
    found = past_splits(dates, data_start=START, data_end=end)
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

    def score(self, as_of: date, probability: str) -> None:
        """Predictions for a date, by SQL of a feature."""
        self.con.execute(f"""
            CREATE OR REPLACE TABLE scores AS
            SELECT customer_id, as_of_date, {probability} AS churn_probability, '7' AS churn_model_version
            FROM features WHERE as_of_date = DATE '{as_of}'""")

    def realised(self, data_end: date) -> pa.Table:
        return realised(self.con, "FROM scores", "FROM features", "FROM orders", data_end)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop(months(16))


def test_the_curve_has_a_point_for_each_past_date_and_passes(shop):
    dates = months(16)
    table = backtest(shop.con, "FROM features", "FROM orders", dates, data_start=START, data_end=dates[-1])
    assert table.schema == BACKTEST.arrow_schema()
    assert len(table) == POINTS
    assert (table["auc"].to_numpy() > table["recency_rule_auc"].to_numpy())[-3:].all()
    assert throughout(table).passed
    assert table["training_rows"].to_pylist() == sorted(table["training_rows"].to_pylist())


def test_a_recipe_that_recency_beats_is_told_with_its_dates():
    worse = pa.table({"as_of_date": months(2), "auc": [0.7, 0.6], "recency_rule_auc": [0.65, 0.65]})
    found = throughout(worse)
    assert not found.passed
    assert found.metadata["samples"].value == [str(months(2)[-1])]


def test_predictions_are_judged_once_their_ninety_days_have_passed(shop):
    as_of = months(10)[-1]
    shop.score(as_of, "CASE WHEN orders_count < 3 THEN 0.75 ELSE 0.25 END")
    known = as_of + timedelta(days=churn.HORIZON_DAYS)
    assert len(shop.realised(known - timedelta(days=1))) == 0
    assert held(shop.realised(known - timedelta(days=1))).passed
    table = shop.realised(known)
    assert table.schema == REALISED.arrow_schema()
    (row,) = table.to_pylist()
    assert (row["as_of_date"], row["churn_model_version"], row["customers"]) == (as_of, "7", SILENT + SPENDING)
    assert row["auc_low"] < row["auc"] < row["auc_high"]


def test_predictions_that_turned_out_wrong_are_told_with_their_version(shop):
    as_of = months(10)[-1]
    shop.score(as_of, "CASE WHEN orders_count < 3 THEN 0.1 ELSE 0.9 END")
    found = held(shop.realised(as_of + timedelta(days=churn.HORIZON_DAYS)))
    assert not found.passed
    assert found.metadata["samples"].value == ["version 7"]
