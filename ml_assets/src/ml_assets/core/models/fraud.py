"""The fraud model: which orders will be charged back, told when they are placed.

The label and when it is known, the split by time, the training, the rules it is held against, and what a decision
costs. Scores of a model are computed in `ml_assets.core.evaluation`; one training from start to end is in
`fraud_training`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_assets.core.features.customers import column_values
from ml_assets.core.features.order_risk import CHARGEBACK
from ml_assets.core.models.errors import NotEnoughData, TooYoung
from ml_assets.core.models.training import FEWEST, boosted_trees, fit_calibrated

NAME = "order_fraud"
LABEL = "is_fraud"
AMOUNT = "total_amount"
"""The feature that is lost with a fraud."""
MATURITY_DAYS = 120
"""So long a cardholder may dispute a payment under the rules of Visa and Mastercard. A younger order without a
chargeback is no negative: its label has not come."""
HOLDOUT_DAYS = 90
SHORTEST_DAYS = 90
"""A training needs the orders of so many days."""
FEWEST_HELD_OUT = 10
"""Frauds that the holdout needs: with fewer, no figure of it says anything."""
REVIEW_COST = 5.0
"""What it costs to have somebody look at an order, in the shop's currency: ten minutes of work."""

VELOCITY_ORDERS, VELOCITY_CARD_ORDERS, LARGE_AMOUNT = 2, 3, 3.0

PARAMETERS: dict[str, Any] = {
    "max_iter": 80,
    "learning_rate": 0.06,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 20,
    "l2_regularization": 1.0,
    "early_stopping": False,
    "random_state": 7,
}

Labels = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Split(NamedTuple):
    """Orders of `[training, trained_until)` to train on, with what was known on `holdout`; `[holdout, until)` to test.

    At each of `holdout` and `known` the youngest order of its part is `MATURITY_DAYS` old.
    """

    training: date
    trained_until: date
    holdout: date
    until: date
    known: date


def split(*, data_start: date, data_end: date) -> Split:
    """Split the orders of `[data_start, data_end)` by time, so that nothing immature is in either part.

    Raises:
        TooYoung: the history is too short for both parts and twice the time in which labels come.
    """
    maturity = timedelta(days=MATURITY_DAYS)
    until = data_end - maturity
    holdout = until - timedelta(days=HOLDOUT_DAYS)
    trained_until = holdout - maturity
    if (trained_until - data_start).days < SHORTEST_DAYS:
        raise TooYoung(
            f"The fraud model needs {SHORTEST_DAYS} days of orders to train on and {HOLDOUT_DAYS} to test on, and "
            f"after each {MATURITY_DAYS} days in which chargebacks come. Data from {data_start} to {data_end} are "
            f"{(data_end - data_start).days} days. Load at least "
            f"{2 * MATURITY_DAYS + HOLDOUT_DAYS + SHORTEST_DAYS} days of orders, and run again."
        )
    return Split(data_start, trained_until, holdout, until, data_end)


def labelled_rows(
    con: duckdb.DuckDBPyConnection, risk: str, orders: str, refunds: str, days: tuple[date, date], known: date
) -> pa.Table:
    """The orders of the days `[first, until)` with their features and `is_fraud` by what was known when `known` began.

    `risk`, `orders` and `refunds` are DuckDB SELECTs of `features.order_risk`, `published.fct_orders` and
    `published.fct_refunds`. Cancelled orders, which cost nothing, are left out unless they were charged back.
    """
    return con.execute(
        f"""
        WITH charged_back AS (
            SELECT DISTINCT order_id FROM ({refunds})
            WHERE reason = $reason AND refunded_at < CAST($known AS TIMESTAMPTZ)
        )
        SELECT r.*, CAST(c.order_id IS NOT NULL AS BIGINT) AS {LABEL}
        FROM ({risk}) r JOIN ({orders}) o USING (order_id) LEFT JOIN charged_back c USING (order_id)
        WHERE r.order_date >= $first AND r.order_date < $until AND (NOT o.is_cancelled OR c.order_id IS NOT NULL)
        ORDER BY r.order_date, r.order_id""",
        {"reason": CHARGEBACK, "known": known, "first": days[0], "until": days[1]},
    ).to_arrow_table()


def train(rows: pa.Table, names: Sequence[str]) -> Any:
    """Fit gradient-boosted trees on the float32 columns `names`, with sigmoid calibration; an sklearn classifier.

    The rows are taken as they are: resampling would spoil the probabilities that the decision needs.

    Raises:
        NotEnoughData: there are too few frauds.
    """
    labels = target(rows)
    if labels.sum() < FEWEST:
        raise NotEnoughData(
            f"The fraud model needs at least {FEWEST} frauds to learn from: of {len(labels)} orders old enough for "
            f"their chargeback to have come, {int(labels.sum())} were charged back. Load more orders or more time."
        )
    customers = rows["customer_id"].to_pylist()
    payers = [customer or order for customer, order in zip(customers, rows["order_id"].to_pylist(), strict=True)]
    return fit_calibrated(column_values(rows, names), labels, np.array(payers), boosted_trees(PARAMETERS))


def target(rows: pa.Table) -> Labels:
    """The labels of `rows`: 1 where the order was charged back."""
    values: Labels = rows[LABEL].to_numpy()
    return values


def amounts(rows: pa.Table) -> Vector:
    """What is lost with each of `rows` if it is a fraud, in the shop's currency."""
    values: Vector = rows[AMOUNT].to_numpy()
    return values


def rules_fired(rows: pa.Table) -> Vector:
    """The baseline that shops begin with: how many of four rules an order breaks.

    Velocity of customer or card, delivery elsewhere than the address on file, an amount three times the shop's mean,
    a card or device that another customer has used.
    """
    fired = np.stack(list(rules(lambda name: _or_zero(rows, name)).values()))
    total: Vector = fired.sum(axis=0).astype(np.float64)
    return total


def rules(values: Callable[[str], Vector]) -> dict[str, Flags]:
    """Which of the four rules orders break, by the rules' names; `values` gives a feature, with 0 for null."""
    return {
        "velocity": (values("orders_24h") >= VELOCITY_ORDERS) | (values("card_orders_24h") >= VELOCITY_CARD_ORDERS),
        "sent elsewhere": values("is_sent_elsewhere") > 0,
        "large amount": values("amount_to_shop_mean") >= LARGE_AMOUNT,
        "shared card or device": (values("card_others") > 0) | (values("device_others") > 0),
    }


def rules_needed(labels: Labels, fired: Vector, amount: Vector) -> int:
    """How many rules an order must break to be reviewed, so that the loss on these orders is least."""
    options = range(1, int(fired.max(initial=0)) + 2)
    return min(options, key=lambda needed: loss(labels, amount, fired >= needed))


def is_reviewed(probabilities: Vector, amount: Vector, review_cost: float = REVIEW_COST) -> Flags:
    """Which orders to review: those of which more is lost on average than a review costs.

    The threshold on the probability is `review_cost / amount`, so it differs between orders: the least expected cost
    where costs differ (Elkan, The foundations of cost-sensitive learning, 2001).
    """
    return probabilities * amount > review_cost


def loss(labels: Labels, amount: Vector, reviewed: Flags, review_cost: float = REVIEW_COST) -> float:
    """What the decisions cost in all: a review each, and the amount of each fraud that is not reviewed."""
    return float(np.where(reviewed, review_cost, labels * amount).sum())


def _or_zero(rows: pa.Table, name: str) -> Vector:
    values: Vector = np.nan_to_num(rows[name].cast(pa.float64()).to_numpy(zero_copy_only=False))
    return values
