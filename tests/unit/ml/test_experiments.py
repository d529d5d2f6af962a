"""Experiments: effects as tea-tasting has them, intervals, corrections, integrity, and what is decided of them."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.core.experiments.analysis import (
    adjust,
    alike_before,
    compare,
    estimates,
    needed_units,
    segment_effects,
)
from ml_assets.core.experiments.decision import assess, decide
from ml_assets.core.experiments.integrity import (
    Assigned,
    Check,
    assignment_checks,
    overlap,
    overlap_warning,
    sample_ratio,
)
from ml_assets.core.experiments.moments import Moments, columns_of, cumulative, effects, index_of, moments
from ml_assets.core.experiments.plan import Measured, Metric, Rules, Units
from ml_assets.core.experiments.report import unsound
from ml_assets.core.experiments.sequential import mixture, p_values, sequence, width
from tests.unit.ml.experimenting import FRAME, make_units

SPEND = Metric("spend", role="primary")
HALVES = {"control": 0.5, "treatment": 0.5}


def arms(units: Units, name: str) -> tuple[Moments, Moments]:
    found = moments(columns_of(units.measured[name], units.variant), units.variant, len(units.variants))
    return Moments(*(part[0] for part in found)), Moments(*(part[1] for part in found))


@pytest.mark.parametrize("name", ["spend", "order_value", "converted"])
def test_the_vectorised_effects_are_those_of_tea_tasting(name):
    control, treated = arms(make_units(effects=(0.3,)), name)
    ours, theirs = effects(control, treated), compare(control, treated, 0.05)
    assert ours.effect == pytest.approx(theirs.effect_size, rel=1e-9)
    assert ours.error == pytest.approx(theirs.effect_size / theirs.statistic, rel=1e-9)


def test_tea_tasting_on_the_rows_themselves_says_the_same():
    """The whole way through the library, which takes the moments itself."""
    import pandas as pd
    import tea_tasting as tt

    units = make_units(effects=(0.3,))
    spend, value = units.measured["spend"], units.measured["order_value"]
    rows = pd.DataFrame({"variant": units.variant, "y": spend.value, "x": spend.covariates[:, 0]})
    rows["amount"], rows["orders"] = value.value, value.weight
    theirs = tt.Experiment(spend=tt.Mean("y", "x"), value=tt.RatioOfMeans("amount", "orders")).analyze(rows)
    found = {one.metric: one for one in estimates(units, [SPEND, Metric("order_value", kind="ratio")], Rules())}
    for name, metric in (("spend", "spend"), ("value", "order_value")):
        assert found[metric].effect == pytest.approx(theirs[name].effect_size, rel=1e-6)
        assert found[metric].ci_low == pytest.approx(theirs[name].effect_size_ci_lower, rel=1e-4)
        assert found[metric].relative_high == pytest.approx(theirs[name].rel_effect_size_ci_upper, rel=1e-4)
        assert found[metric].p_value == pytest.approx(theirs[name].pvalue, rel=1e-3)


@given(st.integers(1, 6), st.integers(0, 2**16))
@settings(max_examples=25)
def test_moments_up_to_a_look_are_those_of_its_rows(looks, seed):
    draw = np.random.default_rng(seed)
    columns, variant, look = draw.normal(1e6, 1, (60, 3)), draw.integers(0, 2, 60), draw.integers(0, looks, 60)
    found = cumulative(columns, variant, look, 2, looks)
    for at in range(looks):
        for arm in range(2):
            rows = columns[(look <= at) & (variant == arm)]
            assert found.size[at, arm] == len(rows)
            if len(rows) > 1:
                assert found.mean[at, arm] == pytest.approx(rows.mean(axis=0))
                assert found.covariance[at, arm] == pytest.approx(np.cov(rows.T), abs=1e-6)


def test_several_covariates_make_one_index_that_knows_nothing_of_the_effect():
    draw = np.random.default_rng(2)
    variant = draw.integers(0, 2, 20_000)
    covariates = draw.normal(size=(20_000, 3))
    covariates[:, 2] = 4.0  # tells nothing
    value = covariates @ [1.0, 2.0, 0.0] + 50 * variant
    index = index_of(Measured(value, None, covariates), variant)
    assert index == pytest.approx((covariates - covariates.mean(axis=0)) @ [1.0, 2.0, 0.0], abs=1e-6)


def test_cuped_takes_the_square_of_the_correlation():
    (found,) = estimates(make_units(40_000, effects=(0.2,)), [SPEND], Rules())
    assert found.variance_reduction == pytest.approx(0.8**2, abs=0.02)
    assert found.ci_low <= 0.2 <= found.ci_high


def test_without_a_covariate_no_variance_is_taken():
    units = make_units()
    units.measured["spend"] = Measured(units.measured["spend"].value)  # type: ignore[index]
    assert [one.variance_reduction for one in estimates(units, [SPEND, Metric("converted")], Rules())] == [0.0, 0.0]


@pytest.mark.parametrize("values", [(5.0, 6.0, 6.1), (0.0, 0.0, 1.0)])
def test_variants_within_which_nothing_varies_have_no_interval_and_are_told(values):
    units = make_units(effects=(0.0, 0.0))
    spread = np.where(units.variant == 2, units.measured["spend"].value, 0.0)
    units.measured["spend"] = Measured(np.array(values)[units.variant] + spread)  # type: ignore[index]
    found = assess(FRAME, units, [SPEND, Metric("converted")], Rules(), [])
    assert [one.variant for one in found.estimates if one.metric == "spend"] == ["treatment_2"]
    told = "spend does not vary within control and treatment_1: no interval can be told."
    assert [one for one in found.warnings if "vary" in one] == [told]


def test_guardrails_are_no_part_of_the_correction():
    metrics = [SPEND, Metric("converted"), Metric("order_value", kind="ratio", role="guardrail")]
    found = {one.metric: one for one in estimates(make_units(effects=(0.1,)), metrics, Rules())}
    assert found["order_value"].adjusted_p_value is None
    smaller = min(found["spend"].p_value, found["converted"].p_value)
    assert min(found["spend"].adjusted_p_value, found["converted"].adjusted_p_value) == pytest.approx(2 * smaller)


def test_holm_and_benjamini_hochberg_of_a_worked_example():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert adjust(p, "holm") == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust(p, "benjamini_hochberg") == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert adjust(p, "none") == pytest.approx(p)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_never_lowers_a_p_value_nor_changes_their_order(values):
    p = np.array(values)
    found = adjust(p, "holm")
    assert (found >= p - 1e-12).all()
    assert (found <= 1).all()
    assert (np.diff(found[np.argsort(p, kind="stable")]) >= -1e-12).all()


@given(st.floats(0.01, 50), st.floats(0.001, 0.3))
def test_an_always_valid_interval_is_wider_than_one_look_and_agrees_with_its_p_value(information, alpha):
    from scipy.stats import norm

    reach = float(width(information, alpha))
    assert reach > norm.isf(alpha / 2)
    assert float(p_values(reach, information, alpha)) == pytest.approx(alpha, rel=1e-6)


def test_the_boundary_is_that_of_the_paper():
    """Theorem 2.2 for t = 500 of 1,000 planned, in its own terms: rho, t and the standard deviation."""
    alpha, t, deviation = 0.05, 500, 3.0
    rho2 = mixture(alpha) / 1000
    radius = deviation * np.sqrt(2 * (t * rho2 + 1) / (t**2 * rho2) * np.log(np.sqrt(t * rho2 + 1) / alpha))
    assert float(width(0.5, alpha)) * deviation / np.sqrt(t) == pytest.approx(radius)


def test_a_sequence_is_silent_until_enough_units_came_and_its_p_value_never_rises():
    units = make_units(4000, effects=(1.0,))
    look = np.arange(4000) // 50
    seen = cumulative(columns_of(units.measured["spend"], units.variant), units.variant, look, 2, 80)
    control, treated = (Moments(*(part[:, at] for part in seen)) for at in (0, 1))
    found = sequence(effects(control, treated), np.minimum(control.size, treated.size), np.arange(1, 81) / 80, 0.05)
    assert np.isnan(found.low[0])
    assert (np.diff(found.p_value) <= 0).all()
    assert found.p_value[-1] < 0.05
    assert found.low[-1] < 1.0 < found.high[-1]


def test_a_planted_mismatch_is_found_and_a_fair_split_is_not():
    assert not sample_ratio({"control": 10_400, "treatment": 9_600}, HALVES).passed
    assert sample_ratio({"control": 10_060, "treatment": 9_940}, HALVES).passed
    assert sample_ratio({"a": 9_000, "b": 1_010}, {"a": 0.9, "b": 0.1}).passed
    assert not sample_ratio({"control": 5_000}, HALVES).passed, "nobody is in the treatment"
    assert not sample_ratio({}, HALVES).passed


def test_each_fault_of_an_assignment_fails_its_own_check():
    sound = assignment_checks(Assigned(100, 0, {}, exposed=0))
    assert [check.passed for check in sound] == [True] * 4
    bad = assignment_checks(Assigned(100, 2, {"blue": 3}, before=1, after=4, exposed=5))
    assert [check.passed for check in bad] == [False] * 4
    assert "blue 3" in bad[1].detail
    assert len(assignment_checks(Assigned(100, 0, {}))) == 3, "without an exposure nothing is said of it"


def test_variants_that_differ_before_the_assignment_are_refused():
    units = make_units(4000)
    assert alike_before(units).passed
    before = units.measured["spend"].covariates + 0.3 * units.variant[:, None]
    moved = Units(units.variants, units.variant, {"spend": Measured(units.measured["spend"].value, None, before)}, {})
    found = assess(FRAME, moved, [SPEND], Rules(), [Check("sample_ratio_holds", True, "")])
    assert (found.verdict, found.estimates) == ("invalid", ())
    assert "variants_were_alike_before failed" in found.reasons[0]


def test_a_failed_check_leaves_no_estimate_and_one_that_slipped_in_is_told():
    units = make_units(effects=(3.0,))
    failed = Check("sample_ratio_holds", False, "p = 1e-9")
    found = assess(FRAME, units, [SPEND], Rules(), [failed])
    assert (found.verdict, found.choice, found.estimates, found.segments) == ("invalid", None, (), ())
    assert unsound(found) == []
    sound = assess(FRAME, units, [SPEND], Rules(), [Check("sample_ratio_holds", True, "")])
    assert unsound(sound) == []
    assert unsound(found.model_copy(update={"estimates": sound.estimates, "verdict": "ship", "choice": "treatment"}))
    broken = sound.estimates[0].model_copy(update={"ci_low": float("nan")})
    assert unsound(sound.model_copy(update={"estimates": (broken,)})) == ["spend of treatment: ci_low is nan"]


@pytest.mark.parametrize(
    ("effect", "metric", "verdict"),
    [
        (0.5, Metric("spend", role="primary"), "ship"),
        (-0.5, Metric("spend", role="primary"), "stop"),
        (-0.5, Metric("spend", role="primary", higher_is_better=False), "ship"),
        (0.0, Metric("spend", role="primary"), "hold"),
        (0.0, Metric("spend", role="primary", smallest_effect=0.05), "stop"),
        (0.2, Metric("spend", role="primary", smallest_effect=0.05), "stop"),  # better, and not by enough
        (0.5, Metric("spend", role="primary", smallest_effect=0.001), "ship"),
    ],
)
def test_what_is_planted_decides(effect, metric, verdict):
    found = assess(FRAME, make_units(20_000, effects=(effect,)), [metric], Rules(), [])
    assert found.verdict == verdict, found.reasons


def test_the_best_of_several_variants_ships():
    found = assess(FRAME, make_units(20_000, effects=(0.3, 0.6)), [SPEND], Rules(), [])
    assert (found.verdict, found.choice) == ("ship", "treatment_2")


def guarded(effect: float, margin: float | None) -> str:
    units = make_units(20_000, effects=(0.5,))
    harm = units.measured["spend"].value - units.measured["spend"].value.mean() + 10 + (effect - 0.5) * units.variant
    units.measured["retained"] = Measured(harm)  # type: ignore[index]
    metrics = [SPEND, Metric("retained", role="guardrail", margin=margin)]
    return assess(FRAME, units, metrics, Rules(), []).verdict


def test_a_guardrail_that_breaks_stops_and_one_that_is_not_shown_to_hold_holds():
    assert guarded(0.0, 0.05) == "ship"
    assert guarded(-1.0, 0.05) == "stop"
    assert guarded(0.0, 0.001) == "hold", "the interval is wider than the margin"
    assert guarded(0.0, None) == "ship"
    assert guarded(-1.0, None) == "stop"


def test_who_peeks_decides_by_the_wider_interval():
    units = make_units(20_000, effects=(0.0,))
    (found,) = estimates(units, [SPEND], Rules())
    near = found.model_copy(update={"effect": 0.06, "ci_low": 0.01, "ci_high": 0.11, "adjusted_p_value": 0.02})
    near = near.model_copy(update={"always_low": -0.02, "always_high": 0.14, "always_p_value": 0.3})
    assert decide([near], [SPEND], Rules()).verdict == "ship"
    assert decide([near], [SPEND], Rules(is_sequential=True)).verdict == "hold"


def test_an_interval_without_0_that_only_the_correction_calls_chance_is_told_with_its_p_value():
    units = make_units(20_000, effects=(0.0,))
    (found,) = estimates(units, [SPEND], Rules())
    near = found.model_copy(update={"effect": 0.06, "ci_low": 0.01, "ci_high": 0.11, "adjusted_p_value": 0.051})
    other = found.model_copy(update={"metric": "converted", "role": "secondary"})
    (said,) = decide([near, other], [SPEND], Rules()).reasons
    assert said.endswith("may be chance: after correction for 2 tests p = 0.051.")
    (plain,) = decide([found, other], [SPEND], Rules()).reasons
    assert plain.endswith("%), which may be chance.")
    looked = near.model_copy(update={"always_low": 0.01, "always_high": 0.11, "always_p_value": 0.03})
    (always,) = decide([looked, other], [SPEND], Rules(is_sequential=True)).reasons
    assert always.endswith("may be chance: after correction for 2 tests p = 0.06.")
    free = Rules(is_sequential=True, correction="none")
    assert decide([looked, other], [SPEND], free).verdict == "ship", "who asked for no correction has none"


def test_where_the_relative_interval_says_other_of_nothing_than_the_absolute_it_is_not_told():
    (found,) = estimates(make_units(20_000, effects=(0.0,)), [SPEND], Rules())
    near = found.model_copy(update={"effect": 0.06, "ci_low": -0.001, "relative_effect": 0.006, "relative_low": 0.001})
    (said,) = decide([near], [SPEND], Rules()).reasons
    assert "%" not in said.replace("95%", "")
    assert "+0.06 (95% interval -0.001 to" in said


def test_too_few_units_abstain_and_a_metric_without_variation_is_named():
    assert "Too few units" in assess(FRAME, make_units(60), [SPEND], Rules(), []).reasons[0]
    units = make_units(1000)
    units.measured["spend"] = Measured(np.full(1000, 2.0))  # type: ignore[index]
    found = assess(FRAME, units, [SPEND, Metric("converted")], Rules(), [])
    assert found.verdict == "hold"
    assert [one.metric for one in found.estimates] == ["converted"]
    assert "spend is the same for all units" in found.warnings[0]


def test_a_segment_whose_effect_differs_is_found_and_one_by_chance_is_not():
    draw = np.random.default_rng(5)
    units = make_units(
        20_000, segments={"country": draw.choice(["DE", "FR"], 20_000), "noise": draw.choice(["a", "b"], 20_000)}
    )
    spend = units.measured["spend"]
    spend.value[(units.segments["country"] == "FR") & (units.variant == 1)] += 0.5
    found = {(one.segment, one.value): one for one in segment_effects(units, SPEND, Rules())}
    assert found["country", "FR"].adjusted_p_value < 0.01
    assert found["country", "FR"].effect == pytest.approx(0.5, abs=0.15)
    assert found["noise", "a"].adjusted_p_value > 0.01


def test_another_experiment_on_the_same_units_is_told_and_worse_where_it_is_not_dealt_out_alike():
    draw = np.random.default_rng(6)
    variant, outcome = draw.integers(0, 2, 10_000), draw.normal(size=10_000)
    fair = np.where(draw.random(10_000) < 0.6, draw.choice(["a", "b"], 10_000), "")
    alike = overlap("banner", variant, fair, outcome)
    assert alike.share == pytest.approx(0.6, abs=0.02)
    assert "so that the effect stands" in overlap_warning(alike)
    tied = np.where(variant == 1, np.where(draw.random(10_000) < 0.6, "a", "b"), fair)
    assert "not dealt out alike" in overlap_warning(overlap("banner", variant, tied, outcome))
    mixed = outcome + ((fair == "a") & (variant == 1))
    assert "the effect differs" in overlap_warning(overlap("banner", variant, fair, mixed))
    assert overlap_warning(overlap("banner", variant, np.full(10_000, ""), outcome)) is None


def test_the_units_that_are_needed_find_the_effect_as_often_as_was_said():
    needed = needed_units(base=10, deviation=2, effect=0.2, shares=HALVES, alpha=0.05, rho=0.8)
    assert needed == pytest.approx(4 * 4 * 0.36 * (2.8016 / 0.2) ** 2, rel=0.001)
    found = [estimates(make_units(needed, effects=(0.2,), seed=seed), [SPEND], Rules())[0] for seed in range(100)]
    assert 0.7 <= np.mean([one.p_value < 0.05 for one in found]) <= 0.9


@pytest.mark.parametrize(
    ("control", "treated", "is_relative"),
    [
        (lambda _: np.zeros(500), lambda draw: (draw.random(500) < 0.2) * 1.0, False),
        (lambda draw: (draw.random(500) < 0.2) * 1.0, lambda _: np.zeros(500), True),
        (lambda _: np.tile([-1.0, 1.0], 250), lambda draw: draw.normal(0.3, 1, 500), False),
        (lambda _: np.tile([-1.0, 1.00002], 250), lambda draw: draw.normal(0.3, 1, 500), False),
    ],
)
@pytest.mark.parametrize("is_ratio", [False, True])
def test_a_mean_of_about_nothing_has_an_effect_and_no_share_of_it(control, treated, is_ratio, is_relative):
    draw = np.random.default_rng(5)
    value = np.concatenate([control(draw), treated(draw)])
    weight = 1.0 + draw.poisson(1, 1000) if is_ratio else np.ones(1000)
    variant = np.repeat([0, 1], 500)
    units = Units(("a", "b"), variant, {"y": Measured(value, weight if is_ratio else None)}, {})
    (found,) = estimates(units, [Metric("y", role="primary")], Rules())
    means = [value[variant == arm].sum() / weight[variant == arm].sum() for arm in (0, 1)]
    assert found.effect == pytest.approx(means[1] - means[0])
    ours = effects(*arms(units, "y"))
    assert found.ci_high - found.effect == pytest.approx(1.96 * ours.error, rel=0.01)
    assert (found.relative_effect is not None) == is_relative
    assert found.relative_low is None


@pytest.mark.parametrize("mean", [-0.5, -0.02, 0.01, 0.1, 1.0, 3.0])
def test_a_share_of_the_control_lies_in_its_interval_or_has_none(mean):
    """Of a variant that loses money, or may, the logarithm of a ratio has nothing to say."""
    draw = np.random.default_rng(8)
    variant = draw.integers(0, 2, 4000)
    units = Units(("a", "b"), variant, {"profit": Measured(np.where(variant, mean, 1.0) + draw.normal(size=4000))}, {})
    (found,) = estimates(units, [Metric("profit", role="primary")], Rules())
    assert found.relative_effect == pytest.approx(mean - 1, abs=0.25)
    if mean < 0.1:
        assert (found.relative_low, found.relative_high) == (None, None)
    else:
        assert found.relative_low < found.relative_effect < found.relative_high
    (said,) = decide([found], [Metric("profit", role="primary")], Rules()).reasons
    low, high = (float(text.rstrip("%,).")) for text in re.findall(r"interval (\S+) to (\S+)", said)[0])
    assert low < 100 * found.relative_effect < high


@pytest.mark.parametrize("seed", range(12))
def test_an_adjusted_share_lies_in_its_own_interval(seed):
    draw = np.random.default_rng(seed)
    variant, before = draw.integers(0, 2, 600), draw.gamma(1, 10, 600)
    spend = before * np.where(variant, 1.5, 1.0) + draw.normal(size=600)
    units = Units(("a", "b"), variant, {"spend": Measured(spend, None, before[:, None])}, {})
    (found,) = estimates(units, [SPEND], Rules())
    assert found.relative_low < found.relative_effect < found.relative_high


def test_a_ratio_with_nothing_to_be_divided_by_in_a_variant_is_held_back_and_told():
    units = make_units(effects=(0.3,))
    ratio = units.measured["order_value"]
    none = replace(ratio, weight=np.where(units.variant == 1, 0.0, ratio.weight))
    odd = replace(units, measured={**units.measured, "order_value": none}, segments={})
    metric = Metric("order_value", kind="ratio", role="primary")
    found = assess(FRAME, odd, [metric, Metric("spend")], Rules(), [])
    assert {one.metric for one in found.estimates} == {"spend"}
    assert found.verdict == "hold"
    assert "order_value has nothing to be divided by in treatment: there is nothing to compare." in found.warnings


def test_a_segment_in_which_a_ratio_has_nothing_to_be_divided_by_is_left_out():
    units = make_units(effects=(0.3,))
    ratio = units.measured["order_value"]
    place = np.array(["here", "there", "away"])[np.arange(len(units.variant)) % 3]
    none = replace(ratio, weight=np.where((units.variant == 1) & (place == "away"), 0.0, ratio.weight))
    odd = replace(units, measured={"order_value": none}, segments={"place": place})
    found = segment_effects(odd, Metric("order_value", kind="ratio"), Rules())
    assert {one.value for one in found} == {"here", "there"}


def test_a_metric_that_hangs_on_one_unit_is_told():
    units = make_units(2000)
    units.measured["spend"].value[7] = 5000.0
    found = assess(FRAME, units, [SPEND], Rules(), [])
    assert "spend hangs on one unit" in found.warnings[0]
