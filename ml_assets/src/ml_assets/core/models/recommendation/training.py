"""One training of the recommendation model on a shop's marts: purchases, splits by time, tuning, figures, and tables.

A pure function of the order lines and products. The lines of one order have no order among them, so parameters are
tuned and scored by time and never by the last item: leaving that one out learns how an order's lines are sorted, and
on the simulated shop lost more than half of the NDCG.
"""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cartograph.windows import at_midnight
from ml_assets.core.evaluation.classification import Interval
from ml_assets.core.evaluation.ranking import Ranking, Scorer, Split, coverage, evaluate, novelty, rank, temporal_split
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.recommendation import tuning
from ml_assets.core.models.recommendation.factors import Factors
from ml_assets.core.models.recommendation.histories import (
    REPEATS_MATTER_FROM,
    Histories,
    Integers,
    popularity,
    repeat_share,
)
from ml_assets.core.models.recommendation.recommender import NOTHING, SOURCES, Recommended, Recommender

NAME = "product_recommender"
HORIZON_DAYS = 30
"""Purchases of the last so many days are the test, those of as many days before them tune."""
FEWEST_CUSTOMERS = 50
"""So many customers must have bought both before and in each of the two windows."""


class Purchases(NamedTuple):
    """Who bought what until an as-of date: rows of `histories` are `customers`, its items are `products`.

    `moments` has the time of each purchase. The products are all that the shop knows, also those not bought yet.
    """

    customers: tuple[str, ...]
    products: tuple[str, ...]
    categories: Integers
    offered: npt.NDArray[np.bool_]
    histories: Histories
    moments: npt.NDArray[np.datetime64]


class Trained(NamedTuple):
    """The model of all purchases before the as-of date, and the scores of one that knew none of the test window.

    `scores` are by model: the chosen one and those that it is held against.
    """

    model: Recommender
    exclude_seen: bool
    parameters: tuning.Parameters
    scores: dict[str, dict[str, Interval]]
    coverage: float
    novelty: float
    customers_scored: int


def purchases(con: duckdb.DuckDBPyConnection, order_items: str, products: str, as_of: date) -> Purchases:
    """What known customers bought before the day `as_of`, each product once an order; cancelled orders are left out.

    `order_items` and `products` are DuckDB SELECTs over `published.fct_order_items` and `published.dim_products`.
    """
    known = con.execute(
        f"""
        SELECT product_id, coalesce(category, '') AS category, coalesce(is_active, true) AS is_active
        FROM ({products}) WHERE is_current ORDER BY product_id"""
    ).fetchnumpy()
    bought = con.execute(
        f"""
        SELECT customer_id, product_id, ordered_at FROM ({order_items})
        WHERE customer_id IS NOT NULL AND NOT is_cancelled AND ordered_at < $as_of
        GROUP BY customer_id, ordered_at, order_id, product_id
        ORDER BY customer_id, ordered_at, order_id, product_id""",
        {"as_of": at_midnight(as_of)},
    ).to_arrow_table()
    customers, rows = np.unique(bought["customer_id"].to_numpy(zero_copy_only=False).astype(str), return_counts=True)
    ids = np.asarray(known["product_id"]).astype(str)
    items = np.searchsorted(ids, bought["product_id"].to_numpy(zero_copy_only=False).astype(str))
    return Purchases(
        customers=tuple(customers.tolist()),
        products=tuple(ids.tolist()),
        categories=np.unique(np.asarray(known["category"]).astype(str), return_inverse=True)[1],
        offered=np.asarray(known["is_active"], dtype=bool),
        histories=Histories(np.concatenate([[0], np.cumsum(rows)]), items, len(ids)),
        moments=bought["ordered_at"].cast(pa.timestamp("us")).to_numpy(),
    )


def train(data: Purchases, as_of: date) -> Trained:
    """Tune on the window before the last, score on the last one, then learn from all.

    Customers who are new in a window count in it as well: they are ranked by what is popular.

    Raises:
        NotEnoughData: too few customers bought before and in one of the windows.
    """
    test_from, tune_from = (at_midnight(as_of - timedelta(days=days)) for days in (HORIZON_DAYS, 2 * HORIZON_DAYS))
    test = _split(data.histories, data.moments, test_from)
    earlier = data.moments < _naive(test_from)
    validation = _split(data.histories.kept(earlier), data.moments[earlier], tune_from)
    exclude_seen = repeat_share(test.known) < REPEATS_MATTER_FROM
    penalty = tuning.best_penalty(validation, exclude_seen=exclude_seen)
    parameters, _ = tuning.tune(tuning.learn(validation.known, penalty), validation, exclude_seen=exclude_seen)

    learned = tuning.learn(test.known, penalty)
    model = _model(data, learned, parameters, data.moments[data.moments < _naive(test_from)], test_from)
    overall = popularity(test.known)
    scorers: dict[str, Scorer] = {
        "chosen": model.scores,
        "popularity": lambda some: np.broadcast_to(overall, (some.rows, some.size)),
        "popularity_of_late": lambda some: np.broadcast_to(model.popular, (some.rows, some.size)),
        "cosine_knn": tuning.scorer(learned.cosine, math.inf, overall),
        "als": Factors(test.known).scores,
    }
    rankings: dict[str, Ranking] = {
        name: rank(test, scorer, exclude_seen=exclude_seen) for name, scorer in scorers.items()
    }
    everything = tuning.learn(data.histories, penalty)
    return Trained(
        model=_model(data, everything, parameters, data.moments, at_midnight(as_of)),
        exclude_seen=exclude_seen,
        parameters=parameters,
        scores={name: evaluate(ranking) for name, ranking in rankings.items()},
        coverage=coverage(rankings["chosen"]),
        novelty=novelty(rankings["chosen"]),
        customers_scored=int(np.count_nonzero(np.diff(test.targets.starts))),
    )


def recommendations(trained: Trained, data: Purchases, count: int = 20) -> pa.Table:
    """The first `count` products of each customer: `place` from 1 on, with score, source and the purchase behind it."""
    found = trained.model.recommend(data.histories, count, exclude_seen=trained.exclude_seen)
    return _table(found, "customer_id", data.customers, data.products)


def similar_products(trained: Trained, data: Purchases, count: int = 20) -> pa.Table:
    """For each product the first `count` others: `place` from 1 on, with score and source."""
    found = trained.model.similar(count)
    return _table(found, "product_id", data.products, data.products).drop_columns(["because_product_id"])


def _split(histories: Histories, moments: npt.NDArray[np.datetime64], cutoff: datetime) -> Split:
    """The split at `cutoff`, which enough customers must have bought on both sides of."""
    split = temporal_split(histories, moments, _naive(cutoff))
    both = np.count_nonzero((np.diff(split.known.starts) > 0) & (np.diff(split.targets.starts) > 0))
    if both < FEWEST_CUSTOMERS:
        raise NotEnoughData(
            f"The recommendations need {FEWEST_CUSTOMERS} customers who bought before {cutoff:%Y-%m-%d} and again in "
            f"the {HORIZON_DAYS} days from then on: there are {both}. Load more days or customers."
        )
    return split


def _model(
    data: Purchases,
    learned: tuning.Learned,
    parameters: tuning.Parameters,
    moments: npt.NDArray[np.datetime64],
    until: datetime,
) -> Recommender:
    days_ago = (_naive(until) - moments) / np.timedelta64(1, "D")
    return Recommender(
        weights=tuning.weights(learned, parameters),
        half_life=parameters.half_life,
        popular=popularity(learned.histories, days_ago),
        categories=data.categories,
        offered=data.offered,
    )


def _naive(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.replace(tzinfo=None), "us")


def _table(found: Recommended, key: str, keys: tuple[str, ...], products: tuple[str, ...]) -> pa.Table:
    """A row for each place that has an item."""
    rows, places = np.nonzero(found.items != NOTHING)
    items, because = found.items[rows, places], found.because[rows, places]
    names = np.array([*products, None], dtype=object)
    recommended = "similar_product_id" if key == "product_id" else "product_id"
    return pa.table(
        {
            key: pa.array(np.array(keys, dtype=object)[rows], pa.string()),
            "place": pa.array(places + 1, pa.int64()),
            recommended: pa.array(names[items], pa.string()),
            "score": pa.array(found.scores[rows, places], pa.float32()),
            "source": pa.array(np.array(SOURCES, dtype=object)[found.sources[rows, places]], pa.string()),
            "because_product_id": pa.array(names[because], pa.string()),
        }
    )
