"""How strong something unrecorded would have to be to change the answer, measured by what is recorded.

Bounds of omitted variable bias for doubly robust estimates (Chernozhukov and others 2022) by EconML; the benchmark is
the recorded covariate that explains most of both treatment and outcome (Cinelli and Hazlett 2020).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ml_assets.core.causal.effect import prepared
from ml_assets.core.causal.finding import CONFIDENCE, Sensitivity
from ml_assets.core.causal.study import Covariates, Labels, Matrix, Vector, column_of

MOST = 0.99
"""A share above it leaves nothing that could be explained."""


class Parts(NamedTuple):
    """What an estimate is made of: of each row its `influence`, what is `left` of its outcome, and its weight.

    `weights` are the Riesz representer α of the effect, and `squares` have E[α²] as their mean, too. `got` is 1 for
    the treated.
    """

    effect: float
    influence: Vector
    left: Vector
    weights: Vector
    squares: Vector
    got: Vector


def sensitivity(parts: Parts, outcome: Vector, confounders: Covariates) -> Sensitivity | None:
    """The robustness of an estimate, and its interval if something as strong as the strongest covariate is missing.

    None where nothing is left of the outcome, or no covariate varies.
    """
    spread = parts.left**2
    representer = 2 * parts.squares - parts.weights**2
    sigma, nu = float(spread.mean()), float(representer.mean())
    strongest = _strongest(parts.got, outcome, confounders)
    if not (sigma > 0 and nu > 0) or strongest is None:
        return None
    scores = np.column_stack([parts.influence, spread - sigma, representer - nu])
    return bounds(parts.effect, sigma, nu, scores.T @ scores / len(scores) ** 2, strongest)


def bounds(
    effect: float, sigma: float, nu: float, covariance: Matrix, strongest: tuple[str, float, float]
) -> Sensitivity:
    """EconML's bounds of an effect.

    `sigma` is E[(what is left of the outcome)²], `nu` E[α²], and `covariance` that of the three; `strongest` is a
    recorded column with its partial R² of outcome and treatment. EconML looks for robustness with an absolute
    tolerance, so that it gets all of them without their units.
    """
    from econml.validate.sensitivity_analysis import RV, sensitivity_interval

    unit = float(np.sqrt(sigma * nu))
    units = np.array([unit, sigma, nu])
    given = (effect / unit, 1.0, 1.0, covariance / np.outer(units, units), 1 - CONFIDENCE)
    name, outcome_share, treatment_share = strongest
    low, high = sensitivity_interval(*given, outcome_share, treatment_share, 1.0, interval_type="ci")
    return Sensitivity(
        robustness=float(RV(*given, interval_type="theta")),
        robustness_interval=float(RV(*given, interval_type="ci")),
        benchmark=name,
        outcome_share=outcome_share,
        treatment_share=treatment_share,
        interval=(unit * float(np.squeeze(low)), unit * float(np.squeeze(high))),
    )


def _strongest(got: Vector, outcome: Vector, confounders: Covariates) -> tuple[str, float, float] | None:
    """The column that explains most of what the others leave of outcome and treatment: its partial R² of each."""
    columns = dict.fromkeys(map(column_of, confounders.names))
    blocks = {column: prepared(confounders.only({column}).values) for column in columns}
    blocks = {column: block for column, block in blocks.items() if block.any()}
    if not blocks:
        return None
    design = np.hstack([np.ones((len(got), 1)), got[:, None], *blocks.values()])
    places = np.repeat(np.arange(-2, len(blocks)), [1, 1, *(block.shape[1] for block in blocks.values())])
    without_treatment = np.delete(design, 1, axis=1)
    treatment_shares = _shares(without_treatment, got, np.delete(places, 1), len(blocks))
    outcome_shares = _shares(design, outcome, places, len(blocks))
    strongest = int(np.argmax(treatment_shares * outcome_shares))
    return list(blocks)[strongest], float(outcome_shares[strongest]), float(treatment_shares[strongest])


def _shares(design: Matrix, explained: Vector, places: Labels, blocks: int) -> Vector:
    """The partial R² of each block of columns in a least-squares fit, by what the fit would lose without it."""
    inverse = np.linalg.pinv(design.T @ design, hermitian=True)
    coefficients = inverse @ (design.T @ explained)
    rest = float(np.sum((explained - design @ coefficients) ** 2))
    found = np.zeros(blocks)
    for block in range(blocks):
        of = places == block
        lost = float(coefficients[of] @ np.linalg.pinv(inverse[np.ix_(of, of)], hermitian=True) @ coefficients[of])
        found[block] = lost / max(lost + rest, 1e-300)
    return np.clip(found, 0.0, MOST)
