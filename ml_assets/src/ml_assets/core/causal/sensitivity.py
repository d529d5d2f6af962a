"""How strong something unrecorded would have to be to change the answer, measured by what is recorded.

Bounds of omitted variable bias for doubly robust estimates (Chernozhukov and others 2022) by EconML; the benchmark is
the recorded covariate that explains most of both treatment and outcome (Cinelli and Hazlett 2020).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_assets.core.causal.effect import prepared
from ml_assets.core.causal.finding import CONFIDENCE, Sensitivity
from ml_assets.core.causal.study import Covariates, Matrix, Vector, column_of

Mask = npt.NDArray[np.bool_]
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
    from econml.validate.sensitivity_analysis import RV, sensitivity_interval

    spread = parts.left**2
    representer = 2 * parts.squares - parts.weights**2
    sigma, nu = float(spread.mean()), float(representer.mean())
    strongest = _strongest(parts.got, outcome, confounders)
    if not (sigma > 0 and nu > 0) or strongest is None:
        return None
    scores = np.column_stack([parts.influence, spread - sigma, representer - nu])
    given = (parts.effect, sigma, nu, scores.T @ scores / len(scores) ** 2, 1 - CONFIDENCE)
    name, outcome_share, treatment_share = strongest
    low, high = sensitivity_interval(*given, outcome_share, treatment_share, 1.0, interval_type="ci")
    return Sensitivity(
        robustness=float(RV(*given, interval_type="theta")),
        robustness_interval=float(RV(*given, interval_type="ci")),
        benchmark=name,
        outcome_share=outcome_share,
        treatment_share=treatment_share,
        interval=(float(low), float(high)),
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
    products = design.T @ np.column_stack([design, outcome])
    total = float(outcome @ outcome)
    of_treatment, of_outcome = places != -1, np.ones(len(places), dtype=bool)
    found = []
    for place, column in enumerate(blocks):
        treatment_share = _share(products[:, 1], products, of_treatment, places != place, float(got @ got))
        outcome_share = _share(products[:, -1], products, of_outcome, places != place, total)
        found.append((column, outcome_share, treatment_share))
    return max(found, key=lambda one: one[1] * one[2])


def _share(explained: Vector, products: Matrix, usable: Mask, others: Mask, total: float) -> float:
    """Partial R² by least squares on sums of squares and products: `usable` columns, and those less one block."""
    whole, without = (
        total - float(explained[chosen] @ np.linalg.pinv(products[np.ix_(chosen, chosen)]) @ explained[chosen])
        for chosen in (np.flatnonzero(usable), np.flatnonzero(usable & others))
    )
    return float(np.clip(1 - whole / max(without, 1e-300), 0.0, MOST))
