"""Scores of rankings: where, among all items, a model puts what a customer bought next.

Every candidate of the catalogue is ranked. Sampled metrics, which rank the target among a hundred items, order models
differently than the full ranking does (Krichene and Rendle, KDD 2020), and are not offered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ml_assets.core.evaluation.classification import DRAWS, SEED, Interval
from ml_assets.core.models.recommendation.histories import Histories, Integers
from ml_assets.core.models.recommendation.recommender import batches, top

CUTOFFS = (5, 10, 20)
LISTED = 10
"""Coverage and novelty are of the first ten places."""

Scorer = Callable[[Histories], npt.NDArray[Any]]
"""Gives histories × items: the larger, the better."""


class Split(NamedTuple):
    """What is known of each customer, and what the same customers bought afterwards."""

    known: Histories
    targets: Histories


class Ranking(NamedTuple):
    """`ranks[t]` is how many candidates stand before target `t`; `lists` are each history's first items.

    Candidates of equal score stand in the order of chance: half of them are counted as before the target. A target
    that is no candidate, having been seen, stands after all items.
    """

    split: Split
    ranks: npt.NDArray[np.float64]
    lists: Integers


def leave_one_out(histories: Histories, last: int = 1) -> Split:
    """The last item of each history is the target, and what came before it is known; `last=2` takes the one before.

    With `last=2`, the last item is in neither part: so parameters are tuned without having seen the test.
    """
    ages = histories.ages
    return Split(histories.kept(ages >= last), histories.kept(ages == last - 1))


def temporal_split(histories: Histories, times: npt.NDArray[Any], cutoff: Any) -> Split:
    """Purchases before `cutoff` are known, those from then on are targets; `times` has one entry for each purchase."""
    return Split(histories.kept(times < cutoff), histories.kept(times >= cutoff))


def chosen(split: Split, rows: Integers) -> Split:
    """The split of some of the customers."""
    return Split(split.known.chosen(rows), split.targets.chosen(rows))


def same_for_all(scores: npt.NDArray[Any]) -> Scorer:
    """Each history is shown the same: `scores` has one for each item."""
    return lambda histories: np.broadcast_to(scores, (histories.rows, histories.size))


def rank(split: Split, scorer: Scorer, *, exclude_seen: bool, listed: int = LISTED) -> Ranking:
    """Rank the whole catalogue for each history. With `exclude_seen`, a history's own items are no candidates."""
    ranks, lists = [], []
    for rows in batches(split.known.rows, split.known.size):
        known, targets = chosen(split, rows)
        scores = np.array(scorer(known))
        aims = scores[targets.owners, targets.items]
        if exclude_seen:
            scores[known.owners, known.items] = -np.inf
        lost = np.isneginf(scores[targets.owners, targets.items])
        before = np.array([_before(scores[owner], aim) for owner, aim in zip(targets.owners, aims, strict=True)])
        ranks.append(np.where(lost, split.known.size, before))
        lists.append(top(scores, listed))
    return Ranking(split, np.concatenate(ranks), np.concatenate(lists))


def _before(scores: npt.NDArray[Any], aim: float) -> float:
    return np.count_nonzero(scores > aim) + (np.count_nonzero(scores == aim) - 1) / 2


def evaluate(ranking: Ranking) -> dict[str, Interval]:
    """Scores over the customers who have a target, each with the 95 % interval of a seeded bootstrap of them.

    `hit_rate@k`: the share with a target among the first k. `recall@k`: the mean share of a customer's targets there,
    of at most k. `ndcg@k`: their gain, 1 / log2(place + 1), over the largest possible. `mrr`: the mean of 1 / place
    of the first target.

    Raises:
        ValueError: nobody has a target.
    """
    values = by_customer(ranking)
    if not len(values["mrr"]):
        raise ValueError("There is nothing to score: no customer has a target.")
    generator = np.random.default_rng(SEED)
    matrix = np.column_stack(list(values.values()))
    draws = [matrix[generator.integers(0, len(matrix), len(matrix))].mean(axis=0) for _ in range(DRAWS)]
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    means = matrix.mean(axis=0)
    return {name: Interval(float(means[at]), float(low[at]), float(high[at])) for at, name in enumerate(values)}


def by_customer(ranking: Ranking) -> dict[str, npt.NDArray[np.float64]]:
    """The scores of `evaluate` of each customer who has a target, in the order of the split."""
    owners, ranks = ranking.split.targets.owners, ranking.ranks
    count = ranking.split.targets.rows
    targets = np.bincount(owners, minlength=count)
    some = targets > 0

    def summed(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.bincount(owners, values, minlength=count)[some]

    ideal = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(max(CUTOFFS)) + 2))])
    values: dict[str, npt.NDArray[np.float64]] = {}
    for k in CUTOFFS:
        hits, most = summed(ranks < k), np.minimum(targets[some], k)
        values[f"hit_rate@{k}"] = (hits > 0).astype(float)
        values[f"recall@{k}"] = np.minimum(hits / most, 1)
        values[f"ndcg@{k}"] = np.minimum(summed(np.where(ranks < k, 1 / np.log2(ranks + 2), 0)) / ideal[most], 1)
    first = np.full(count, np.inf)
    np.minimum.at(first, owners, ranks)
    values["mrr"] = 1 / (first[some] + 1)
    return values


def coverage(ranking: Ranking) -> float:
    """The share of the catalogue that stands in anybody's list."""
    return len(np.unique(ranking.lists)) / ranking.split.known.size


def novelty(ranking: Ranking) -> float:
    """The mean self-information of what is listed, in bits: -log2 of the share of customers who have the item."""
    known = ranking.split.known
    having = known.matrix().sum(axis=0)
    return float(-np.log2(np.maximum(having[ranking.lists], 1) / known.rows).mean())
