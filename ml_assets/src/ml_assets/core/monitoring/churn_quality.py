"""How good churn predictions were, at many as-of dates: of the model's recipe in the past, and of those really made.

A backtest trains at each date on what was known then, so that quality is a curve and not the point of one holdout; a
realised score is of a prediction that stood in the lake before its outcome was known.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cartograph.contracts import Column, Contract
from ml_assets.core.evaluation.classification import Scores, auc, evaluate
from ml_assets.core.features.customers import column_values
from ml_assets.core.models import classifier
from ml_assets.core.models.churn import HORIZON_DAYS, QUESTION
from ml_assets.core.models.classifier import Split, Vector
from ml_assets.core.models.errors import NotEnoughData

POINTS = 6
"""Past as-of dates of a backtest, spread evenly over the history."""

_FIGURES = (
    Column(name="customers", type="bigint", description="Customers with a prediction and a known outcome."),
    Column(name="churned", type="bigint", description="Those of them who placed no order in the 90 days after."),
    Column(name="auc", type="double", description="Area under the ROC curve."),
    Column(name="auc_low", type="double", description="Lower end of its 95 % interval, by bootstrap."),
    Column(name="auc_high", type="double", description="Upper end of its 95 % interval."),
    Column(name="calibration_error", type="double", description="Expected calibration error over tenths."),
    Column(name="brier", type="double", description="Mean squared error of the probabilities."),
    Column(name="recency_rule_auc", type="double", description="The AUC of ranking by days since the last order."),
)

BACKTEST = Contract(
    dataset="churn_backtest",
    grain="A past as-of date, on which the model was trained anew from what was known then.",
    key=("as_of_date",),
    event_time="as_of_date",
    columns=(
        Column(name="as_of_date", type="date", description="The model predicted on what was known before this day."),
        Column(name="training_rows", type="bigint", description="Rows that it was trained on."),
        *_FIGURES,
    ),
)
REALISED = Contract(
    dataset="churn_quality",
    grain="An as-of date whose predictions were made in time and whose outcomes are known.",
    key=("as_of_date",),
    event_time="as_of_date",
    columns=(
        Column(name="as_of_date", type="date", description="The day that the predictions were made for."),
        Column(name="churn_model_version", type="string", description="The version that made them."),
        *_FIGURES,
    ),
)


class Point(NamedTuple):
    """The scores of one as-of date, and the AUC of the recency rule on the same customers."""

    as_of: date
    scores: Scores
    recency_rule: float

    def figures(self) -> tuple[int | float, ...]:
        """As in the tables."""
        scores = self.scores
        return (scores.rows, scores.positives, *scores.auc, scores.ece, scores.brier, self.recency_rule)


def backtest(
    con: duckdb.DuckDBPyConnection,
    features: str,
    orders: str,
    as_of_dates: Sequence[date],
    *,
    data_start: date,
    data_end: date,
) -> pa.Table:
    """Train as `models.training` does on POINTS past dates, each with what was known then; the table of `BACKTEST`.

    Dates at which there was too little to train on are left out. `features` and `orders` are DuckDB SELECTs.
    """
    rows = []
    for split in past_splits(as_of_dates, data_start=data_start, data_end=data_end):
        known = classifier.labelled_rows(con, QUESTION, features, orders, split.training)
        later = classifier.labelled_rows(con, QUESTION, features, orders, [split.holdout])
        names = classifier.informative(QUESTION, known)
        try:
            model = classifier.train(QUESTION, known, names)
        except NotEnoughData:
            continue
        found = point(split.holdout, later, model.predict_proba(column_values(later, names))[:, 1])
        if found:
            rows.append((found.as_of, len(known), *found.figures()))
    return BACKTEST.arrow_table(rows)


def past_splits(as_of_dates: Sequence[date], *, data_start: date, data_end: date) -> list[Split]:
    """POINTS splits, oldest first: as training would have split on days evenly spread over the shop's history.

    The split of today is not among them: training has scored it.
    """
    splits: dict[date, Split] = {}
    for day in classifier.spaced(sorted(as_of_dates), QUESTION.spacing_days):
        try:
            split = classifier.split(
                QUESTION, [one for one in as_of_dates if one <= day], data_start=data_start, data_end=min(day, data_end)
            )
        except NotEnoughData:
            continue
        splits[split.holdout] = split
    found = list(splits.values())[:-1]
    chosen = sorted({round(step) for step in np.linspace(0, len(found) - 1, POINTS)}) if found else []
    return [found[position] for position in chosen]


def realised(con: duckdb.DuckDBPyConnection, scores: str, features: str, orders: str, data_end: date) -> pa.Table:
    """The table of `REALISED` for all `scores` whose outcome is known by `data_end`; arguments are DuckDB SELECTs."""
    known = [
        day
        for (day,) in con.execute(f"SELECT DISTINCT as_of_date FROM ({scores}) ORDER BY as_of_date").fetchall()
        if day + timedelta(days=HORIZON_DAYS) <= data_end
    ]
    scored = f"""
        SELECT f.*, s.churn_probability, s.churn_model_version
        FROM ({features}) f JOIN ({scores}) s USING (customer_id, as_of_date)"""
    outcomes = classifier.labelled_rows(con, QUESTION, scored, orders, known)
    rows = []
    for day in known:
        of_day = outcomes.filter(pc.equal(outcomes["as_of_date"], pa.scalar(day)))
        found = point(day, of_day, of_day["churn_probability"].to_numpy())
        if found:
            rows.append((day, of_day["churn_model_version"][0].as_py(), *found.figures()))
    return REALISED.arrow_table(rows)


def point(as_of: date, rows: pa.Table, probabilities: Vector) -> Point | None:
    """The scores of predictions for labelled `rows`; None where all have the same label."""
    labels = classifier.target(QUESTION, rows)
    if not 0 < labels.sum() < len(labels):
        return None
    return Point(as_of, evaluate(labels, probabilities), auc(labels, classifier.recency(rows)))
