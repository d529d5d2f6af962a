"""The tests that an effect must pass, each shown to fail where it should."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pytest

from ml_assets.core.causal.answers import CONTRACT, effect_of, row_of
from ml_assets.core.causal.assess import assess
from ml_assets.core.causal.effect import (
    STACKED,
    agreement,
    back_door,
    balance,
    overlap,
    placebo_outcome,
    prepared,
)
from ml_assets.core.causal.finding import Estimate, Finding, Gate, NamedEstimate
from ml_assets.core.causal.panel import Campaign, NoCampaign, choose
from ml_assets.core.causal.study import Covariates, Design, Study


def campaign(name: str = "email_winback", sent: date = date(2024, 6, 1), recipients: int = 100) -> Campaign:
    moment = datetime(sent.year, sent.month, sent.day, 9, tzinfo=UTC)
    return Campaign(name, recipients, moment, moment)


def study_of(treated: np.ndarray, confounders: np.ndarray) -> Study:
    spend = np.random.default_rng(9).gamma(2, 10, len(treated))
    names = tuple(f"x{number}" for number in range(confounders.shape[1]))
    return Study(treated.astype(float), spend, Covariates(names, confounders), placebo_outcomes={"earlier": spend})


def test_the_wanted_campaign_is_chosen_and_else_the_largest_with_complete_outcomes():
    late, large, wanted = campaign("late", date(2024, 12, 20), 900), campaign("large", recipients=500), campaign()
    end = date(2025, 1, 1)
    assert choose([late, large, wanted], "email_winback", end) == wanted
    assert choose([late, large], "email_winback", end) == large
    assert choose([late, large], "late", end) == large


def test_no_campaign_with_outcomes_is_refused_with_its_cure():
    with pytest.raises(NoCampaign, match=r"the data end on 2024-06-05, .* are: email_winback\. Load later orders"):
        choose([campaign()], "email_winback", date(2024, 6, 5))


def test_a_day_of_orders_that_is_not_over_is_not_complete():
    assert choose([campaign(sent=date(2024, 6, 1))], "x", date(2024, 6, 16))
    with pytest.raises(NoCampaign):
        choose([campaign(sent=date(2024, 6, 1))], "x", date(2024, 6, 15))


def test_an_arm_that_is_too_small_gives_no_estimate():
    treated = np.array([1] * 49 + [0] * 500)
    found = assess(study_of(treated, np.random.default_rng(1).normal(size=(549, 2))), Design())
    assert (found.effect, found.identified) == (None, False)
    assert "49 treated and 500 control" in found.gates[0].detail


def test_arms_without_overlap_give_no_estimate():
    draw = np.random.default_rng(2)
    confounders = draw.normal(size=(1200, 2))
    treated = (confounders[:, 0] > 0).astype(np.int64)
    found = assess(study_of(treated, confounders), Design())
    assert not found.identified
    assert not {gate.name: gate.passed for gate in found.gates}["overlap"]
    assert found.trimmed_share > 0.5


@pytest.mark.parametrize(
    ("design", "told", "passes"),
    [
        (Design(), True, True),
        (Design(), False, False),
        (Design(is_randomised=True), False, True),
        (Design(is_randomised=True), True, False),
        (Design(unrecorded=("a hunch",)), True, False),
    ],
)
def test_the_declared_choice_of_the_treated_is_held_against_the_data(design, told, passes):
    draw = np.random.default_rng(3)
    propensity = draw.uniform(0.2, 0.8, 2000)
    treated = (draw.random(2000) < (propensity if told else 0.5)).astype(np.int64)
    assert back_door(design, treated, propensity).passed is passes


def test_overlap_needs_nearly_everybody():
    assert overlap(np.array([True] * 95 + [False] * 5)).passed
    assert not overlap(np.array([True] * 94 + [False] * 6)).passed


def test_balance_names_the_worst_column():
    treated = np.array([0, 1] * 500)
    confounders = np.column_stack([np.tile([0, 0, 1, 1], 250), treated + np.tile([0, 0, 1, 1], 250)]).astype(np.float32)
    gate = balance(confounders, ("even", "uneven"), treated, np.full(1000, 0.5))
    assert not gate.passed
    assert "(uneven)" in gate.detail
    assert balance(confounders[:, :1], ("even",), treated, np.full(1000, 0.5)).passed


def test_estimators_that_contradict_each_other_do_not_agree():
    assert agreement(Estimate(1, 0, 2), Estimate(2, 1.5, 3)).passed
    assert not agreement(Estimate(1, 0, 2), Estimate(5, 4, 6)).passed


def test_a_treatment_that_goes_by_earlier_spend_is_refused():
    draw = np.random.default_rng(4)
    covariates = prepared(draw.normal(size=(1500, 3)).astype(np.float32))
    previous = draw.gamma(2, 10, 1500)
    chosen = (draw.random(1500) < np.where(previous > 20, 0.7, 0.3)).astype(np.int64)
    by_chance = (draw.random(1500) < 0.5).astype(np.int64)
    assert not placebo_outcome("earlier_outcome", covariates, chosen, previous, STACKED).passed
    assert placebo_outcome("earlier_outcome", covariates, by_chance, previous, STACKED).passed


def test_covariates_have_no_nulls_and_mark_where_there_were_some():
    confounders = np.array([[1, np.nan, 7], [2, 5, 7], [3, 6, 7]], dtype=np.float32)
    matrix = prepared(confounders)
    assert matrix.shape == (3, 3)  # two that vary and one mark; the constant is left out
    assert np.isfinite(matrix).all()


@pytest.mark.parametrize("estimate", [None, Estimate(3.0, 1.0, 5.0)])
def test_an_answer_is_stored_whole(estimate):
    estimates = (NamedEstimate("doubly robust", "1 against 0", estimate),) if estimate else ()
    found = Finding(None, estimates, (Gate("overlap", estimate is not None, 0.9, "…"),), 300, 700)
    effect = effect_of(campaign(), found, "EUR")
    row = row_of(campaign(), effect)
    assert row.schema.equals(CONTRACT.arrow_schema())
    assert effect.verdict == ("identified" if estimate else "not identified")
    assert type(effect).model_validate_json(row["effect"][0].as_py()) == effect
