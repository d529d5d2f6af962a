"""Scores of a binary classifier: ranking, calibration, lift, and the alarm on features that know the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

BINS = 10
DRAWS = 200
SEED = 13

Labels = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


class Bin(NamedTuple):
    """One tenth of the rows by predicted probability: rows, mean prediction and share of positives."""

    rows: int
    predicted: float
    observed: float


class Scores(NamedTuple):
    """`lift` is the positives' share in the top tenth over the overall share; `ece` is weighted over ten bins."""

    rows: int
    positives: int
    auc: Interval
    brier: float
    ece: float
    lift: float
    bins: tuple[Bin, ...]


def auc(labels: Labels, scores: npt.NDArray[Any]) -> float:
    """Area under the ROC curve: the chance that a positive is ranked above a negative."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, scores))


def auc_interval(labels: Labels, scores: npt.NDArray[Any]) -> Interval:
    """AUC with the percentile interval of a seeded bootstrap of the rows."""
    generator = np.random.default_rng(SEED)
    draws: list[float] = []
    while len(draws) < DRAWS:
        chosen = generator.integers(0, len(labels), len(labels))
        if 0 < labels[chosen].sum() < len(labels):
            draws.append(auc(labels[chosen], scores[chosen]))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(auc(labels, scores), float(low), float(high))


def calibration_bins(labels: Labels, probabilities: Vector) -> tuple[Bin, ...]:
    """Ten bins of equal size by predicted probability, lowest first."""
    order = np.argsort(probabilities, kind="stable")
    return tuple(
        Bin(len(rows), float(probabilities[rows].mean()), float(labels[rows].mean()))
        for rows in np.array_split(order, BINS)
        if len(rows)
    )


def calibration_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error: by how much prediction and outcome differ, on average over the rows."""
    return sum(b.rows * abs(b.predicted - b.observed) for b in bins) / sum(b.rows for b in bins)


def evaluate(labels: Labels, probabilities: Vector) -> Scores:
    """All scores of predicted probabilities. Both labels must occur."""
    bins = calibration_bins(labels, probabilities)
    return Scores(
        rows=len(labels),
        positives=int(labels.sum()),
        auc=auc_interval(labels, probabilities),
        brier=float(np.mean((probabilities - labels) ** 2)),
        ece=calibration_error(bins),
        lift=bins[-1].observed / float(labels.mean()),
        bins=bins,
    )


def single_feature_aucs(labels: Labels, matrix: npt.NDArray[Any], names: Sequence[str]) -> Mapping[str, float]:
    """How well each column alone ranks the labels, in its better direction; nulls rank lowest. Best first."""
    filled = np.nan_to_num(matrix, nan=float(np.finfo(np.float32).min))
    ranks = {name: auc(labels, filled[:, column]) for column, name in enumerate(names)}
    return dict(sorted(((n, max(a, 1 - a)) for n, a in ranks.items()), key=lambda item: -item[1]))
