"""Ten draws of each planted study: effects are found where they can be, and refused where they cannot.

`benchmarks/causal.py` has the table over as many as one likes.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.causal import HEAD, measured
from benchmarks.support.planted_studies import STUDIES
from ml_assets.core.causal import levels
from ml_assets.core.causal.assess import assess
from ml_assets.core.causal.effect import LINEAR
from ml_assets.core.causal.study import Covariates, Design, Study

SEEDS = range(10)
IDENTIFIED = (
    "email_randomised",
    "free_shipping",
    "email_observed",
    "coupon_levels",
    "club_on_the_treated",
    "loyalty_tier",
    "price_elasticity",
    "discount_on_units",
    "discount_on_margin",
    "stock_out",
)
RANDOMISED = {"email_randomised", "free_shipping"}
REFUSED = {
    "email_unobserved": "negative_controls",
    "email_declared": "identification",
    "email_without_overlap": "overlap",
    "price_of_a_hunch": "back_door",
    "price_without_variation": "overlap",
}


@pytest.mark.parametrize("name", IDENTIFIED)
def test_identified_effects_are_found_with_honest_intervals(name):
    for line in measured(name, SEEDS):
        assert line.accepted >= 0.9, line.refused_by
        assert abs(line.bias) < 0.03 + 2.5 * line.bias_error
        assert line.coverage >= 0.8
        if name not in RANDOMISED:
            assert abs(line.naive_bias) > 0.25
            assert line.naive_coverage <= 0.5
        assert line.markdown.count("|") == HEAD.splitlines()[0].count("|")


@pytest.mark.parametrize(("name", "gate"), REFUSED.items())
def test_what_is_not_identified_is_refused_by_the_gate_that_sees_it(name, gate):
    (line,) = measured(name, SEEDS)
    assert line.accepted == 0
    assert line.refused_by[gate] == len(SEEDS)
    assert line.bias is None


def test_a_draw_is_the_same_again_and_another_seed_another():
    one, again, other = (STUDIES["email_observed"](seed).study for seed in (1, 1, 2))
    assert np.array_equal(one.outcome, again.outcome)
    assert not np.array_equal(one.outcome, other.outcome)


@pytest.mark.parametrize(("tells", "widest"), [(0.0, 1.03), (1.0, 0.82)])
def test_the_interval_of_a_random_treatment_covers_and_is_no_wider_than_the_naive_one(monkeypatch, tells, widest):
    """Of 300 rows and 20 covariates, by what a random treatment is told by; 150 draws, without refutations."""
    monkeypatch.setattr(levels, "_refutations", lambda *_: [])
    held, widths = [], []
    for seed in range(150):
        draw = np.random.default_rng(seed)
        covariates, treated = draw.normal(size=(300, 20)), (draw.random(300) < 0.25).astype(float)
        outcome = treated + tells * covariates[:, 0] + draw.normal(size=300)
        study = Study(treated, outcome, Covariates(tuple(f"x{place}" for place in range(20)), covariates))
        found = assess(study, Design(is_randomised=True), LINEAR)
        held.append(found.effect.holds(1.0))
        widths.append((found.effect.high - found.effect.low) / (found.naive.high - found.naive.low))
        assert found.trimmed_share == 0
    assert 0.92 <= np.mean(held) <= 0.98
    assert np.mean(widths) <= widest
    assert max(widths) < 1.25
