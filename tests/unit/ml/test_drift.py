"""Drift: what each statistic sees, what it leaves alone, and when a date's shift is unusual."""

from __future__ import annotations

from datetime import date, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ml_assets.core.evaluation.drift import domain_shift, kolmogorov_smirnov, population_stability
from ml_assets.core.monitoring import input_drift

ALARM = 0.001
columns = arrays.arrays(np.float32, st.integers(20, 60), elements=st.floats(-1e3, 1e3, width=32))


def samples(seed: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """3,000 and 2,000 rows of 20 normal columns, one of them shifted by so many standard deviations."""
    draw = np.random.default_rng(seed)
    before, now = (draw.normal(size=(rows, 20)).astype(np.float32) for rows in (3000, 2000))
    now[:, 3] += shift
    return before, now


def test_a_shift_that_the_stability_index_misses_is_seen_in_nine_of_ten_draws():
    drawn = [samples(seed, 0.3) for seed in range(20)]
    assert np.mean([domain_shift(*pair).p_value < ALARM for pair in drawn]) >= 0.9
    assert np.mean([population_stability(before[:, 3], now[:, 3]) for before, now in drawn]) < 0.1


def test_without_a_shift_there_is_hardly_an_alarm():
    found = [domain_shift(*samples(seed, 0.0)) for seed in range(100, 140)]
    assert sum(one.p_value < ALARM for one in found) <= 1
    assert np.mean([one.auc for one in found]) == pytest.approx(0.5, abs=0.01)


@given(columns)
def test_a_column_does_not_differ_from_itself(column):
    assert population_stability(column, column) == pytest.approx(0)
    assert kolmogorov_smirnov(column, column) == pytest.approx(0)


@given(columns, columns)
def test_what_differs_is_above_zero_and_order_changes_nothing(one, other):
    assert population_stability(one, other) >= 0
    assert 0 <= kolmogorov_smirnov(one, other) <= 1
    shuffled = np.random.default_rng(1).permutation(other)
    assert population_stability(one, shuffled) == pytest.approx(population_stability(one, other))


def test_by_hand():
    """Tenths of 0 … 99 hold ten each; half a row is added to each, and to the nulls."""
    reference, current = np.arange(100, dtype=np.float32), np.full(100, 5, np.float32)
    before = np.array([10.5] * 10 + [0.5]) / 105.5
    now = np.array([100.5] + [0.5] * 10) / 105.5
    assert population_stability(reference, current) == pytest.approx(
        float(((now - before) * np.log(now / before)).sum())
    )
    assert kolmogorov_smirnov(reference, current) == pytest.approx(0.94)


def test_what_went_missing_is_seen():
    column = np.random.default_rng(0).normal(size=500).astype(np.float32)
    gone = np.where(np.arange(500) % 2 == 0, np.nan, column).astype(np.float32)
    assert population_stability(column, gone) > 1
    assert population_stability(np.full(500, np.nan, np.float32), column) > 1
    assert kolmogorov_smirnov(np.full(500, np.nan, np.float32), column) == 0


def test_a_column_without_values_tells_nothing_apart():
    before, now = samples(7, 0.0)
    before[:, 5] = now[:, 5] = np.nan
    assert domain_shift(before, now).p_value > ALARM
    now[:, 5] = 1
    assert domain_shift(before, now).auc == 1


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="four rows"):
        domain_shift(np.zeros((3, 2), np.float32), np.zeros((50, 2), np.float32))


def shop(dates: int, latest: str = "spend") -> str:
    """Features of a steady shop on so many monthly dates; on the last, `latest` is what the shop says is its spend."""
    con_dates = ", ".join(f"DATE '{date(2024, 1, 1) + timedelta(days=30 * month)}'" for month in range(dates))
    last = date(2024, 1, 1) + timedelta(days=30 * (dates - 1))
    return f"""
        SELECT customer_id, as_of_date, recency_days, tenure_days, orders,
            CASE WHEN as_of_date = DATE '{last}' THEN {latest} ELSE spend END AS spend
        FROM (
            SELECT 'c' || n AS customer_id, unnest([{con_dates}]) AS as_of_date,
                CAST(hash(n, as_of_date) % 150 AS BIGINT) AS recency_days,
                CAST(date_diff('day', DATE '2023-12-01', as_of_date) AS BIGINT) AS tenure_days,
                CAST(hash(n, as_of_date, 1) % 9 AS BIGINT) AS orders,
                CAST(hash(n, as_of_date, 2) % 1000 AS DOUBLE) AS spend
            FROM range(400) t(n)
        )"""


def drift(select: str) -> pa.Table:
    with duckdb.connect() as con:
        dates = [row[0] for row in con.execute(f"SELECT DISTINCT as_of_date FROM ({select}) ORDER BY 1").fetchall()]
        return input_drift.drift(con, select, dates)


def test_a_steady_shop_is_usual_though_its_customers_get_older():
    found = input_drift.judge(drift(shop(14)))
    assert found is not None
    assert found.limit is not None
    assert found.is_usual
    assert found.auc < 0.6


def test_a_feature_that_is_counted_twice_is_unusual_and_named_first():
    found = input_drift.judge(drift(shop(14, latest="2 * spend")))
    assert found is not None
    assert not found.is_usual
    assert found.most_changed[0][0] == "spend"


def test_one_feature_that_differs_as_never_before_is_unusual_though_all_together_hardly_do():
    table = drift(shop(14, latest="1.5 * spend"))
    half = [None if value is None else 0.5 for value in table["domain_auc"].to_pylist()]
    place = table.column_names.index("domain_auc")
    found = input_drift.judge(table.set_column(place, table.schema.field(place), pa.array(half, pa.float64())))
    assert found is not None
    assert (found.is_usual, found.unusual) == (False, ("spend",))


def test_a_feature_that_has_moved_as_much_before_is_usual():
    """It moves with the seasons: half of the dates have half of the spend."""
    often = "hash(n, as_of_date, 2) % (500 * (1 + month(as_of_date) % 2))"
    seasons = shop(14).replace("hash(n, as_of_date, 2) % 1000", often)
    found = input_drift.judge(drift(seasons))
    assert found is not None
    assert found.unusual == ()


def test_a_young_shop_is_not_judged():
    found = input_drift.judge(drift(shop(8)))
    assert found is not None
    assert found.limit is None
    assert input_drift.judge(drift(shop(3))) is None


def test_each_date_has_each_feature_once_and_all_together():
    table = drift(shop(14))
    assert table.schema == input_drift.CONTRACT.arrow_schema()
    assert set(table["feature"].to_pylist()) == {"recency_days", "orders", "spend", input_drift.ALL}
    assert len(table) == len(set(zip(table["as_of_date"].to_pylist(), table["feature"].to_pylist(), strict=True)))
    assert len(pc.unique(table["as_of_date"])) == 14 - input_drift.REFERENCE_DATES
