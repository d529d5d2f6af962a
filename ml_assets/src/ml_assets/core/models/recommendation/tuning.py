"""The chosen model's parameters: found on items that are no test, with a bounded budget, and the fit with them.

The budget is a number of trials on a bounded number of customers, so that the same data give the same parameters on
any machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ml_assets.core.evaluation.ranking import Scorer, Split, chosen, evaluate, rank, same_for_all
from ml_assets.core.models.recommendation.histories import (
    Histories,
    Sparse,
    Vector,
    popularity,
    popularity_of_late,
)
from ml_assets.core.models.recommendation.item_item import EASE_ITEMS, cosine_neighbours, ease, transitions
from ml_assets.core.models.recommendation.recommender import FALLBACK, blend

SEED = 7
TRIALS = 30
CUSTOMERS = 4_000
OBJECTIVE = "ndcg@10"
PENALTIES = (10.0, 50.0, 200.0, 1000.0)
POPULARITY_HALF_LIVES = (15.0, 30.0, 60.0, 120.0, 240.0)
"""Days. In the weeks before Christmas 15 are best at Online Retail; in the simulated shop, whose tastes stay, 120."""
PENALTY_ITEMS = 3_000
"""EASE's penalty is chosen on so many most popular items: 64 times as fast as on 12,000."""


class Parameters(NamedTuple):
    """Half-lives are in items: of a history when scoring, and of the gap between two items when learning.

    `ordered`, `cosine` and `ease` are the shares of the three matrices in the blend; they sum to 1.
    """

    half_life: float
    gap_half_life: float
    backward: float
    damping: float
    ordered: float
    cosine: float
    ease: float


FIRST_TRIAL = {"half_life": 2.0, "gap_half_life": 4.0, "backward": 0.3, "damping": 0.3, "ordered": 0.8, "by_ease": 0.0}
"""Where the search begins: found by hand on the validation items of Amazon's reviews of toys."""


class Learned(NamedTuple):
    """The matrices that the trials share; `ease` is None where the catalogue is too large for it."""

    histories: Histories
    cosine: Sparse
    ease: Sparse | None


def learn(histories: Histories, penalty: float | None) -> Learned:
    """Learn what has no parameters to tune; without a penalty, no EASE."""
    by_ease = ease(histories, penalty) if penalty is not None else None
    return Learned(histories, cosine_neighbours(histories), by_ease)


def weights(learned: Learned, parameters: Parameters) -> Sparse:
    """The items × items matrix of the chosen model."""
    ordered = ordered_weights(learned.histories, parameters)
    matrices, shares = [ordered, learned.cosine], [parameters.ordered, parameters.cosine]
    if learned.ease is not None:
        matrices, shares = [*matrices, learned.ease], [*shares, parameters.ease]
    return blend(matrices, shares)


def ordered_weights(histories: Histories, parameters: Parameters) -> Sparse:
    """The matrix of transitions alone."""
    return transitions(
        histories,
        half_life=parameters.gap_half_life,
        backward=parameters.backward,
        damping=parameters.damping,
    )


def scorer(matrix: Sparse, half_life: float, popular: Vector) -> Scorer:
    """The scores of a matrix alone; what nothing leads to stands in the order of popularity."""
    last = np.float32(FALLBACK) * popular / max(float(popular.max()), 1.0)
    return lambda histories: (histories.matrix(half_life) @ matrix).toarray() + last


def best_popularity(split: Split, days_ago: npt.NDArray[Any], *, exclude_seen: bool) -> float:
    """Of POPULARITY_HALF_LIVES the one with the best validation score, where all are shown what is popular of late.

    `days_ago` has an entry for each known purchase.
    """
    some = some_customers(split)

    def score(half_life: float) -> float:
        return _score(some, same_for_all(popularity_of_late(split.known, days_ago, half_life)), exclude_seen)

    return max(POPULARITY_HALF_LIVES, key=score)


def best_penalty(split: Split, *, exclude_seen: bool) -> float | None:
    """EASE's penalty with the best validation score on the most popular items; None where the catalogue is too large.

    The scale of the penalty is that of purchases of an item, which the popular items share with the others.
    """
    if split.known.size > EASE_ITEMS:
        return None
    kept = np.argsort(-popularity(split.known), kind="stable")[:PENALTY_ITEMS]
    number = np.full(split.known.size, -1)
    number[kept] = np.arange(len(kept))
    small = Split(*(_renumbered(part, number, len(kept)) for part in split))
    small = some_customers(chosen(small, np.flatnonzero(np.diff(small.known.starts) > 0)))
    popular = popularity(small.known)

    def score(penalty: float) -> float:
        return _score(small, scorer(ease(small.known, penalty), math.inf, popular), exclude_seen)

    return max(PENALTIES, key=score)


def tune(
    learned: Learned,
    split: Split,
    *,
    exclude_seen: bool,
    first: Mapping[str, float] = FIRST_TRIAL,
    trials: int = TRIALS,
) -> tuple[Parameters, float]:
    """The parameters with the best validation score of `trials`, and that score; `learned` is of the known."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    popular, some = popularity(split.known), some_customers(split)

    def score(trial: Any) -> float:
        drawn = {
            "half_life": trial.suggest_float("half_life", 0.5, 64, log=True),
            "gap_half_life": trial.suggest_float("gap_half_life", 0.5, 32, log=True),
            "backward": trial.suggest_float("backward", 0, 1),
            "damping": trial.suggest_float("damping", 0, 1),
            "ordered": trial.suggest_float("ordered", 0, 1),
            "by_ease": trial.suggest_float("by_ease", 0, 1) if learned.ease is not None else 0.0,
        }
        parameters = _parameters(drawn)
        return _score(some, scorer(weights(learned, parameters), parameters.half_life, popular), exclude_seen)

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=SEED, multivariate=True))
    study.enqueue_trial(dict(first))
    study.optimize(score, n_trials=trials)
    return _parameters({"by_ease": 0.0} | study.best_params), float(study.best_value)


def some_customers(split: Split, most: int = CUSTOMERS) -> Split:
    """The split of at most so many customers, drawn with a fixed seed."""
    count = split.known.rows
    if count <= most:
        return split
    return chosen(split, np.sort(np.random.default_rng(SEED).choice(count, most, replace=False)))


def _parameters(drawn: dict[str, float]) -> Parameters:
    drawn = dict(drawn)
    by_ease, unordered = drawn.pop("by_ease"), 1 - drawn["ordered"]
    return Parameters(**drawn, cosine=unordered * (1 - by_ease), ease=unordered * by_ease)


def _score(split: Split, by: Scorer, exclude_seen: bool) -> float:
    if not len(split.targets.items):
        return 0.0
    return evaluate(rank(split, by, exclude_seen=exclude_seen, listed=0))[OBJECTIVE].value


def _renumbered(histories: Histories, number: Any, size: int) -> Histories:
    kept = histories.kept(number[histories.items] >= 0)
    return Histories(kept.starts, number[kept.items], size)
