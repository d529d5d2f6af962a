"""Whether the effect differs between rows in a way that is known: predicted on one half, held against the other.

The tests are EconML's (`DRTester`): the best linear predictor of the effects, calibration, and the Qini curve. Which
rows to treat is the business of policies.
"""

from __future__ import annotations

import warnings

import numpy as np

from ml_assets.core.causal.effect import Nuisances, prepared
from ml_assets.core.causal.finding import Heterogeneity
from ml_assets.core.causal.study import Matrix, Study, Vector

FEWEST_HELD_OUT = 200
GROUPS = 4
DRAWS = 2
"""Of the bootstrap for uniform bands, which nobody reads here and which has no seed."""


class _Linear:
    """Effects that are linear in the modifiers, in the form in which EconML asks for them."""

    def __init__(self, modifiers: Matrix, scores: Vector) -> None:
        design = np.column_stack([np.ones(len(modifiers)), modifiers])
        self.coefficients = np.linalg.lstsq(design, scores, rcond=None)[0]

    def effect(self, X: Matrix, T0: object, T1: object) -> Vector:  # noqa: ARG002 - EconML's signature
        """The effect on each row."""
        effects: Vector = np.column_stack([np.ones(len(X)), X]) @ self.coefficients
        return effects


def heterogeneity(study: Study, covariates: Matrix, nuisances: Nuisances, seed: int) -> Heterogeneity | None:
    """The tests of effects that are linear in the modifiers, for the first level; None where too few rows are left."""
    from econml.validate.drtester import DRTester
    from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit

    pair = np.flatnonzero(study.treatment <= 1)
    arms, outcome = study.treatment[pair].astype(np.int64), study.outcome[pair]
    modifiers, inside = prepared(study.modifiers.values[pair]), covariates[pair]
    if len(pair) < 2 * FEWEST_HELD_OUT or min(np.bincount(arms, minlength=2)) < FEWEST_HELD_OUT // 2:
        return None
    if study.clusters is None:
        halves = StratifiedShuffleSplit(1, test_size=0.5, random_state=seed).split(inside, arms)
    else:
        halves = GroupShuffleSplit(1, test_size=0.5, random_state=seed).split(inside, arms, study.clusters[pair])
    known, held_out = next(halves)
    tester = DRTester(model_regression=nuisances.outcome(), model_propensity=nuisances.propensity(), cate=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tester.fit_nuisance(
            inside[held_out], arms[held_out], outcome[held_out], inside[known], arms[known], outcome[known]
        )
        tester.cate = _Linear(modifiers[known], tester.dr_train_[:, 0])
        found = tester.evaluate_all(modifiers[held_out], modifiers[known], n_groups=GROUPS, n_bootstrap=DRAWS)
    curve = found.qini.curves[1]
    return Heterogeneity(
        blp=float(found.blp.params[0]),
        blp_p=float(found.blp.pvals[0]),
        calibration=float(found.cal.cal_r_squared[0]),
        qini=float(found.qini.params[0]),
        qini_error=float(found.qini.errs[0]),
        qini_p=float(found.qini.pvals[0]),
        curve=tuple(zip(curve["Percentage treated"].tolist(), curve["value"].tolist(), strict=True)),
    )
