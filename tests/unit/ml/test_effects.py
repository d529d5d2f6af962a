"""The tests that an effect must pass, each shown to fail where it should."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest

from ml_assets.core.causal import gates, levels
from ml_assets.core.causal.assess import assess
from ml_assets.core.causal.effect import FOLDS, SEED, SMOOTH, STACKED, prepared
from ml_assets.core.causal.finding import Estimate
from ml_assets.core.causal.graph import Graph
from ml_assets.core.causal.levels import assess_levels
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
    assert (found.effect, found.identified, found.verdict) == (None, False, "not identified")
    assert "500, 49 rows by level of the treatment" in found.gates[0].detail


def test_arms_without_overlap_are_refused_and_told_how_to_ask_instead():
    draw = np.random.default_rng(2)
    confounders = draw.normal(size=(1200, 2))
    treated = (confounders[:, 0] > 0).astype(np.int64)
    found = assess(study_of(treated, confounders), Design())
    assert not found.identified
    assert "ask for the effect on the treated" in found.gate("overlap").detail
    assert found.trimmed_share > 0.5


@pytest.mark.parametrize("is_clustered", [False, True])
@pytest.mark.parametrize("kept", [[], [5], [5, 700], [5, 6], list(range(600, 1200))])
def test_where_hardly_a_row_or_only_one_arm_can_be_compared_there_is_no_estimate(monkeypatch, kept, is_clustered):
    draw = np.random.default_rng(2)
    supported = np.isin(np.arange(1200), kept)
    monkeypatch.setattr("ml_assets.core.causal.levels.supported", lambda *_: supported)
    study = study_of(np.arange(1200) >= 600, draw.normal(size=(1200, 2)))
    clusters = np.arange(1200) // 2 if is_clustered else None
    found = assess(replace(study, clusters=clusters), Design(estimand="ATT"), SMOOTH)
    assert (found.identified, found.estimates) == (False, ())
    assert found.gate("overlap").passed is (len(kept) == 600)


def test_a_share_that_would_be_rounded_to_nothing_is_told_as_some(monkeypatch):
    monkeypatch.setattr(levels, "supported", lambda problem, _: np.arange(len(problem.arms)) > 0)
    found = assess(made(1), Design(), SMOOTH)
    assert 0 < found.trimmed_share < 0.001
    assert found.warnings[0].startswith("Of the rows fewer than 0.1% were left out;")


def test_the_effect_on_the_treated_of_a_rule_without_overlap_is_refused():
    draw = np.random.default_rng(2)
    confounders = draw.normal(size=(3000, 1))
    found = assess(study_of(confounders[:, 0] > 0, confounders), Design(estimand="ATT"), SMOOTH)
    assert not found.identified
    assert not found.gate("overlap").passed


@pytest.mark.parametrize(
    ("design", "told", "passes"),
    [
        (Design(), True, True),
        (Design(), False, False),
        (Design(is_vouched=True), False, True),
        (Design(is_randomised=True), False, True),
        (Design(is_randomised=True), True, False),
        (Design(unrecorded=("a hunch",)), True, False),
        (Design(unrecorded=("a hunch",), is_vouched=True), True, False),
    ],
)
def test_the_declared_choice_of_the_treated_is_held_against_the_data(design, told, passes):
    draw = np.random.default_rng(3)
    propensity = draw.uniform(0.2, 0.8, 2000)
    treated = (draw.random(2000) < (propensity if told else 0.5)).astype(np.float64)
    sizes = [(int((1 - treated).sum()), int(treated.sum()))]
    assert gates.back_door(design, [(treated, propensity)], sizes).passed is passes


def test_overlap_needs_nearly_everybody_whom_the_effect_is_about():
    everybody, kept = np.ones(100, bool), np.array([True] * 95 + [False] * 5)
    assert gates.overlap(kept, everybody, Design()).passed
    kept[94] = False
    assert not gates.overlap(kept, everybody, Design()).passed
    assert gates.overlap(kept, kept, Design(estimand="ATT")).passed


def test_balance_names_the_worst_column_and_allows_what_chance_leaves_in_small_arms():
    arms = np.array([0, 1] * 500)
    columns = np.column_stack([np.tile([0, 0, 1, 1], 250), arms + np.tile([0, 0, 1, 1], 250)]).astype(float)
    found = gates.differences(Covariates(("even", "uneven"), columns), arms, np.ones(1000), 1)
    assert found[0] == 0
    assert found[1] > 1
    shown = [gates.Balance("even", 0.2, 0.0), gates.Balance("uneven", 2.0, 0.15)]
    gate = gates.balance(shown, [500.0, 500.0])
    assert not gate.passed
    assert "(uneven)" in gate.detail
    assert gates.balance(shown, [100.0, 100.0]).passed
    assert gates.balance([], [100.0, 100.0]).passed


def test_a_few_heavy_weights_count_as_few_rows():
    even, uneven = np.ones(100), np.array([1000.0] * 10 + [1.0] * 90)
    assert gates.kish(even) == pytest.approx(100)
    assert gates.effective_size([even, even]).passed
    assert not gates.effective_size([even, uneven]).passed


def test_estimators_that_contradict_each_other_do_not_agree():
    near, far = (Estimate(1, 0, 2), Estimate(2, 1.5, 3)), (Estimate(1, 0, 2), Estimate(5, 4, 6))
    assert gates.agreement([near]).passed
    assert not gates.agreement([near, far]).passed


def test_refutations_fail_by_what_they_see_and_not_by_chance():
    draw = np.random.default_rng(5)
    assert not gates.placebo_treatment(draw.normal(5, 1, 10)).passed
    assert gates.placebo_treatment(draw.normal(0, 1, 10)).passed
    assert not gates.random_common_cause(Estimate(1, 0, 2), Estimate(1.6, 0.6, 2.6)).passed
    assert gates.random_common_cause(Estimate(1, 0, 2), Estimate(1.2, 0.2, 2.2)).passed
    assert not gates.random_subset((Estimate(1, 0, 2), Estimate(5, 4, 6))).passed
    assert gates.random_subset((Estimate(1, 0, 2), Estimate(2, 1, 3))).passed


def test_more_negative_controls_are_allowed_to_be_further_from_nothing():
    off, fine = Estimate(2.9, 0.94, 4.86), Estimate(0.1, -1.86, 2.06)
    assert not gates.negative_controls([("visits", off)]).passed
    assert gates.negative_controls([("visits", off), *((f"x{n}", fine) for n in range(9))]).passed


def made(seed: int, rows: int = 1500, levels: int = 2, effect: float = 2.0) -> Study:
    """A treatment that is chosen by the first two of three covariates, on which the outcome depends too."""
    draw = np.random.default_rng(seed)
    covariates = draw.normal(size=(rows, 3))
    pull = 0.6 * covariates[:, 0] + 0.4 * covariates[:, 1]
    odds = np.exp(np.column_stack([np.zeros(rows), *(pull * level for level in range(1, levels))]))
    shares = np.cumsum(odds / odds.sum(axis=1, keepdims=True), axis=1)
    level = (draw.random(rows)[:, None] > shares).sum(axis=1).astype(float)
    earlier = covariates[:, 0] + draw.normal(size=rows)
    outcome = effect * level + 2 * covariates[:, 0] + covariates[:, 1] ** 2 + draw.normal(size=rows)
    return Study(level, outcome, Covariates(("a", "b", "c"), covariates), placebo_outcomes={"earlier": earlier})


@pytest.mark.parametrize(("estimand", "levels"), [("ATE", 2), ("ATT", 2), ("ATE", 3), ("ATT", 3)])
def test_an_effect_is_found_for_each_level_where_the_naive_difference_fails(estimand, levels):
    study = made(6, levels=levels)
    found = assess(study, Design("binary" if levels == 2 else "discrete", estimand), SMOOTH)
    assert found.identified, [gate for gate in found.gates if not gate.passed]
    assert [one.contrast for one in found.estimates[::2]] == [f"{level} against 0" for level in range(1, levels)]
    for place, one in enumerate(found.estimates):
        assert one.estimate.ate == pytest.approx(2.0 * (1 + place // 2), abs=one.estimate.high - one.estimate.low)
    assert not found.naive.holds(2.0)
    assert max(one.after for one in found.balance) < 0.1 < max(one.before for one in found.balance)
    pair_or_all = len(study) if estimand == "ATE" else int((study.treatment < 2).sum())
    assert sum(map(sum, found.propensity.counts)) == pair_or_all
    assert found.sensitivity.benchmark == "a"
    assert found.sensitivity.robustness > 0.3
    low, high = found.sensitivity.interval
    assert low < found.effect.low < found.effect.high < high


def test_the_effects_are_those_of_econml_on_the_same_folds():
    from econml.dr import LinearDRLearner
    from sklearn.model_selection import StratifiedKFold

    study = made(7)
    covariates = prepared(study.confounders.values)
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(covariates, study.treatment))
    learner = LinearDRLearner(
        model_propensity=SMOOTH.propensity(), model_regression=PerArm(), min_propensity=0.02, cv=folds
    ).fit(study.outcome, study.treatment, W=covariates)
    low, high = learner.ate_interval(alpha=0.05)
    found = assess(study, Design(), SMOOTH)
    assert found.trimmed_share == 0
    assert found.effect == pytest.approx((learner.ate(), low, high), rel=1e-3)


class PerArm:
    """EconML fits one model to both arms, which gets the treatment as its last column."""

    def fit(self, X, y):
        self.arms = [SMOOTH.outcome().fit(X[X[:, -1] == arm, :-1], y[X[:, -1] == arm]) for arm in (0, 1)]
        return self

    def predict(self, X):
        return np.where(X[:, -1] == 1, *(self.arms[arm].predict(X[:, :-1]) for arm in (1, 0)))

    def get_params(self, **_):
        return {}

    def set_params(self, **_):
        return self


@pytest.mark.parametrize("nuisances", [SMOOTH, STACKED])
@pytest.mark.parametrize("estimand", ["ATE", "ATT"])
def test_the_unit_of_the_outcome_scales_the_answer_and_nothing_else(nuisances, estimand):
    study = made(11, rows=600)
    study = replace(study, modifiers=study.confounders, placebo_outcomes={"before": study.confounders.values[:, 0]})
    one = assess(study, Design(estimand=estimand), nuisances)
    for unit in (1e-6, 1e6):
        placebo = {name: unit * values for name, values in study.placebo_outcomes.items()}
        other = assess(
            replace(study, outcome=unit * study.outcome, placebo_outcomes=placebo), Design(estimand=estimand), nuisances
        )
        for mine, theirs in zip(one.estimates, other.estimates, strict=True):
            assert np.array(theirs.estimate) == pytest.approx(unit * np.array(mine.estimate), rel=1e-4)
        assert [(gate.name, gate.passed) for gate in other.gates] == [(gate.name, gate.passed) for gate in one.gates]
        assert other.sensitivity[:2] == pytest.approx(one.sensitivity[:2], abs=1e-4)
        assert other.sensitivity[3:5] == pytest.approx(one.sensitivity[3:5], rel=1e-6)
        assert other.sensitivity.interval == pytest.approx(unit * np.array(one.sensitivity.interval), rel=1e-4)
        assert other.heterogeneity[:3] == pytest.approx(one.heterogeneity[:3], rel=1e-4)
        assert other.heterogeneity.qini == pytest.approx(unit * one.heterogeneity.qini, rel=1e-4)


def test_what_acts_in_a_curve_is_as_strong_a_benchmark_as_it_is():
    draw = np.random.default_rng(3)
    bend, straight, noise = draw.uniform(-3, 3, 2000), draw.normal(size=2000), draw.normal(size=2000)
    treated = (draw.random(2000) < 1 / (1 + np.exp(-1.5 * np.cos(bend) - 0.2 * straight))).astype(float)
    outcome = treated + 3 * np.cos(bend) + 0.5 * straight + draw.normal(size=2000)
    names = ("straight", "bend", "noise")
    study = Study(treated, outcome, Covariates(names, np.column_stack([straight, bend, noise])))
    strength = assess(study, Design(), SMOOTH).sensitivity
    assert strength.benchmark == "bend"
    # Of the outcome's variance that is left, 4.5 of 5.5; of the treatment's, what the cosine tells of the deal.
    assert strength.outcome_share == pytest.approx(0.8, abs=0.05)
    assert strength.treatment_share == pytest.approx(0.2, abs=0.06)
    alone = assess(
        replace(study, confounders=Covariates(names[2:], noise[:, None])), Design(is_randomised=True), SMOOTH
    )
    assert max(alone.sensitivity[3:5]) < 0.005


def test_rows_of_a_cluster_widen_the_interval_and_stay_in_one_fold():
    study = made(8)
    rows = np.repeat(np.arange(len(study)), 4)
    repeated = study.of(rows)
    alone = assess(study, Design(), SMOOTH).effect
    taken_for_more = assess(repeated, Design(), SMOOTH).effect
    known = assess(Study(**{**vars(repeated), "clusters": rows}), Design(), SMOOTH)
    width = known.effect.high - known.effect.low
    assert width == pytest.approx(alone.high - alone.low, rel=0.1)
    assert width > 1.7 * (taken_for_more.high - taken_for_more.low)
    assert known.identified, [gate for gate in known.gates if not gate.passed]


def test_a_rare_treatment_that_was_dealt_out_at_random_is_no_lack_of_overlap():
    draw = np.random.default_rng(9)
    treated = (draw.random(8000) < 0.015).astype(float)
    covariates = Covariates(("a", "b"), draw.normal(size=(8000, 2)))
    found = assess(Study(treated, draw.normal(size=8000) + treated, covariates), Design(is_randomised=True), SMOOTH)
    assert found.identified, [gate for gate in found.gates if not gate.passed]
    assert found.effect.holds(1.0)
    assert found.trimmed_share < 0.01


def test_nothing_recorded_is_enough_where_the_treatment_was_random():
    draw = np.random.default_rng(10)
    treated = (draw.random(900) < 0.5).astype(float)
    nothing = Covariates((), np.empty((900, 0)))
    found = assess(Study(treated, draw.normal(size=900) + treated, nothing), Design(is_randomised=True), SMOOTH)
    assert found.identified, [gate for gate in found.gates if not gate.passed]
    assert found.effect == pytest.approx(found.naive, abs=0.02)
    assert found.sensitivity is None


def test_without_trimming_rows_that_have_no_comparison_refuse_the_effect():
    draw = np.random.default_rng(11)
    covariates = draw.normal(size=(4000, 1))
    treated = (draw.random(4000) < 1 / (1 + np.exp(3 - 1.2 * covariates[:, 0]))).astype(float)
    study = Study(treated, covariates[:, 0] + treated + draw.normal(size=4000), Covariates(("a",), covariates))
    trimmed = assess(study, Design(estimand="ATT"), SMOOTH)
    assert trimmed.identified, [gate for gate in trimmed.gates if not gate.passed]
    assert trimmed.effect.holds(1.0)
    assert trimmed.trimmed_share > 0.05
    assert "were left out; the effect is that on the treated with comparable controls" in trimmed.warnings[0]
    whole = assess(study, Design(estimand="ATT", trims=False), SMOOTH)
    assert not whole.gate("overlap").passed
    assert "none were left out" in whole.gate("overlap").detail
    assert "Rows without a comparison were not left out" in whole.warnings[0]


def test_a_graph_leaves_out_what_is_no_confounder_and_refuses_a_hidden_cause():
    study = made(15)
    mediator = study.outcome + np.random.default_rng(12).normal(size=len(study))
    columns = np.column_stack([study.confounders.values, mediator])
    wide = Study(study.treatment, study.outcome, Covariates(("a", "b", "c", "after"), columns))
    edges = [("a", "t"), ("a", "y"), ("b", "t"), ("b", "y"), ("c", "y"), ("t", "y"), ("t", "after"), ("y", "after")]
    found = assess(wide, Design(graph=Graph(tuple(edges), "t", "y")), SMOOTH)
    assert found.effect.holds(2.0)
    assert found.warnings[0].startswith("after is no confounder but an effect of the treatment and was left out")
    assert not assess(wide, Design(), SMOOTH).effect.holds(2.0)
    hidden = Graph((*edges, ("u", "t"), ("u", "y")), "t", "y", latent=("u",))
    refused = assess(wide, Design(graph=hidden), SMOOTH)
    assert refused.estimates == ()
    assert "t ← u → y stays open" in refused.gate("identification").detail


def test_a_treatment_that_goes_by_earlier_spend_is_refused():
    draw = np.random.default_rng(4)
    covariates = Covariates(("a", "b", "c"), draw.normal(size=(1500, 3)))
    previous = draw.gamma(2, 10, 1500)
    chosen = (draw.random(1500) < np.where(previous > 20, 0.7, 0.3)).astype(float)
    by_chance = (draw.random(1500) < 0.5).astype(float)
    for treated, passes in ((chosen, False), (by_chance, True)):
        study = Study(treated, draw.normal(size=1500), covariates, placebo_outcomes={"earlier": previous})
        assert assess(study, Design(is_randomised=True), SMOOTH).gate("negative_controls").passed is passes


def test_effects_that_differ_are_told_from_effects_that_are_the_same():
    draw = np.random.default_rng(13)
    traits = draw.normal(size=(3000, 2))
    treated = (draw.random(3000) < 0.5).astype(float)
    for slope, is_told in ((1.0, True), (0.0, False)):
        outcome = traits[:, 1] + treated * (1 + slope * traits[:, 0]) + draw.normal(size=3000)
        columns = Covariates(("a", "b"), traits)
        found = assess(Study(treated, outcome, columns, columns), Design(is_randomised=True), SMOOTH).heterogeneity
        assert (found.blp_p < 0.01) is is_told
        assert (found.qini > 3 * found.qini_error) is is_told
        if is_told:
            assert found.blp == pytest.approx(1.0, abs=0.2)
            assert found.calibration > 0.7


def test_the_answer_does_not_hang_on_the_seed_of_the_folds():
    study = made(14)
    effects = [assess_levels(study, Design(), SMOOTH, seed=seed).effect for seed in range(4)]
    assert np.ptp([effect.ate for effect in effects]) < 0.3 * (effects[0].high - effects[0].low)
    assert assess_levels(study, Design(), SMOOTH, seed=2).effect == effects[2]


def test_covariates_have_no_nulls_and_mark_where_there_were_some():
    confounders = np.array([[1, np.nan, 7, np.nan], [2, 5, 7, np.nan], [3, 6, 7, np.nan]])
    matrix = prepared(confounders)
    assert matrix.shape == (3, 3)  # two that vary and one mark; what is constant or unknown is left out
    assert np.isfinite(matrix).all()
