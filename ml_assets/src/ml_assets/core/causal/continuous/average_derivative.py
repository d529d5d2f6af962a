"""The mean slope of a smooth curve: what must agree with double machine learning where no regression has levels.

It knows neither levels, nor a log link, nor groups: those are told by `regression`.
"""

from __future__ import annotations

import numpy as np

from ml_assets.core.causal.continuous.data import Data
from ml_assets.core.causal.continuous.effects import GroupEffects
from ml_assets.core.causal.continuous.nuisances import KNOTS, folds_of
from ml_assets.core.causal.study import Matrix
from ml_assets.core.causal.within import by_cluster


def average_derivative(data: Data) -> GroupEffects:
    """The mean slope of any smooth curve of the outcome in the treatment, without a model of the treatment.

    Automatic debiased machine learning (Chernozhukov, Newey and Singh 2022, Econometrica 90): the Riesz representer of
    the mean derivative is fitted by least squares in the same columns as the curve. If the outcome is a straight line
    in the treatment, it is the line's slope; if not, the two estimates part.
    """
    values, slopes = _curve(data)
    scores = np.zeros(len(data.outcome))
    for known, rest in folds_of(values, data.clusters):
        gram = values[known].T @ values[known] / len(known) + 1e-4 * np.eye(values.shape[1])
        curve = np.linalg.solve(gram, values[known].T @ data.outcome[known] / len(known))
        riesz = np.linalg.solve(gram, slopes[known].mean(axis=0))
        scores[rest] = slopes[rest] @ curve + (values[rest] @ riesz) * (data.outcome[rest] - values[rest] @ curve)
    summed, number = by_cluster((scores - scores.mean())[:, None], data.clusters)
    error = float(np.sqrt((summed**2).sum() * number / (number - 1))) / len(scores)
    return GroupEffects(np.array([scores.mean()]), np.array([error]), np.array([number - 1.0]), np.ones(1))


def _curve(data: Data) -> tuple[Matrix, Matrix]:
    """Columns of a curve in treatment and confounders, and their derivatives by the treatment."""
    from sklearn.preprocessing import SplineTransformer

    treatment, rows = data.columns[:, 0], len(data.outcome)
    centre, spread = treatment.mean(), treatment.std()
    t = ((treatment - centre) / spread)[:, None]
    held = [np.ones((rows, 1)), data.columns[:, 1:]]
    if data.confounders.shape[1]:
        held.append(SplineTransformer(n_knots=KNOTS, degree=3, include_bias=False).fit_transform(data.confounders))
    fixed = np.column_stack(held)
    values = np.column_stack([fixed, t, t**2 - 1, t * data.confounders])
    slopes = np.column_stack([np.zeros_like(fixed), np.ones_like(t), 2 * t, data.confounders]) / spread
    return values, slopes
