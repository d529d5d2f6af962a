"""Effects of amounts: the regressions with levels, what is refused, and that bad input is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.support.planted_products import price_elasticity, price_of_a_hunch, price_without_variation
from ml_assets.core.causal.assess import assess, held_fixed
from ml_assets.core.causal.continuous.assess import DML, REGRESSION, RIESZ, assess_continuous
from ml_assets.core.causal.continuous.shape import ShapedStudy
from ml_assets.core.causal.graph import Graph
from ml_assets.core.causal.study import Covariates, Design, Study
from ml_assets.core.causal.within import Levels, NotEstimable, estimable, least_squares, poisson

AMOUNT = Design("continuous")


def panel_rows(seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Units with zeros, a price and two groupings."""
    draw = np.random.default_rng(seed)
    unit, week = np.repeat(np.arange(12), 15), np.tile(np.arange(15), 12)
    price = 0.3 * draw.normal(size=len(unit))
    mean = np.exp(0.5 + 0.4 * draw.normal(size=12)[unit] + 0.3 * draw.normal(size=15)[week] - 1.5 * price)
    return draw.poisson(mean).astype(float), price, unit, week


def dummies(*groupings: np.ndarray) -> np.ndarray:
    columns = [(grouping[:, None] == np.unique(grouping)[first:]) for first, grouping in enumerate(groupings)]
    return np.column_stack(columns).astype(float)


def test_poisson_with_levels_is_the_one_with_a_column_for_each_level() -> None:
    import statsmodels.api as sm

    units, price, unit, week = panel_rows()
    assert (units == 0).any()
    found = poisson(units, price[:, None], Levels(len(units), unit, week), unit)
    oracle = sm.GLM(units, np.column_stack([price, dummies(unit, week)]), family=sm.families.Poisson()).fit(
        cov_type="cluster", cov_kwds={"groups": unit, "use_correction": False}
    )
    assert found.coefficients[0] == pytest.approx(oracle.params[0], abs=1e-6)
    assert found.covariance[0, 0] ** 0.5 == pytest.approx(oracle.bse[0] * (12 / 11) ** 0.5, rel=1e-4)
    assert found.mean == pytest.approx(oracle.mu, rel=1e-5)


def test_least_squares_with_levels_is_the_one_with_a_column_for_each_level() -> None:
    units, price, unit, week = panel_rows()
    found = least_squares(units, price[:, None], Levels(len(units), unit, week), None)
    design = np.column_stack([price, dummies(unit, week)])
    assert found.coefficients[0] == pytest.approx(np.linalg.lstsq(design, units, rcond=None)[0][0], abs=1e-8)


@given(seed=st.integers(0, 1000), factor=st.floats(0.1, 50.0))
@settings(max_examples=15)
def test_an_elasticity_does_not_depend_on_the_unit_of_sales(seed: int, factor: float) -> None:
    units, price, unit, week = panel_rows(seed)
    kept = estimable(units, unit, week)
    levels = Levels(int(kept.sum()), unit[kept], week[kept])
    one, other = (
        poisson(units[kept] * scale, price[kept, None], levels, None).coefficients[0] for scale in (1, factor)
    )
    assert one == pytest.approx(other, abs=1e-6)


def test_a_unit_that_never_sold_is_left_out_and_told() -> None:
    units, price, unit, week = panel_rows()
    units[unit == 4] = 0
    with pytest.raises(NotEstimable, match="comes to nothing"):
        poisson(units, price[:, None], Levels(len(units), unit, week), unit)
    kept = estimable(units, unit, week)
    assert not kept[unit == 4].any()
    assert kept[unit != 4].sum() > 150


def test_a_price_of_the_unit_alone_is_no_variation() -> None:
    units, _, unit, week = panel_rows()
    with pytest.raises(NotEstimable, match="does not vary"):
        poisson(units, unit[:, None].astype(float), Levels(len(units), unit, week), unit)


def straight(seed: int = 0, rows: int = 1500) -> Study:
    """An amount that goes by curves of the confounders; its effect is -2."""
    draw = np.random.default_rng(seed)
    known = draw.normal(size=(rows, 3))
    amount = np.sin(known[:, 0]) + 0.4 * known[:, 1] ** 2 + draw.normal(size=rows)
    outcome = -2 * amount + 2 * np.sin(known[:, 0]) + known[:, 1] ** 2 + known[:, 2] + draw.normal(size=rows)
    return Study(amount, outcome, Covariates(("a", "b", "c"), known))


def test_a_straight_effect_is_found_where_it_looks_otherwise() -> None:
    found = assess(straight(), AMOUNT)
    assert found.identified, [gate for gate in found.gates if not gate.passed]
    assert [one.method for one in found.estimates] == [DML, RIESZ]
    assert found.effect is not None
    assert found.effect.holds(-2)
    assert found.naive is not None
    assert not found.naive.holds(-2)
    assert found.sensitivity is not None
    assert 0.3 < found.sensitivity.robustness < 1
    assert {one.covariate: one.before > one.after for one in found.balance}["a"]


def test_an_effect_that_is_no_straight_line_makes_the_estimators_part() -> None:
    study = straight()
    amount = np.random.default_rng(5).exponential(size=len(study))
    bent = replace(study, treatment=amount, outcome=2 * amount**2 + study.confounders.values[:, 0])
    gate = assess_continuous(bent, AMOUNT).gate("agreement")
    assert gate is not None
    assert not gate.passed


def test_what_is_known_of_the_choice_is_taken_at_its_word() -> None:
    study = straight()
    assert assess(study, Design("continuous", unrecorded=("a hunch",))).gate("back_door") == (
        "back_door", False, 0.0, "the treatment was also chosen by what is not recorded: a hunch",
    )  # fmt: skip
    random = assess(study, Design("continuous", is_randomised=True)).gate("back_door")
    assert random is not None
    assert not random.passed
    assert "declared as random" in random.detail
    edges = (("a", "t"), ("a", "y"), ("b", "t"), ("b", "y"), ("luck", "t"), ("luck", "y"), ("t", "y"))
    hidden = assess(study, Design("continuous", graph=Graph(edges, "t", "y", latent=("luck",))))
    assert hidden.verdict == "not identified"
    gate = hidden.gate("identification")
    assert gate is not None
    assert not gate.passed
    assert "luck" in gate.detail


def confounded(seed: int = 2, rows: int = 1500) -> Study:
    """An amount that is decided by `size`, which moves the outcome, too; `noise` is nothing. Its effect is 1."""
    draw = np.random.default_rng(seed)
    size, noise = draw.normal(size=(2, rows))
    amount = size + draw.normal(size=rows)
    return Study(
        amount,
        amount + 3 * size + draw.normal(size=rows),
        Covariates(("size", "noise"), np.column_stack([size, noise])),
    )


@pytest.mark.parametrize(
    ("held", "design", "passes", "said"),
    [
        ((), AMOUNT, False, "nothing is held fixed"),
        ((), replace(AMOUNT, graph=Graph((("t", "y"),), "t", "y")), False, "nothing is held fixed"),
        (("noise",), AMOUNT, False, "declared as chosen by recorded facts"),
        (("noise",), replace(AMOUNT, is_vouched=True), True, "taken for random"),
        (("noise",), replace(AMOUNT, is_randomised=True), True, "declared as random"),
        (("size",), AMOUNT, True, "declared as chosen by what is held fixed: size"),
        ((), replace(AMOUNT, is_randomised=True), True, "declared as random"),
    ],
)
def test_an_amount_that_nothing_recorded_tells_is_not_compared_as_if_it_were(held, design, passes, said) -> None:
    study = confounded()
    found = assess(replace(study, confounders=study.confounders.only(set(held))), design)
    gate = found.gate("back_door")
    assert gate is not None
    assert (gate.passed, said in gate.detail) == (passes, True)
    assert found.identified == passes
    if not design.is_randomised:
        assert found.warnings[0].startswith("That nothing unrecorded chose the treatment")
        assert any("Nothing recorded tells" in one for one in found.warnings) == ("taken for random" in said)


def test_levels_close_paths_of_a_graph() -> None:
    planted = price_elasticity(1)
    edges = (("category_week", "t"), ("category_week", "y"), ("rival_price", "t"), ("rival_price", "y"), ("t", "y"))
    design = Design("continuous", graph=Graph(edges, "t", "y"))
    gate = assess(planted.study, design).gate("identification")
    assert gate is not None
    assert gate.passed
    assert {"category_week", "rival_price"} <= set(held_fixed(planted.study, design))
    assert (
        held_fixed(planted.study, replace(design, graph=Graph((*edges, ("luck", "t"), ("luck", "y")), "t", "y"))) == ()
    )


def test_a_price_is_found_on_sales_with_zeros() -> None:
    planted = price_elasticity(0)
    assert (planted.study.outcome == 0).mean() > 0.01
    found = assess(planted.study, planted.design)
    assert found.identified
    assert [one.method for one in found.estimates] == [DML, REGRESSION]
    assert found.effect is not None
    assert found.effect.holds(-1.8)
    assert found.naive is not None
    assert not found.naive.holds(-1.8)


def test_a_price_that_leaves_no_variation_or_was_a_hunch_is_refused() -> None:
    still = price_without_variation(0)
    found = assess(still.study, still.design)
    assert not found.identified
    assert not found.estimates
    assert found.gate("overlap") is not None
    hunch = price_of_a_hunch(0)
    assert not assess(hunch.study, hunch.design).identified


def test_a_later_price_that_goes_by_todays_sales_is_found_out() -> None:
    planted = price_elasticity(2)
    study = planted.study
    follows = 0.2 * np.log1p(study.outcome) + study.treatment
    shape = replace(study.shape, later=follows)
    gate = assess(replace(study, shape=shape), planted.design).gate("placebo_later_treatment")
    assert gate is not None
    assert not gate.passed


def test_an_earlier_outcome_that_the_treatment_seems_to_change_is_found_out() -> None:
    study = straight()
    fine = replace(study, placebo_outcomes={"earlier": study.confounders.values[:, 2].copy()})
    leaks = replace(study, placebo_outcomes={"earlier": study.outcome + 0.1})
    gates = [assess(one, AMOUNT).gate("negative_controls") for one in (fine, leaks)]
    assert [gate.passed for gate in gates if gate] == [True, False]


def test_groups_have_effects_of_their_own_and_the_answer_is_their_mean() -> None:
    planted = price_elasticity(4)
    study = planted.study
    assert study.clusters is not None
    halves = (study.clusters % 4 >= 2).astype(np.int64)
    shape = replace(study.shape, groups=halves, group_names=("food", "other"))
    found = assess(replace(study, shape=shape), planted.design)
    assert [one.contrast for one in found.estimates[::2]] == ["one more unit", "other", "food"]
    weights = np.bincount(halves, weights=study.outcome) / study.outcome.sum()
    other, food = found.estimates[2].estimate.ate, found.estimates[4].estimate.ate
    assert found.estimates[0].estimate.ate == pytest.approx(weights @ [food, other])


def test_few_rows_abstain_and_gaps_are_told() -> None:
    study = straight()
    few = assess_continuous(study.of(np.arange(100)), AMOUNT)
    assert not few.estimates
    assert few.gates[0].name == "arm_sizes"
    gaps = study.treatment.copy()
    gaps[:3] = np.nan
    with pytest.raises(ValueError, match="treatment is no number in 3 of 1500 rows"):
        assess_continuous(replace(study, treatment=gaps), AMOUNT)


def test_some_rows_of_a_shaped_study_keep_their_shape() -> None:
    study = price_elasticity(0).study
    some = study.of(np.arange(50))
    assert isinstance(some, ShapedStudy)
    assert len(some.shape.levels[0]) == 50 == len(some)
    assert some.shape.later is not None
    assert len(some.shape.later) == 50
