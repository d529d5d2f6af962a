"""Confounders that are empty in some rows: what they move the effect by, held against the bias that was planted."""

from __future__ import annotations

import numpy as np
import pytest

from ml_assets.core.causal.gaps import Gap, gap_of
from ml_assets.core.causal.gates import confounders_are_known
from ml_assets.core.causal.study import Covariates, Study

ROWS, EFFECT = 4000, 2.0


def study(seed: int, share: float, *, of_treated: bool = False) -> Study:
    """`size` decides and moves the outcome, `lot` only decides, `noise` does neither; each is empty in some rows."""
    draw = np.random.default_rng(seed)
    size, lot, noise = draw.normal(size=(3, ROWS))
    treated = draw.random(ROWS) < 1 / (1 + np.exp(-size - lot))
    outcome = EFFECT * treated + 1.5 * size + draw.normal(size=ROWS)
    odds = np.where(treated, 1.8, 0.2) if of_treated else 1.0
    columns = [np.where(draw.random(ROWS) < share * odds, np.nan, column) for column in (size, lot, noise)]
    return Study(
        treated.astype(float),
        outcome,
        Covariates(("size", "lot", "noise"), np.column_stack(columns)),
        levels=("0", "1"),
    )


def gaps(share: float, **how: bool) -> dict[str, list[Gap | None]]:
    """Of each column the gaps of 20 seeds."""
    studies = [study(seed, share, **how) for seed in range(20)]
    return {name: [gap_of(one, "binary", name, "", share) for one in studies] for name in ("size", "lot", "noise")}


def bias(share: float) -> float:
    """What the effect in the rows without `size` has of it, on average over all rows."""
    studies = [study(seed, share) for seed in range(20)]
    treated, outcome = (np.concatenate([getattr(one, of) for one in studies]) for of in ("treatment", "outcome"))
    values = np.concatenate([one.confounders.values for one in studies])
    rows = np.isnan(values[:, 0]) & ~np.isnan(values[:, 1])
    columns = np.column_stack([treated, np.ones(len(rows)), values[:, 1]])[rows]
    return share * (np.linalg.lstsq(columns, outcome[rows], rcond=None)[0][0] - EFFECT)


@pytest.mark.parametrize("share", [0.05, 0.1])
def test_a_gap_is_told_by_the_bias_that_it_leaves(share):
    found = gaps(share)["size"]
    assert np.mean([gap.moves for gap in found]) == pytest.approx(bias(share), rel=0.2)


@pytest.mark.parametrize("of_treated", [False, True])
@pytest.mark.parametrize("share", [0.05, 0.1])
def test_a_confounder_that_is_empty_in_so_many_rows_refuses_the_effect(share, of_treated):
    found = gaps(share, of_treated=of_treated)
    assert not any(confounders_are_known({"size": share}, {"size": gap}).passed for gap in found["size"])


@pytest.mark.parametrize("share", [0.02, 0.05, 0.09])
def test_what_only_decides_and_what_does_nothing_may_be_empty(share):
    found = gaps(share)
    passed = [confounders_are_known({"lot": share}, {"lot": gap}).passed for gap in found["lot"]]
    assert np.mean(passed) >= 0.95
    assert found["noise"].count(None) >= 19
    assert confounders_are_known({"noise": share}, {}).passed
