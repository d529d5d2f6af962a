"""Partially linear double machine learning, the answer: what is left of the outcome by what is left of the treatment.

The models that predict both are in `nuisances`; a study with levels takes its rows and weights from `regression`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ml_assets.core.causal.continuous.data import Data
from ml_assets.core.causal.continuous.effects import GroupEffects, weights_of
from ml_assets.core.causal.continuous.nuisances import predicted
from ml_assets.core.causal.continuous.shape import Shape
from ml_assets.core.causal.study import Matrix, Vector
from ml_assets.core.causal.within import Fit, by_cluster


class Left(NamedTuple):
    """What predictions for unseen rows leave of the outcome, of the treatment and of what was set beside it."""

    outcome: Vector
    columns: Matrix
    weights: Vector
    confounders: Matrix
    treatment: Vector
    """The treatment, with levels taken out only."""

    @property
    def share(self) -> float:
        """The share of the treatment's variance within levels that the predictions leave."""
        still, was = (np.average(one**2, weights=self.weights) for one in (self.columns[:, 0], self.treatment))
        return float(still / was)


def left_of(data: Data, shape: Shape, pilot: Fit) -> Left:
    """Outcome and columns less what levels and cross-fitted predictions from the confounders tell.

    With a log link the outcome is the working response of the fitted Poisson regression, whose weight is the mean: one
    Newton step on the orthogonal score (outcome - mean) * (treatment - its prediction) from the regression's estimate.
    An outcome of 0 has one, too.
    """
    if shape.link == "log":
        weights = pilot.mean
        outcome = pilot.predictor + (data.outcome - pilot.mean) / pilot.mean
    else:
        weights, outcome = np.ones(len(data.outcome)), data.outcome
    width = data.columns.shape[1]
    centred = data.levels.centred(np.column_stack([outcome, data.columns, data.confounders]), weights)
    confounders = centred[:, 1 + width :]
    features = np.column_stack([confounders, data.confounders]) if data.groupings else confounders
    left = centred[:, : 1 + width].copy()
    if features.shape[1]:
        left -= predicted(features, left, weights, data.clusters)
    return Left(left[:, 0], left[:, 1:], weights, confounders, centred[:, 1])


def final(left: Left, data: Data, rows: Any = slice(None)) -> GroupEffects:
    """Each group's regression of what is left of the outcome on what is left of the treatment, by clusters."""
    effects, errors, freedom = [], [], []
    weights, columns, outcome, groups = left.weights[rows], left.columns[rows], left.outcome[rows], data.groups[rows]
    clusters = None if data.clusters is None else data.clusters[rows]
    for group in range(len(data.names)):
        mine = groups == group
        slope, added = _slope(columns[mine], weights[mine], outcome[mine])
        summed, number = by_cluster(added[:, None], None if clusters is None else clusters[mine])
        effects.append(slope)
        errors.append(np.sqrt((summed**2).sum() * number / max(number - 1, 1)))
        freedom.append(max(number - 1.0, 1.0))
    return GroupEffects(np.array(effects), np.array(errors), np.array(freedom), weights_of(data))


def influence(left: Left, data: Data, found: GroupEffects) -> Vector:
    """What chance in each row adds to the mean effect."""
    added = np.zeros(len(left.outcome))
    for group, weight in enumerate(found.weights):
        mine = data.groups == group
        added[mine] = weight * _slope(left.columns[mine], left.weights[mine], left.outcome[mine])[1]
    return added


def _slope(columns: Matrix, weights: Vector, outcome: Vector) -> tuple[float, Vector]:
    """The weighted regression's coefficient of the first column, and what the residual of each row adds to it."""
    bread = np.linalg.pinv(columns.T @ (columns * weights[:, None]))
    slopes = bread @ (columns.T @ (outcome * weights))
    return float(slopes[0]), (columns @ bread[0]) * weights * (outcome - columns @ slopes)
