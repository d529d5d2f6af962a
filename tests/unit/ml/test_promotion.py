"""The gate: which challengers it lets pass, and which never."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.core.evaluation.promotion import (
    FEWEST_ROWS,
    LATENCY_MS,
    MUCH_WORSE,
    STALE_DAYS,
    Contest,
    NotComparable,
    Vector,
    gain,
    judge,
)

ROWS = 2_000
MARGIN = 0.01


def losses(rows: int = ROWS, seed: int = 1) -> Vector:
    """Of the champion: between 0 and 1."""
    return np.random.default_rng(seed).random(rows)


def contest(champion: Vector, challenger: Vector, **given) -> Contest:
    fields = {
        "loss": "squared error",
        "window": (date(2025, 1, 1), date(2025, 4, 1)),
        "margin": MARGIN,
        "miscalibration": (0.02, 0.02),
        "tolerated": 0.05,
        "groups": {},
        "newer_days": 0,
        "latency_ms": 0.1,
    }
    return Contest(champion=champion, challenger=challenger, **(fields | given))


def noisy(seed: int, shift: float) -> Vector:
    """Losses of the champion and noise, that are `shift` larger on average."""
    noise = np.random.default_rng(seed + 1000).normal(0, 0.05, ROWS)
    return losses(seed=seed) + noise - noise.mean() + shift


@given(seed=st.integers(0, 10_000), shift=st.floats(0, 1))
@settings(max_examples=40)
def test_what_is_not_better_is_never_promoted_over_a_fresh_champion(seed, shift):
    found = judge(contest(losses(seed=seed), noisy(seed, shift), newer_days=STALE_DAYS - 1))
    assert found.outcome != "promoted"


@given(seed=st.integers(0, 10_000), shift=st.floats(1.01 * MARGIN, 1), newer=st.integers(0, 1000))
@settings(max_examples=40)
def test_what_is_worse_by_more_than_the_margin_is_never_promoted_however_stale_the_champion(seed, shift, newer):
    assert judge(contest(losses(seed=seed), noisy(seed, shift), newer_days=newer)).outcome == "refused"


@given(seed=st.integers(0, 10_000), newer=st.integers(0, STALE_DAYS - 1))
@settings(max_examples=20)
def test_the_same_model_again_is_kept(seed, newer):
    found = judge(contest(losses(seed=seed), losses(seed=seed), newer_days=newer))
    assert found.outcome == "kept"
    assert found.evidence["gain"] == found.evidence["gain_low"] == found.evidence["gain_high"] == 0


@given(seed=st.integers(0, 10_000), shift=st.floats(0.01, 0.5))
@settings(max_examples=20)
def test_what_is_clearly_better_is_promoted(seed, shift):
    found = judge(contest(losses(seed=seed), noisy(seed, -shift)))
    assert found.outcome == "promoted"
    assert found.reason.startswith("better than the champion: its squared error is")
    assert found.evidence["gain"] == pytest.approx(shift)
    assert found.evidence["rows"] == ROWS


def test_no_worse_is_enough_where_the_champion_is_stale():
    little_worse = contest(losses(), noisy(1, MARGIN / 5), newer_days=STALE_DAYS)
    assert judge(little_worse).outcome == "promoted"
    assert "data are 90 days older" in judge(little_worse).reason
    assert judge(little_worse._replace(newer_days=STALE_DAYS - 1)).outcome != "promoted"


def test_a_gain_that_may_be_chance_is_not_enough():
    few = contest(losses(FEWEST_ROWS), losses(FEWEST_ROWS, seed=3) * 0.98)
    assert judge(few).outcome == "kept"
    assert judge(few).evidence["gain_low"] < 0


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"miscalibration": (0.02, 0.06)}, "miscalibrated by 0.060: 0.05 is tolerated"),
        ({"miscalibration": (0.02, float("nan"))}, "miscalibrated by nan"),
        ({"latency_ms": LATENCY_MS + 1}, "one prediction takes 21.0 ms"),
    ],
)
def test_a_better_challenger_with_a_fault_is_refused(fault, told):
    better = contest(losses(), noisy(1, -0.1))
    assert judge(better).outcome == "promoted"
    found = judge(better._replace(**fault))
    assert found.outcome == "refused"
    assert told in found.reason


def test_a_champion_that_is_as_badly_calibrated_keeps_nobody_back():
    for challenger in (0.06, 0.07, 0.075):
        assert judge(contest(losses(), noisy(1, -0.1), miscalibration=(0.07, challenger))).outcome == "promoted"
    assert judge(contest(losses(), noisy(1, -0.1), miscalibration=(0.07, 0.08))).outcome == "refused"


def test_a_better_challenger_that_is_much_worse_for_a_subgroup_is_refused():
    champion, few = losses(), np.arange(ROWS) < 300
    challenger = np.where(few, champion * (MUCH_WORSE + 0.1), champion * 0.5)
    found = judge(contest(champion, challenger, groups={"tenure is short": few}))
    assert found.outcome == "refused"
    assert found.reason.startswith("much worse where tenure is short")
    little = np.where(few, champion * 1.05, champion * 0.5)
    assert judge(contest(champion, little, groups={"tenure is short": few})).outcome == "promoted"
    tiny = np.arange(ROWS) < FEWEST_ROWS - 1
    assert judge(contest(champion, challenger, groups={"too few to tell": tiny})).outcome == "promoted"


def test_too_few_rows_are_not_compared():
    with pytest.raises(NotComparable, match="outcomes of 99 rows are known, and 100 are needed"):
        judge(contest(losses(99), losses(99) / 2))


def test_the_bounds_hold_the_true_gain_as_often_as_they_say():
    draw = np.random.default_rng(5)
    below = sum(gain(draw.normal(0.1, 1, 300), np.zeros(300)).low < 0.1 for _ in range(300))
    assert below / 300 == pytest.approx(0.95, abs=0.04)
