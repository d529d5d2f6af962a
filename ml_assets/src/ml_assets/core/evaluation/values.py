"""Scores of predicted amounts, such as what customers will spend: totals, errors, ranking and calibration by tenths."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

BINS = 10

Vector = npt.NDArray[np.float64]


class Bin(NamedTuple):
    """One tenth of the rows by prediction: rows, mean prediction and mean of what came."""

    rows: int
    predicted: float
    actual: float


class Scores(NamedTuple):
    """How near predictions came to what happened; amounts in the unit of the values.

    `total_ratio` is the sum of the predictions over that of the actual values (NaN where that is 0), `mae` their mean
    absolute difference, and `gini` the normalised Gini coefficient: 1 ranks as the actual values do, 0 as chance does.
    """

    rows: int
    predicted: float
    actual: float
    total_ratio: float
    mae: float
    gini: float
    bins: tuple[Bin, ...]


def mean_absolute_error(actual: Vector, predicted: Vector) -> float:
    """The mean of absolute differences; for no rows NaN."""
    return float(np.abs(actual - predicted).mean()) if len(actual) else float("nan")


def chance_of_total(actual: Vector, predicted: Vector) -> float:
    """By which share of what came 95 in 100 sums of predictions miss it that are right on average; infinite for none.

    Each row errs on its own, by as much as these do: 1.96 standard errors of the sum of the differences.
    """
    total = float(actual.sum())
    return 1.96 * float((actual - predicted).std()) * float(np.sqrt(len(actual))) / total if total > 0 else float("inf")


def normalised_gini(actual: Vector, predicted: Vector) -> float:
    """The Gini coefficient of actual values in the order of predictions, over that in their own order.

    From -1 to 1; 0 where all actual values are the same. Equal predictions share the mean of what they rank.
    """
    own = _gini(actual, actual)
    return _gini(actual, predicted) / own if own else 0.0


def _gini(actual: Vector, order: Vector) -> float:
    """Twice the area between the Lorenz curve in ascending `order` and the diagonal."""
    total = actual.sum()
    if not len(actual) or total == 0:
        return 0.0
    values, group = np.unique(order, return_inverse=True)
    count = np.bincount(group, minlength=len(values))
    share = np.bincount(group, weights=actual, minlength=len(values)) / total
    below = np.concatenate([[0.0], np.cumsum(share)])
    return float(1 - np.sum((below[1:] + below[:-1]) * count) / len(actual))


def calibration_bins(actual: Vector, predicted: Vector) -> tuple[Bin, ...]:
    """Ten bins of equal size by prediction, lowest first."""
    order = np.argsort(predicted, kind="stable")
    return tuple(
        Bin(len(rows), float(predicted[rows].mean()), float(actual[rows].mean()))
        for rows in np.array_split(order, BINS)
        if len(rows)
    )


def evaluate(actual: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> Scores:
    """All scores of predictions."""
    came, expected = actual.astype(np.float64), predicted.astype(np.float64)
    total = float(came.sum())
    return Scores(
        rows=len(came),
        predicted=float(expected.sum()),
        actual=total,
        total_ratio=float(expected.sum()) / total if total else float("nan"),
        mae=mean_absolute_error(came, expected),
        gini=normalised_gini(came, expected),
        bins=calibration_bins(came, expected),
    )
