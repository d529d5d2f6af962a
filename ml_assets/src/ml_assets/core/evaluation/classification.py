"""Scores of a binary classifier: ranking, calibration, lift, and how well each feature alone knows the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

BINS = 10
DRAWS = 200
GROUPS, FEWEST_TO_GROUP = 40, 400
"""Of a column's values, by which a leak is looked for; and the rows that this takes."""
SEED = 13

Labels = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float64]
Score = Callable[[Labels, npt.NDArray[Any]], float]
"""How well scores rank labels: more is better."""


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
    """Area under the ROC curve: the chance that a positive is ranked above a negative; NaN where one is lacking.

    By ranks (Mann and Whitney 1947), in a tenth of the time that sklearn's curve takes: bootstraps call it often.
    """
    from scipy.stats import rankdata

    positives = labels == 1
    above, below = int(positives.sum()), int((~positives).sum())
    won = float(rankdata(scores)[positives].sum()) - above * (above + 1) / 2
    return won / (above * below) if above and below else float("nan")


def average_precision(labels: Labels, scores: npt.NDArray[Any]) -> float:
    """Area under the precision-recall curve, as the step-wise sum: what to ask where positives are rare.

    NaN where there is none. In a tenth of the time that sklearn's takes: bootstraps call it often.
    """
    order = np.argsort(scores)[::-1]
    ranked, found = scores[order], np.cumsum(labels[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], [True]))  # of those that score the same
    hits = found[last]
    return float(np.sum(hits / (last + 1) * np.diff(hits, prepend=0)) / hits[-1]) if hits[-1] else float("nan")


def _neg_log_loss(labels: Labels, scores: npt.NDArray[Any]) -> float:
    from sklearn.metrics import log_loss

    return -float(log_loss(labels, scores))


def _neg_brier_score(labels: Labels, scores: npt.NDArray[Any]) -> float:
    return -float(np.mean((scores - labels) ** 2))


class Measure(NamedTuple):
    """A score by which a classifier is held against baselines, and its name in messages.

    `of_probabilities` where a ranking alone has no such score.
    """

    words: str
    score: Score
    of_probabilities: bool = False

    def __str__(self) -> str:
        return f"{'an' if self.words[0] in 'aA' else 'a'} {self.words}"


MEASURES: Mapping[str, Measure] = {
    "auc": Measure("AUC", auc),
    "average_precision": Measure("average precision", average_precision),
    "neg_log_loss": Measure("negative log loss", _neg_log_loss, of_probabilities=True),
    "neg_brier_score": Measure("negative Brier score", _neg_brier_score, of_probabilities=True),
}
"""By scikit-learn's names; of all of them more is better."""


def recall_at(labels: Labels, scores: npt.NDArray[Any], false_positive_rate: float) -> float:
    """The share of positives above the threshold that at most such a share of negatives exceeds or meets."""
    from sklearn.metrics import roc_curve

    false_positives, recalls, _ = roc_curve(labels, scores)
    return float(recalls[false_positives <= false_positive_rate].max())


def interval(labels: Labels, scores: npt.NDArray[Any], score: Score = auc) -> Interval:
    """A score with the percentile interval of a seeded bootstrap of the rows."""
    return _bootstrapped(labels, lambda rows: score(labels[rows], scores[rows]))


def advantage(labels: Labels, scores: npt.NDArray[Any], baseline: npt.NDArray[Any], score: Score = auc) -> Interval:
    """By how much a score is above that of `baseline` on the same rows, with its 95 % interval.

    Both are scored on each sample of the bootstrap, so that what is hard for both cancels out.
    """
    return _bootstrapped(labels, lambda rows: score(labels[rows], scores[rows]) - score(labels[rows], baseline[rows]))


def _bootstrapped(labels: Labels, figure: Callable[[npt.NDArray[np.int64]], float]) -> Interval:
    """A figure of rows with its percentile interval over seeded samples in which both labels occur."""
    generator = np.random.default_rng(SEED)
    draws: list[float] = []
    while len(draws) < DRAWS:
        chosen = generator.integers(0, len(labels), len(labels))
        if 0 < labels[chosen].sum() < len(labels):
            draws.append(figure(chosen))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(figure(np.arange(len(labels))), float(low), float(high))


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
        auc=interval(labels, probabilities),
        brier=float(np.mean((probabilities - labels) ** 2)),
        ece=calibration_error(bins),
        lift=bins[-1].observed / float(labels.mean()),
        bins=bins,
    )


def measured(labels: Labels, probabilities: Vector, measure: Measure, scores: Scores) -> Interval:
    """What predicted probabilities reach by a measure; `scores` are all scores of the same."""
    return scores.auc if measure.score is auc else interval(labels, probabilities, measure.score)


def single_feature_scores(
    labels: Labels, matrix: npt.NDArray[Any], names: Sequence[str], score: Score = auc
) -> dict[str, float]:
    """How well each column alone ranks the labels, in its better direction or by the labels of like values. Best first.

    Nulls rank lowest.
    """
    filled = np.nan_to_num(matrix, nan=float(np.finfo(np.float32).min))
    alone = {}
    for name, column in zip(names, filled.T, strict=True):
        ways = [column, -column]
        if len(labels) >= FEWEST_TO_GROUP:
            ways.append(_by_like_values(labels, column))
        alone[name] = max(score(labels, way) for way in ways)
    return dict(sorted(alone.items(), key=lambda item: -item[1]))


def _by_like_values(labels: Labels, column: npt.NDArray[Any]) -> Vector:
    """The share of positives among rows with about the same value, told each half of the rows by the other half.

    A leak need not rise or fall with the answer: days between 30 and 60 tell an order that is counted 60 days late.
    """
    half = np.random.default_rng(SEED).permutation(len(labels)) % 2 == 0
    edges = np.unique(np.quantile(column, np.linspace(0, 1, GROUPS + 1), method="lower"))
    group = np.searchsorted(edges, column, side="right")
    found = np.zeros(len(labels))
    for known in (half, ~half):
        rows = np.bincount(group[known], minlength=len(edges) + 1)
        positives = np.bincount(group[known], labels[known], minlength=len(edges) + 1)
        share = (positives + labels[known].mean()) / (rows + 1)
        found[~known] = share[group[~known]]
    return found
