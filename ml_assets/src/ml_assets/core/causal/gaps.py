"""What a confounder that is empty in some rows may hide: whether it tells the treatment, and what it moves.

Among the rows in which it is empty it is not held fixed, so they keep the bias that it would have taken away. Whether
that refuses an answer is a gate's business.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_assets.core.causal.effect import prepared
from ml_assets.core.causal.study import Covariates, Kind, Matrix, Study, Vector, column_of

BY_CHANCE = 0.003
"""How often chance makes a column seem to tell the treatment: three standard errors."""


class Gap(NamedTuple):
    """A covariate that tells the treatment and is empty in a `share` of the rows, which may move the effect by `moves`.

    `error` is the standard error of the effect that has it held fixed, and `effect` that effect.
    """

    share: float
    moves: float
    error: float
    effect: float


def gap_of(study: Study, kind: Kind, column: str, empty: str, share: float) -> Gap | None:
    """The gap of a column that is empty in a `share` of the rows; None where its values do not tell the treatment.

    `empty` is the name of the column that marks empty words. The rows with a value say what leaving the column out does
    to a straight line's effect; of the others as much is taken to hold. Of several levels the furthest is told.
    """
    covariates = study.confounders
    columns = covariates.only({column})
    marks = [place for place, name in enumerate(columns.names) if name == empty]
    lacking = np.hstack([np.isnan(columns.values), columns.values[:, marks] == 1])
    known = np.logical_not(np.any(lacking, axis=1))
    got = study.treatment[known]
    sides = got[:, None] if kind == "continuous" else got[:, None] == np.arange(1, len(study.levels))
    treatments = sides.astype(np.float64)
    if not _tell(prepared(columns.values[known]), treatments):
        return None
    others = covariates.only({column_of(name) for name in covariates.names} - {column})
    outcome = study.outcome[known]
    effects, errors = _slopes(treatments, outcome, _of(covariates, known))
    without, _ = _slopes(treatments, outcome, _of(others, known))
    moves = share * np.abs(without - effects)
    furthest = int(np.argmax(moves / np.maximum(errors, 1e-300)))
    return Gap(share, float(moves[furthest]), float(errors[furthest]), float(effects[furthest]))


def _tell(covariates: Matrix, treatments: Matrix) -> bool:
    """Whether covariates explain one of the treatments beyond chance."""
    from scipy.stats import chi2

    for side in treatments.T:
        centred = side - side.mean()
        left = centred - covariates @ np.linalg.lstsq(covariates, centred, rcond=None)[0]
        explained = 1 - float(left @ left) / max(float(centred @ centred), 1e-300)
        if chi2.sf(len(side) * explained, covariates.shape[1]) < BY_CHANCE / treatments.shape[1]:
            return True
    return False


def _of(covariates: Covariates, known: npt.NDArray[np.bool_]) -> Matrix:
    """The covariates of some rows, with a constant; that alone where there are none."""
    ones = np.ones((int(known.sum()), 1))
    return np.hstack([ones, prepared(covariates.values[known])]) if covariates.names else ones


def _slopes(treatments: Matrix, outcome: Vector, covariates: Matrix) -> tuple[Vector, Vector]:
    """Slopes of the outcome on treatments, covariates held fixed, with their robust standard errors (White 1980)."""
    both = np.column_stack([treatments, outcome])
    left = both - covariates @ np.linalg.lstsq(covariates, both, rcond=None)[0]
    sides, rest = left[:, :-1], left[:, -1]
    inverse = np.linalg.pinv(sides.T @ sides)
    slopes = inverse @ (sides.T @ rest)
    scores = sides * (rest - sides @ slopes)[:, None]
    return slopes, np.sqrt(np.diag(inverse @ (scores.T @ scores) @ inverse))
