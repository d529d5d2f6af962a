"""How strong something unrecorded would have to be to change the answer, measured by what is recorded.

Bounds of omitted variable bias for doubly robust estimates (Chernozhukov and others 2022) by EconML; the benchmark is
the recorded covariate that explains most of both treatment and outcome (Cinelli and Hazlett 2020).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ml_assets.core.causal.effect import FEW_VALUES, FOLDS, SEED, prepared
from ml_assets.core.causal.finding import CONFIDENCE, Sensitivity
from ml_assets.core.causal.study import Covariates, Labels, Matrix, Vector, column_of

MOST = 0.99
"""A share above it leaves nothing that could be explained."""
STEPS = 16
"""Quantiles of a column between which what it tells may differ."""
COMPARED_ROWS = 20_000
"""Of more rows a seeded sample says which column is the strongest."""


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
    pair = parts.weights != 0  # of several levels, the level and the control
    strongest = _strongest(parts.got[pair], outcome[pair], confounders.of(pair))
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
    """The column that explains most of what the others leave of outcome and treatment: its partial R² of each.

    By steps between the quantiles of a column: one that acts in a curve explains nothing by a straight line.
    """
    if len(got) > COMPARED_ROWS:
        some = np.random.default_rng(SEED).choice(len(got), COMPARED_ROWS, replace=False)
        got, outcome, confounders = got[some], outcome[some], confounders.of(some)
    columns = dict.fromkeys(map(column_of, confounders.names))
    blocks = {column: prepared(confounders.only({column}).values) for column in columns}
    blocks = {column: _stepped(block) for column, block in blocks.items() if block.any()}
    if not blocks:
        return None
    design = np.hstack([*blocks.values(), got[:, None]])
    places = np.repeat(np.arange(len(blocks) + 1), [*(block.shape[1] for block in blocks.values()), 1])
    treatment_shares = _shares(design[:, :-1], got, places[:-1], len(blocks))
    outcome_shares = _shares(design, outcome, places, len(blocks))
    strongest = int(np.argmax(treatment_shares * outcome_shares))
    return list(blocks)[strongest], float(outcome_shares[strongest]), float(treatment_shares[strongest])


def _stepped(block: Matrix) -> Matrix:
    """The columns of a block, and a column of 0 and 1 for each step of those that have many values."""
    steps = []
    for column in block.T:
        if len(np.unique(column)) > FEW_VALUES:
            edges = np.unique(np.quantile(column, np.arange(1, STEPS) / STEPS))
            steps.append((np.searchsorted(edges, column)[:, None] == np.arange(len(edges) + 1)).astype(np.float64))
    return np.hstack([block, *steps])


def _shares(design: Matrix, explained: Vector, places: Labels, blocks: int) -> Vector:
    """The partial R² of each block of columns for rows that were not fitted, by refits of a ridge without it.

    `places` has the block of each column of `design`.
    """
    from sklearn.model_selection import KFold

    target = (explained - explained.mean()) / max(float(explained.std()), 1e-300)
    whole = np.column_stack([design - design.mean(axis=0), target])
    products = whole.T @ whole
    lost = np.zeros(blocks + 1)
    for _, rest in KFold(FOLDS, shuffle=True, random_state=SEED).split(whole):
        unseen = whole[rest].T @ whole[rest]
        known = products - unseen
        inverse = np.linalg.inv(known[:-1, :-1] + np.eye(len(places)))
        full = inverse @ known[:-1, -1]
        for block in range(blocks + 1):  # the last leaves none out
            of = np.flatnonzero((places == block) & (block < blocks))
            coefficients = full - inverse[:, of] @ np.linalg.solve(inverse[np.ix_(of, of)], full[of])
            lost[block] += unseen[-1, -1] + coefficients @ (unseen[:-1, :-1] @ coefficients - 2 * unseen[:-1, -1])
    shares: Vector = np.clip(1 - lost[-1] / np.maximum(lost[:-1], 1e-300), 0.0, MOST)
    return shares
