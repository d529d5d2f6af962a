"""Scores of forecasts: by hand, and what must not change them; the windows of a backtest."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stnp

from ml_assets.core.evaluation.forecasting import coverage, origins, pinball, point_scores, window

QUANTITIES = stnp.arrays(np.float64, (3, 30), elements=st.integers(0, 50).map(float))


def test_scores_are_those_worked_out_by_hand():
    quantity = np.array([[2.0, 4.0, 2.0, 4.0, 5.0, 3.0], [10.0, 10.0, 20.0, 20.0, 20.0, 26.0]])
    past = window(quantity, 4, 2, season=2, recent=2)
    assert past.squared_scale == pytest.approx([4.0, 100 / 3])
    assert past.absolute_scale == pytest.approx([0.0, 10.0])
    assert past.weight == pytest.approx([6.0, 40.0])
    scores = point_scores([past], [np.array([[4.0, 4.0], [20.0, 20.0]])])
    first, second = np.sqrt(1 / 4), np.sqrt(18 / (100 / 3))
    assert scores.rmsse == pytest.approx((first + second) / 2)
    assert scores.weighted_rmsse == pytest.approx((6 * first + 40 * second) / 46)
    assert scores.mase == pytest.approx(0.3), "the first series repeats its season exactly, so has no scale"
    assert scores.wape == pytest.approx(8 / 54)
    assert scores.bias == pytest.approx(-6 / 54)


def test_what_was_not_observed_and_leading_zeros_count_nowhere():
    quantity = np.array([[0.0, 0.0, 3.0, 5.0, 3.0, np.nan, 4.0]])
    past = window(quantity, 5, 2, season=1, recent=5)
    assert past.squared_scale == pytest.approx([4.0]), "from the first sale on"
    assert point_scores([past], [np.array([[99.0, 4.0]])]).wape == 0.0


def test_scores_over_windows_are_means_of_theirs():
    quantity = np.array([[1.0, 3.0, 1.0, 3.0, 2.0, 4.0]])
    windows = [window(quantity, origin, 1, season=1, recent=2) for origin in origins(6, 1, 2)]
    forecasts = [np.array([[4.0]]), np.array([[4.0]])]
    one, two = (point_scores([w], [f]).weighted_rmsse for w, f in zip(windows, forecasts, strict=True))
    assert point_scores(windows, forecasts).weighted_rmsse == pytest.approx((one + two) / 2)
    assert two == 0.0 < one


@given(quantity=QUANTITIES, factor=st.sampled_from([0.001, 3.0, 1000.0]))
@settings(max_examples=50)
def test_scores_know_no_unit_and_no_order_of_series(quantity, factor):
    quantity[:, :2] = [1.0, 2.0]
    forecast = np.full((3, 7), 10.0)
    plain = point_scores([window(quantity, 23, 7, season=7, recent=14)], [forecast])
    scaled = point_scores([window(quantity * factor, 23, 7, season=7, recent=14)], [forecast * factor])
    turned = point_scores([window(quantity[::-1], 23, 7, season=7, recent=14)], [forecast[::-1]])
    np.testing.assert_allclose(scaled, plain, rtol=1e-9)
    np.testing.assert_allclose(turned, plain, rtol=1e-9)


@given(quantity=QUANTITIES)
@settings(max_examples=50)
def test_scales_and_weights_know_nothing_after_the_origin(quantity):
    later = quantity.copy()
    later[:, 20:] = 7.0
    one, two = (window(values, 20, 5, season=7, recent=7) for values in (quantity, later))
    for name in ("squared_scale", "absolute_scale", "weight"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


@given(
    actual=stnp.arrays(np.float64, (1, 40), elements=st.floats(0, 100)),
    level=st.sampled_from([0.05, 0.5, 0.9]),
    other=st.floats(0, 100),
)
@settings(max_examples=50)
def test_no_constant_has_less_pinball_loss_than_the_quantile(actual, level, other):
    best = np.quantile(actual, level, method="inverted_cdf")
    assert pinball(actual, {level: np.full((1, 40), best)}) <= pinball(actual, {level: np.full((1, 40), other)}) + 1e-9


def test_coverage_counts_the_bounds_as_inside():
    actual = np.array([[1.0, 2.0, 3.0, np.nan, 5.0]])
    assert coverage(actual, np.full((1, 5), 1.0), np.full((1, 5), 3.0)) == 0.75


@given(periods=st.integers(20, 500), horizon=st.integers(1, 6), count=st.integers(1, 3))
def test_windows_of_a_backtest_end_with_the_data_and_do_not_overlap(periods, horizon, count):
    found = origins(periods, horizon, count)
    assert found[-1] + horizon == periods
    assert [later - earlier for earlier, later in pairwise(found)] == [horizon] * (count - 1)
