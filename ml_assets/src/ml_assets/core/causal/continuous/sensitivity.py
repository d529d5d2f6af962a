"""What something unrecorded would have to be like to change the effect of an amount.

The bounds are those of `ml_assets.core.causal.sensitivity`; here is what they are reckoned from.
"""

from __future__ import annotations

import numpy as np

from ml_assets.core.causal.continuous.data import Data
from ml_assets.core.causal.continuous.double_machine_learning import Left, final
from ml_assets.core.causal.finding import Sensitivity
from ml_assets.core.causal.sensitivity import MOST, bounds
from ml_assets.core.causal.study import Matrix, Vector


def sensitivity(left: Left, data: Data) -> Sensitivity:
    """What something unrecorded would have to be like (Chernozhukov, Cinelli, Newey, Sharma and Syrgkanis 2022).

    Of all groups together, on the scale of the link. EconML's bounds, with the standard error by clusters in place of
    its own, on residuals scaled by the root of their weights.
    """
    from econml.validate.sensitivity_analysis import dml_sensitivity_values

    root = np.sqrt(left.weights / left.weights.mean())
    treatment, outcome = left.columns[:, 0] * root, left.outcome * root
    if left.columns.shape[1] > 1:
        beside = left.columns[:, 1:] * root[:, None]
        treatment, outcome = (v - beside @ np.linalg.lstsq(beside, v, rcond=None)[0] for v in (treatment, outcome))
    found = dml_sensitivity_values(treatment[:, None], outcome[:, None])
    covariance = np.array(found.cov)
    covariance[0, 0] = final(left, data.as_one_group).errors[0] ** 2
    strongest = _strongest(left, root, data)
    return bounds(float(found.theta), float(found.sigma), float(found.nu), covariance, strongest)


def _strongest(left: Left, root: Vector, data: Data) -> tuple[str, float, float]:
    """The recorded column that tells most of what the others leave of outcome and treatment, and its share of each."""
    found = [("nothing", 0.0, 0.0)]
    blocks = np.array(data.blocks)
    treatment, outcome = left.treatment * root, left.outcome * root
    confounders = left.confounders * root[:, None]
    beside = left.columns[:, 1:] * root[:, None]
    for block in dict.fromkeys(data.blocks):
        others = np.column_stack([beside, confounders[:, blocks != block]])
        mine = confounders[:, blocks == block]
        of_outcome = _told_more(outcome, np.column_stack([others, left.columns[:, 0] * root]), mine)
        found.append((block, of_outcome, _told_more(treatment, others, mine)))
    return max(found, key=lambda one: one[1] * one[2])


def _told_more(target: Vector, others: Matrix, mine: Matrix) -> float:
    """The partial R² of the columns `mine`."""
    rests = []
    for columns in (others, np.column_stack([others, mine])):
        rest = target - columns @ np.linalg.lstsq(columns, target, rcond=None)[0] if columns.shape[1] else target
        rests.append(float(rest @ rest))
    return float(np.clip(1 - rests[1] / max(rests[0], 1e-300), 0.0, MOST))
