"""The numbers behind the pictures of a model: points of curves, from predictions and what happened. They draw nothing.

Single figures are the other modules' of this package; `plots` draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ml_assets.core.evaluation.classification import Bin, Labels, Vector
from ml_assets.core.evaluation.forecasting import Matrix

MOST_POINTS = 120
"""A curve has at most so many points: an eye tells no more apart, and a picture stays some kilobytes small."""
SHAPLEY_ROWS = 1_000
"""Contributions are averaged over so many rows, drawn with SEED: 0.2 s, and a standard error of 3 % of each mean."""
SEED = 23


class Curve(NamedTuple):
    """The points of a line, from left to right."""

    x: Vector
    y: Vector


def reliability(bins: Sequence[Bin]) -> Curve:
    """The observed share of positives over the predicted one, in each of the bins."""
    return Curve(np.array([one.predicted for one in bins]), np.array([one.observed for one in bins]))


def precision_recall(labels: Labels, scores: npt.NDArray[Any]) -> Curve:
    """Precision over recall, from the strictest threshold to none; the first point is that of the best score."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(labels, scores, drop_intermediate=True)
    return _thinned(Curve(recall[-2::-1], precision[-2::-1]))  # its last point is a convention: recall 0, precision 1


def gains(amounts: npt.NDArray[Any], scores: npt.NDArray[Any]) -> Curve:
    """Which share of the total is found in the best-scored share of the rows, at each per cent of the rows.

    `amounts` are labels of 0 and 1, or sums of money. Rows of equal scores count alike, so that their order is none.
    """
    values, tie = np.unique(-scores, return_inverse=True)
    counts = np.bincount(tie, minlength=len(values))
    sums = np.bincount(tie, weights=amounts.astype(np.float64), minlength=len(values))
    rows, found = (np.concatenate([[0.0], np.cumsum(part)]) for part in (counts, sums))
    share = np.linspace(0, 1, 101)
    return Curve(share, np.interp(share * rows[-1], rows, found) / found[-1] if found[-1] else np.zeros(101))


def lift_by_tenth(curve: Curve) -> Vector:
    """What each tenth of the rows holds of the total, over a tenth of it, the best-scored tenth first."""
    lift: Vector = np.diff(curve.y[::10]) * 10
    return lift


def coverage_by_period(actual: Matrix, low: Matrix, high: Matrix) -> Vector:
    """The share of observed quantities that lie in [low, high], for each period ahead; NaN where none is observed."""
    known = ~np.isnan(actual)
    inside = (known & (low <= actual) & (actual <= high)).sum(axis=0)
    counts = known.sum(axis=0)
    return np.where(counts > 0, inside / np.maximum(counts, 1), np.nan)


def contributions(trees: Any, matrix: npt.NDArray[np.float32], names: Sequence[str]) -> dict[str, float]:
    """By how much each feature moves a prediction on average, up or down, in log-odds; the largest first.

    The mean absolute Shapley values of gradient-boosted `trees`, which add up to the prediction exactly (TreeSHAP:
    Lundberg et al. 2020), over at most SHAPLEY_ROWS rows.
    """
    import shap

    draw = np.random.default_rng(SEED).permutation(len(matrix))[:SHAPLEY_ROWS]
    values = shap.TreeExplainer(trees).shap_values(matrix[np.sort(draw)])
    means = dict(zip(names, np.abs(values).mean(axis=0).tolist(), strict=True))
    return dict(sorted(means.items(), key=lambda item: -item[1]))


def first(values: Mapping[str, float], count: int) -> dict[str, float]:
    """The first so many of `values`."""
    return dict(list(values.items())[:count])


def _thinned(curve: Curve) -> Curve:
    if len(curve.x) <= MOST_POINTS:
        return curve
    kept = np.unique(np.linspace(0, len(curve.x) - 1, MOST_POINTS).round().astype(np.intp))
    return Curve(curve.x[kept], curve.y[kept])
