"""What the models of yes or no about customers share: the question, its split by time, labels, trees and calibration.

A model's own question stands in its own module (`churn`, `propensity`), its training from start to end in
`classifier_training`. Scores of a model are computed in `ml_assets.core.evaluation`; its ONNX form is made in `export`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_assets.core.evaluation.classification import BINS
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.features.customers import Marts, column_values
from ml_assets.core.models.errors import NotEnoughData, TooYoung
from ml_assets.core.models.training import FEWEST, boosted_trees, fit_calibrated
from ml_assets.core.models.training import informative as informative_columns

CALIBRATION_ERROR = 0.02
"""Predicted and observed shares should differ by no more, on average over tenths; by less for rare labels."""
CALIBRATION_SHARE = 0.2
"""As a share of the rarer label's rate: of one customer in a hundred, an error of 0.02 is twice all there is."""
HISTORY_DAYS = 90
"""Training dates with less history are left out where later ones remain: their features are cut short."""

SEED = 7

Vector = npt.NDArray[np.float64]

Events = Callable[[duckdb.DuckDBPyConnection, Marts], str]
"""Of DuckDB SELECTs of tables, each by its own name, the SELECT that a question's events are in."""
ORDERS_THAT_STAND = "SELECT customer_id, CAST(ordered_at AS DATE) AS day FROM ({events}) WHERE NOT is_cancelled"
"""The events of a question about orders; `{events}` is a SELECT over `published.fct_orders`."""


def orders(_: duckdb.DuckDBPyConnection, tables: Marts) -> str:
    """The `Events` of a question about orders."""
    return tables["fct_orders"]


def boosting(rows: int) -> dict[str, Any]:
    """The parameters of the trees for so many training rows: fewer trees for few rows.

    Of 910 rows, 120 trees had an AUC of 0.845 on the holdout and 40 had 0.863; of 32,396 rows 0.869 and 0.866.
    They are not searched for: docs/adr/0037-the-trees-of-classifiers-are-not-tuned.md has what that gained.
    """
    return {
        "max_iter": min(120, max(40, rows // 100)),
        "learning_rate": 0.06,
        "max_leaf_nodes": 15,
        "min_samples_leaf": 40,
        "l2_regularization": 1.0,
        "early_stopping": False,
        "random_state": SEED,
    }


def trees(rows: int) -> list[Any]:
    """The steps of a classifier for so many training rows, which most questions are answered by."""
    return boosted_trees(boosting(rows))


@dataclass(frozen=True)
class Question:
    """What is asked of each customer on an as-of date D: whether an event, such as an order, comes in the days from D.

    `title` begins sentences; `label` names the column of 0 and 1, where 1 means an event if `is_event`, and else none.
    `population` is a SQL condition on a feature row, and `spacing_days` the least distance of two training dates:
    nearer ones repeat the same windows and cost time only. `rules` are baselines that need no training: the higher
    the value for a feature row, the likelier the label. By `measure`, of `MEASURES`, a model must be more than `margin`
    above each of them.

    `events` is a SELECT of `customer_id` and `day`. `features` are those that may be taken, None for all; `steps` are
    what `fit_calibrated` takes for so many training rows. P(alive) is a baseline where `is_about_orders`.
    """

    name: str
    title: str
    label: str
    is_event: bool
    horizon_days: int
    population: str
    spacing_days: int
    rules: Mapping[str, Callable[[pa.Table], Vector]]
    events: str = ORDERS_THAT_STAND
    is_about_orders: bool = True
    features: tuple[str, ...] | None = None
    steps: Callable[[int], Sequence[Any]] = trees
    measure: str = "auc"
    margin: float = 0.0


class Split(NamedTuple):
    """The as-of dates to train on, oldest first, and the one to evaluate on, after all their label windows."""

    training: tuple[date, ...]
    holdout: date


def split(question: Question, as_of_dates: Collection[date], *, data_start: date, data_end: date) -> Split:
    """Split by time: the holdout is the latest date whose label window lies in the data `[data_start, data_end)`.

    A training date's label window ends on or before the holdout date.

    Raises:
        TooYoung: there are not two such dates.
    """
    horizon = timedelta(days=question.horizon_days)
    complete = [day for day in sorted(as_of_dates) if day + horizon <= data_end]
    eligible = [day for day in complete if complete and day + horizon <= complete[-1]]
    if not eligible:
        raise TooYoung(
            f"{question.title} needs two as-of dates {question.horizon_days} days apart, each with "
            f"{question.horizon_days} days of orders after it. With data from {data_start} to {data_end}, "
            f"{len(complete)} of {len(as_of_dates)} as-of dates have such days. Load at least "
            f"{2 * question.horizon_days + 31} days of orders, and run again."
        )
    with_history = [day for day in eligible if day - timedelta(days=HISTORY_DAYS) >= data_start] or eligible
    return Split(spaced(with_history, question.spacing_days), complete[-1])


def spaced(dates: Sequence[date], days: int) -> tuple[date, ...]:
    """Those of `dates`, oldest first, that stand so many days apart, the latest among them."""
    chosen: list[date] = []
    for day in reversed(dates):
        if not chosen or chosen[-1] - day >= timedelta(days=days):
            chosen.append(day)
    return tuple(reversed(chosen))


def labelled_rows(
    con: duckdb.DuckDBPyConnection, question: Question, features: str, events: str, as_of_dates: Sequence[date]
) -> pa.Table:
    """The population of `as_of_dates` with its features and its label, by as-of date and customer.

    `features` is a DuckDB SELECT over `features.customer_features`, and `events` the one that the question's events are
    in: for a question about orders over `published.fct_orders`.
    """
    return con.execute(
        f"""
        WITH population AS (
            SELECT * FROM ({features})
            WHERE list_contains(CAST($dates AS DATE[]), as_of_date) AND ({question.population})
        ), happened AS (
            SELECT DISTINCT p.customer_id, p.as_of_date
            FROM population p JOIN ({question.events.format(events=events)}) e ON e.customer_id = p.customer_id
                AND e.day >= p.as_of_date AND e.day < p.as_of_date + $horizon
        )
        SELECT p.*, CAST((h.customer_id IS NOT NULL) = $is_event AS BIGINT) AS {question.label}
        FROM population p LEFT JOIN happened h USING (customer_id, as_of_date)
        ORDER BY as_of_date, customer_id""",
        {"dates": list(as_of_dates), "horizon": question.horizon_days, "is_event": question.is_event},
    ).to_arrow_table()


def informative(question: Question, rows: pa.Table) -> tuple[str, ...]:
    """The feature columns of `rows` with at least two different values; the others tell nothing apart.

    Raises:
        NotEnoughData: there is none.
    """
    taken = rows.schema.names if question.features is None else question.features
    excluded = {*CUSTOMER_FEATURES.key, question.label, *set(rows.schema.names).difference(taken)}
    names = informative_columns(rows, excluded)
    if not names:
        raise NotEnoughData(f"{question.title} has no feature in which customers differ. Load more customers or time.")
    return names


def train(question: Question, rows: pa.Table, names: Sequence[str]) -> Any:
    """Fit the question's steps on the float32 columns `names`, with sigmoid calibration; an sklearn classifier.

    `changed` are parameters of the trees that differ from `boosting`.

    Raises:
        NotEnoughData: all rows have the same label, or there are too few of one.
    """
    labels = target(question, rows)
    fewest = int(min(labels.sum(), len(labels) - labels.sum()))
    customers = rows["customer_id"].to_numpy(zero_copy_only=False)
    if fewest < FEWEST:
        raise NotEnoughData(
            f"{question.title} needs at least {FEWEST} rows of each label: of {len(labels)} training rows "
            f"{int(labels.sum())} {question.label}. Load more customers or more time."
        )
    return fit_calibrated(column_values(rows, names), labels, customers, question.steps(len(rows)))


def target(question: Question, rows: pa.Table) -> npt.NDArray[np.int64]:
    """The labels of `rows`."""
    values: npt.NDArray[np.int64] = rows[question.label].to_numpy()
    return values


def tolerated_error(rate: float, rows: int) -> float:
    """The calibration error that is tolerated on so many rows of which the share `rate` is positive.

    CALIBRATION_ERROR, or less where labels are rare; and no less than what 95 in 100 models that are calibrated would
    show by chance: each of the tenths differs from its share by a half-normal variable.
    """
    error = math.sqrt(rate * (1 - rate) * BINS / rows)
    mean, deviation = math.sqrt(2 / math.pi), math.sqrt((1 - 2 / math.pi) / BINS)
    return max(min(CALIBRATION_ERROR, CALIBRATION_SHARE * min(rate, 1 - rate)), error * (mean + 1.645 * deviation))


def recency(rows: pa.Table) -> Vector:
    """Days since the last order; a million where there is none."""
    days: Vector = rows["recency_days"].cast(pa.float64()).fill_null(1e6).to_numpy()
    return days
