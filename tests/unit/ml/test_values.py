"""Scores of predicted amounts, on values whose scores are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ml_assets.core.evaluation.values import chance_of_total, evaluate, normalised_gini

amounts = arrays.arrays(np.float64, st.integers(1, 40), elements=st.integers(0, 1000).map(float))


def test_known_scores():
    found = evaluate(np.array([0.0, 10.0, 30.0, 60.0]), np.array([10.0, 10.0, 20.0, 50.0]))
    assert found[:6] == (4, 90.0, 100.0, 0.9, 7.5, pytest.approx(0.475 / 0.5))
    assert [b.rows for b in found.bins] == [1, 1, 1, 1]
    assert found.bins[-1][1:] == (50.0, 60.0)


@given(amounts)
def test_a_perfect_ranking_has_a_gini_of_one_and_its_reverse_of_minus_one(actual):
    expected = 1.0 if len(np.unique(actual)) > 1 else 0.0
    assert normalised_gini(actual, actual) == pytest.approx(expected)
    assert normalised_gini(actual, -actual) == pytest.approx(-expected)
    assert normalised_gini(actual, np.zeros(len(actual))) == pytest.approx(0.0, abs=1e-12)


@given(amounts, st.floats(0.01, 1000))
def test_the_ranking_knows_no_scale(actual, factor):
    order = np.arange(len(actual), dtype=np.float64)
    assert normalised_gini(actual, order * factor) == pytest.approx(normalised_gini(actual, order))


def test_nothing_that_came_has_no_ratio():
    found = evaluate(np.zeros(3), np.ones(3))
    assert np.isnan(found.total_ratio)
    assert found.gini == 0


def test_a_sum_that_is_right_on_average_misses_by_more_than_chance_one_time_in_twenty():
    draw = np.random.default_rng(7)
    expected = draw.gamma(0.3, 400.0, 1_000)
    missed = 0
    for _ in range(1_000):
        came = expected * draw.gamma(0.5, 2.0, len(expected))
        missed += abs(expected.sum() / came.sum() - 1) > chance_of_total(came, expected)
    assert 25 <= missed <= 80


def test_of_four_times_as_many_rows_the_sum_is_half_as_uncertain():
    came, expected = np.array([0.0, 10.0, 30.0, 60.0]), np.array([10.0, 10.0, 20.0, 50.0])
    once = chance_of_total(came, expected)
    assert chance_of_total(np.tile(came, 4), np.tile(expected, 4)) == pytest.approx(once / 2)
    assert chance_of_total(np.zeros(3), np.ones(3)) == np.inf
