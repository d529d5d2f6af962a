"""One training of the recommendation model on a shop's purchases: splits by time, tuning, and all figures.

A pure function of the purchases: the same data give the same bytes. What the figures must be is decided by the checks
of `models/product_recommender`. The lines of one order have no order among them, so parameters are
tuned and scored by time and never by the last item: leaving that one out learns how an order's lines are sorted, and
on the simulated shop lost more than half of the NDCG.
"""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cartograph.windows import at_midnight
from ml_assets.core.evaluation.classification import Interval
from ml_assets.core.evaluation.ranking import (
    Ranking,
    Scorer,
    Split,
    chosen,
    coverage,
    evaluate,
    novelty,
    rank,
    same_for_all,
    temporal_split,
)
from ml_assets.core.models.errors import NotEnoughData, TooYoung
from ml_assets.core.models.recommendation import tuning
from ml_assets.core.models.recommendation.factors import Factors
from ml_assets.core.models.recommendation.histories import (
    REPEATS_MATTER_FROM,
    Histories,
    Integers,
    Vector,
    popularity,
    popularity_of_late,
    repeat_share,
)
from ml_assets.core.models.recommendation.product_recommender import NAME, ProductRecommender
from ml_assets.core.models.recommendation.purchases import Purchases
from ml_assets.core.models.recommendation.recommender import Recommender

HORIZON_DAYS = 30
"""Purchases of the last so many days are the test, those of as many days before them tune."""
TRIALS = 15
"""Half of what the tuning takes elsewhere: on UCI Online Retail a trial takes a second."""
FIRST_TRIAL = {"half_life": 60, "gap_half_life": 4, "backward": 0.2, "damping": 0.6, "ordered": 0.04, "by_ease": 0.9}
"""Where the search begins: what 30 trials found on the baskets of UCI Online Retail, rounded."""
SHORTEST_HISTORY_DAYS = 180
"""So much must be known before the test: on the simulated shop the NDCG@10 is 1.9 times popularity's after four to six
months, and 2.4 times after eight."""
FEWEST_CUSTOMERS = 200
"""So many customers must have bought both before and in each of the two windows: the interval of 100 customers' NDCG is
half as wide as its value."""
YOUNG_DAYS = 365
"""A shop with less history may still get them; one with more is too small."""

CHOSEN, POPULARITY = "chosen", "popularity"


class Trained(NamedTuple):
    """The recommender of all purchases before the as-of date, and the `tested` one that knew none of the test window.

    `scores` are by model: the chosen one and those that it is held against. `cold_start` is the NDCG@10 of the chosen
    one and of popularity for the `newcomers`, who had bought nothing before the window; empty where there are none.
    `coverages` are the shares of the catalogue in anybody's list, by model, and `places` tells how many lists of the
    chosen one each product stands in.
    """

    recommender: ProductRecommender
    tested: ProductRecommender
    parameters: tuning.Parameters
    penalty: float | None
    popularity_half_life: float
    validation: float
    scores: dict[str, dict[str, Interval]]
    coverages: dict[str, float]
    places: Integers
    novelty: float
    customers: int
    newcomers: int
    cold_start: dict[str, float]

    @property
    def coverage(self) -> float:
        """The share of the catalogue that stands in anybody's list."""
        return self.coverages[CHOSEN]

    @property
    def metrics(self) -> dict[str, float]:
        """The test window's figures by name; novelty in bits."""
        scores = self.scores[CHOSEN]
        return {
            **{name: found.value for name, found in scores.items()},
            "ndcg@10.low": scores["ndcg@10"].low,
            "ndcg@10.high": scores["ndcg@10"].high,
            "coverage": self.coverage,
            "novelty": self.novelty,
            **{f"newcomers.{name}.ndcg@10": value for name, value in self.cold_start.items()},
        }

    @property
    def baselines(self) -> dict[str, float]:
        """NDCG@10 and recall@20 of what it is held against."""
        return {
            f"{name}.{metric}": found[metric].value
            for name, found in self.scores.items()
            if name != CHOSEN
            for metric in ("ndcg@10", "recall@20")
        }

    @property
    def card(self) -> dict[str, Any]:
        """The model's card in the form of a release, but for the version that the registry gives it."""
        return {
            "name": NAME,
            "as_of": self.recommender.as_of.isoformat(),
            "features": [],
            "metrics": self.metrics,
            "baseline_metrics": self.baselines,
        }


def train(data: Purchases, as_of: date) -> Trained:
    """Tune on the window before the last, score on the last one, then learn from all.

    Customers who are new in a window count in it as well: they are ranked by what is popular.

    Raises:
        NotEnoughData: too few customers bought before and in one of the windows.
        TooYoung: that in a shop with less than a year of history, or the history is shorter than half a year.
    """
    test_from, tune_from = (at_midnight(as_of - timedelta(days=days)) for days in (HORIZON_DAYS, 2 * HORIZON_DAYS))
    days = _days_before(test_from, data.moments)
    if days < SHORTEST_HISTORY_DAYS:
        raise TooYoung(
            f"The recommendations need {SHORTEST_HISTORY_DAYS} days of purchases and {HORIZON_DAYS} more to be held "
            f"against: before {test_from:%Y-%m-%d} there are {days}. Load more days."
        )
    test = _split(data.histories, data.moments, test_from)
    earlier = data.moments < _naive(test_from)
    validation = _split(data.histories.kept(earlier), data.moments[earlier], tune_from)
    exclude_seen = repeat_share(test.known) < REPEATS_MATTER_FROM
    penalty = tuning.best_penalty(validation, exclude_seen=exclude_seen)
    shared = tuning.learn(validation.known, penalty)
    moments = data.moments[data.moments < _naive(tune_from)]
    half_life = tuning.best_popularity(validation, _days_ago(moments, tune_from), exclude_seen=exclude_seen)
    who_bought = chosen(validation, np.flatnonzero(np.diff(validation.targets.starts)))
    parameters, best = tuning.tune(shared, who_bought, exclude_seen=exclude_seen, first=FIRST_TRIAL, trials=TRIALS)

    learned = tuning.learn(test.known, penalty)
    of_late = popularity_of_late(test.known, _days_ago(data.moments[earlier], test_from), half_life)
    model = _model(data, learned, parameters, of_late)
    overall = popularity(test.known)
    scorers: dict[str, Scorer] = {
        CHOSEN: model.scores,
        POPULARITY: same_for_all(overall),
        "popularity_of_late": same_for_all(of_late),
        "cosine_knn": tuning.scorer(learned.cosine, math.inf, overall),
        "als": Factors(test.known).scores,
    }
    rankings: dict[str, Ranking] = {
        name: rank(test, scorer, exclude_seen=exclude_seen) for name, scorer in scorers.items()
    }
    new = np.flatnonzero((np.diff(test.known.starts) == 0) & (np.diff(test.targets.starts) > 0))
    strangers = chosen(test, new)
    everything = tuning.learn(data.histories, penalty)
    of_late_last = popularity_of_late(data.histories, _days_ago(data.moments, at_midnight(as_of)), half_life)
    learned_last = _model(data, everything, parameters, of_late_last)
    return Trained(
        recommender=ProductRecommender(as_of, exclude_seen, data.catalogue, learned_last),
        tested=ProductRecommender(test_from.date(), exclude_seen, data.catalogue, model),
        parameters=parameters,
        penalty=penalty,
        popularity_half_life=half_life,
        validation=best,
        scores={name: evaluate(ranking) for name, ranking in rankings.items()},
        coverages={name: coverage(ranking) for name, ranking in rankings.items()},
        places=np.bincount(rankings[CHOSEN].lists.ravel(), minlength=test.known.size),
        novelty=novelty(rankings[CHOSEN]),
        customers=int(np.count_nonzero(np.diff(test.targets.starts))),
        newcomers=len(new),
        cold_start={
            name: evaluate(rank(strangers, scorers[name], exclude_seen=exclude_seen, listed=0))["ndcg@10"].value
            for name in (CHOSEN, POPULARITY)
            if len(new)
        },
    )


def _split(histories: Histories, moments: npt.NDArray[np.datetime64], cutoff: datetime) -> Split:
    """The split at `cutoff`, which enough customers must have bought on both sides of."""
    split = temporal_split(histories, moments, _naive(cutoff))
    both = np.count_nonzero((np.diff(split.known.starts) > 0) & (np.diff(split.targets.starts) > 0))
    if both < FEWEST_CUSTOMERS:
        raise (TooYoung if _days_before(cutoff, moments) < YOUNG_DAYS else NotEnoughData)(
            f"The recommendations need {FEWEST_CUSTOMERS} customers who bought before {cutoff:%Y-%m-%d} and again in "
            f"the {HORIZON_DAYS} days from then on: there are {both}. Load more days or customers."
        )
    return split


def _days_before(moment: datetime, moments: npt.NDArray[np.datetime64]) -> int:
    """Whole days from the first purchase to a moment."""
    return (_naive(moment) - moments.min()) // np.timedelta64(1, "D") if len(moments) else 0


def _days_ago(moments: npt.NDArray[np.datetime64], until: datetime) -> npt.NDArray[np.float64]:
    days: npt.NDArray[np.float64] = (_naive(until) - moments) / np.timedelta64(1, "D")
    return days


def _model(data: Purchases, learned: tuning.Learned, parameters: tuning.Parameters, of_late: Vector) -> Recommender:
    return Recommender(
        weights=tuning.weights(learned, parameters),
        half_life=parameters.half_life,
        popular=of_late,
        categories=data.catalogue.category_numbers,
        offered=data.catalogue.offered,
    )


def _naive(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.replace(tzinfo=None), "us")
