"""How good a model's recipe was in the past: trained at dates of the past on what was known then.

So quality is a curve and not the point of one holdout. Today's date is not among the points: training scores it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import duckdb

from ml_assets.core.features.customers import Marts, column_values
from ml_assets.core.models import classifier, clv
from ml_assets.core.models.classifier import Events, Question, Split
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.training import boosted_trees
from ml_assets.core.monitoring.quality import FEWEST_ROWS, Figure, Point, of_amounts, of_probabilities, spread

LEAN, TRAINING_DATES = {"max_iter": 20, "learning_rate": 0.15}, 6
"""A past point learns fewer trees in longer steps, from so many of the latest dates at most: in a fifth of the time.

Other steps than Cartograph's trees stay as they are: nobody knows which of their parameters make them quick.
"""
POINTS = 6
"""Past as-of dates of a backtest, spread evenly over the history."""


def of_classifier(
    question: Question,
    con: duckdb.DuckDBPyConnection,
    tables: Marts,
    as_of_dates: Sequence[date],
    *,
    data_start: date,
    data_end: date,
    events: Events = classifier.orders,
) -> Iterator[Point]:
    """Train on POINTS past dates, each with what was known then, as `classifier_training` does but for its size.

    Dates at which there was too little to train or to judge on are left out. `tables` holds DuckDB SELECTs.
    """
    features, happened = tables["customer_features"], events(con, tables)
    lean = replace(question, steps=_lean_trees) if question.steps is classifier.trees else question
    for split in past_splits(question, as_of_dates, data_start=data_start, data_end=data_end):
        known = classifier.labelled_rows(con, question, features, happened, split.training[-TRAINING_DATES:])
        later = classifier.labelled_rows(con, question, features, happened, [split.holdout])
        if len(later) < FEWEST_ROWS:
            continue
        try:
            names = classifier.informative(question, known)
            model = classifier.train(lean, known, names)
        except NotEnoughData:
            continue
        figures = of_probabilities(question, later, model.predict_proba(column_values(later, names))[:, 1])
        if figures:
            yield Point(split.holdout, None, len(later), (*figures, Figure("training_rows", len(known))))


def _lean_trees(rows: int) -> list[Any]:
    return boosted_trees(classifier.boosting(rows) | LEAN)


def past_splits(question: Question, as_of_dates: Sequence[date], *, data_start: date, data_end: date) -> list[Split]:
    """POINTS splits, oldest first: as training would have split on days evenly spread over the shop's history."""
    splits: dict[date, Split] = {}
    for day in classifier.spaced(sorted(as_of_dates), 28):
        try:
            split = classifier.split(
                question, [one for one in as_of_dates if one <= day], data_start=data_start, data_end=min(day, data_end)
            )
        except NotEnoughData:
            continue
        splits[split.holdout] = split
    return [splits[day] for day in spread(list(splits)[:-1], POINTS)]


def of_values(
    con: duckdb.DuckDBPyConnection, tables: Marts, as_of_dates: Sequence[date], *, data_start: date, data_end: date
) -> Iterator[Point]:
    """Fit lifetime values at POINTS past dates, each held against the HOLDOUT_DAYS days after it."""
    features = tables["customer_features"]
    first, last = data_start + timedelta(days=clv.SHORTEST_HISTORY_DAYS), data_end - timedelta(days=clv.HOLDOUT_DAYS)
    for day in spread([day for day in classifier.spaced(sorted(as_of_dates), 28) if first <= day <= last][:-1], POINTS):
        try:
            model = clv.fit(con, features, tables, day, data_start)
        except NotEnoughData:
            continue
        customers = clv.known(clv.ordered_rows(con, features, day), day)
        _, came, before = clv.outcomes(con, features, tables, day, clv.HOLDOUT_DAYS)
        _, expected = clv.predict_days(model, customers, clv.HOLDOUT_DAYS)
        figures = of_amounts(f"revenue_{clv.HOLDOUT_DAYS}d", came, expected, before)
        if figures:
            yield Point(day, None, len(came), figures)
