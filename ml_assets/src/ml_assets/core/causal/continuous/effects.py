"""What each estimator finds: an effect for each group of rows, their mean, and both as estimates with intervals.

How an effect is found is the business of `regression`, `double_machine_learning` and `average_derivative`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ml_assets.core.causal.continuous.data import Data
from ml_assets.core.causal.continuous.shape import Shape
from ml_assets.core.causal.finding import CONFIDENCE, Estimate
from ml_assets.core.causal.study import Vector


class GroupEffects(NamedTuple):
    """An effect for each group with its standard error and degrees of freedom, and the group's weight in the mean."""

    effects: Vector
    errors: Vector
    freedom: Vector
    weights: Vector

    @property
    def mean(self) -> float:
        """The effect on all groups."""
        return float(self.weights @ self.effects)

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return float(np.sqrt(self.weights**2 @ self.errors**2))


def weights_of(data: Data, link: str = "identity") -> Vector:
    """Each group's part of the rows, or with a log link of the outcome."""
    amounts = np.bincount(data.groups, weights=data.outcome if link == "log" else None, minlength=len(data.names))
    shares: Vector = amounts / amounts.sum()
    return shares


def told(found: GroupEffects, shape: Shape) -> list[Estimate]:
    """The effect of each group and, last, their mean; a ratio as the relative change of the outcome."""
    from scipy.stats import t

    mean, error_of_mean = found.mean, found.error
    if shape.is_ratio:
        factors = found.weights * np.exp(found.effects)
        mean, error_of_mean = float(np.log(factors.sum())), found._replace(weights=factors / factors.sum()).error
    effects, errors = [*found.effects, mean], [*found.errors, error_of_mean]
    estimates = []
    for effect, error, freedom in zip(effects, errors, [*found.freedom, found.freedom.sum()], strict=True):
        half = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * float(error)
        values = [float(effect), float(effect) - half, float(effect) + half]
        estimates.append(Estimate(*(np.expm1(values).tolist() if shape.is_ratio else values)))
    return estimates
