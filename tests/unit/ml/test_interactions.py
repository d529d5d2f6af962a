"""Products of confounders are held fixed where they tell treatment and outcome, and only there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml_assets.core.causal.assess import assess
from ml_assets.core.causal.effect import SMOOTH
from ml_assets.core.causal.interactions import with_products
from ml_assets.core.causal.study import Covariates, Design, Study

TRUE = 2.0


def confounded(chosen: float, moved: float, *, rows: int = 2000, seed: int = 0) -> Study:
    """A treatment that is chosen by the product of a and b, as far as `chosen`, which moves the outcome by `moved`."""
    draw = np.random.default_rng(seed)
    a, b, c = columns = draw.normal(size=(3, rows))
    treated = (draw.random(rows) < 1 / (1 + np.exp(-chosen * a * b - 0.3 * c))).astype(float)
    outcome = moved * a * b + c + TRUE * treated + draw.normal(size=rows)
    return Study(treated, outcome, Covariates(("a", "b", "c"), columns.T))


def test_a_product_that_confounds_is_held_fixed_and_told():
    study = confounded(0.8, 1.5)
    wider, (product,) = with_products(study)
    assert (product.name, wider.confounders.names) == ("a × b", ("a", "b", "c", "a × b"))
    assert np.corrcoef(product.values, study.confounders.values[:, 0] * study.confounders.values[:, 1])[0, 1] > 0.99
    found = assess(study, Design(is_vouched=True), SMOOTH)
    assert any("the product of a and b" in told for told in found.warnings)
    assert found.effect is not None
    assert abs(found.effect.ate - TRUE) < 0.15, "it was 0.3 off"


@pytest.mark.parametrize(("chosen", "moved"), [(0.0, 1.5), (0.8, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("seed", range(5))
def test_one_that_tells_one_of_both_or_nothing_is_not(chosen, moved, seed):
    study = confounded(chosen, moved, seed=seed)
    assert with_products(study) == (study, ())


def test_what_was_dealt_out_at_random_has_none():
    found = assess(confounded(0.0, 1.5), Design(is_randomised=True), SMOOTH)
    assert not any("product" in told for told in found.warnings)


def test_rows_that_depend_on_each_other_count_once():
    """Twenty copies of each of a hundred rows tell no more than these."""
    few = confounded(0.8, 1.5, rows=100, seed=3)
    copies = np.repeat(np.arange(100), 20)
    assert with_products(replace(few.of(copies), clusters=copies))[1] == ()
    assert with_products(few.of(copies))[1] != ()


def test_codes_of_words_empty_cells_and_constants_are_no_trouble():
    study = confounded(0.8, 1.5)
    values = study.confounders.values.copy()
    values[::50, 0] = np.nan
    coded = np.column_stack([values, values[:, 2] > 0, np.ones(len(values))])
    given = replace(study, confounders=Covariates(("a", "b", "c", "city=Rome", "same"), coded))
    assert [one.name for one in with_products(given)[1]] == ["a × b"]
