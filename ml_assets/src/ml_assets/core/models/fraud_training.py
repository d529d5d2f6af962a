"""One training of the fraud model from start to end: rows, split, fit, export, and every figure a decision needs.

A pure function of features, orders and refunds: the same data give the same bytes. What the figures must be is decided
by the checks of `models/order_fraud`; where the model goes is `ml_assets.core.registry`'s business.
"""

from __future__ import annotations

from datetime import date
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from ml_assets.core.evaluation.classification import (
    Interval,
    Scores,
    advantage,
    average_precision,
    evaluate,
    interval,
    recall_at,
    single_feature_scores,
)
from ml_assets.core.features.customers import column_values
from ml_assets.core.features.order_catalogue import ORDER_RISK
from ml_assets.core.models import export, fraud
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.training import Exported, exported, informative

FALSE_POSITIVE_RATE = 0.01


class Loss(NamedTuple):
    """What the orders of the holdout cost, in the shop's currency, by each way to decide on them."""

    model: float
    rules: float
    nothing: float


class Trained(NamedTuple):
    """An exported fraud model and what is known of it, on the holdout where nothing else is said.

    `precision` is the average precision (AUPRC), `gain` by how much it is above that of the rules on the same orders,
    `recall` that at a false-positive rate of 1 %; `expected` is the sum of the predicted probabilities; `alone` the
    average precision of each feature; `rules_needed` was chosen on the training rows. `held_out` are the holdout's rows
    with their labels and `probabilities` what the exported form predicts for them; `model` is the sklearn classifier
    that was exported.
    """

    model: Any
    form: Exported
    names: tuple[str, ...]
    split: fraud.Split
    training_rows: int
    training_frauds: int
    scores: Scores
    precision: Interval
    rules_precision: Interval
    gain: Interval
    recall: float
    expected: float
    loss: Loss
    rules_needed: int
    alone: dict[str, float]
    held_out: pa.Table
    probabilities: fraud.Vector

    @property
    def prior(self) -> float:
        """The share of frauds: the average precision of who tells nothing apart."""
        return self.scores.positives / self.scores.rows

    @property
    def metrics(self) -> dict[str, float]:
        """The holdout's figures by name."""
        return {
            "auprc": self.precision.value,
            "auprc_low": self.precision.low,
            "auprc_high": self.precision.high,
            "recall_at_1pct_fpr": self.recall,
            "auc": self.scores.auc.value,
            "brier": self.scores.brier,
            "loss_per_order": self.loss.model / self.scores.rows,
            "fraud_rate": self.prior,
        }

    @property
    def baselines(self) -> dict[str, float]:
        """The same measures of the rules, of the prior rate, and of reviewing nothing."""
        return {
            "rules.auprc": self.rules_precision.value,
            "rules.loss_per_order": self.loss.rules / self.scores.rows,
            "prior.auprc": self.prior,
            "no_review.loss_per_order": self.loss.nothing / self.scores.rows,
        }

    @property
    def card(self) -> dict[str, Any]:
        """The model's card in the form of a release, but for the version that the registry gives it."""
        return {
            "name": fraud.NAME,
            "as_of": self.split.holdout.isoformat(),
            "features": [spec.model_dump() for spec in ORDER_RISK.specs(self.names)],
            "metrics": self.metrics,
            "baseline_metrics": self.baselines,
            "review": {"amount": fraud.AMOUNT, "cost": fraud.REVIEW_COST},
        }


def train_fraud(
    con: duckdb.DuckDBPyConnection, risk: str, orders: str, refunds: str, *, data_start: date, data_end: date
) -> Trained:
    """Train on what was known when the holdout began, and evaluate on the orders whose chargebacks have come since.

    `risk`, `orders` and `refunds` are DuckDB SELECTs; their data lie in `[data_start, data_end)`.

    Raises:
        NotEnoughData: the history is too short, has too few frauds, or these do not show whether the model is better
            than the rules. One that is worse beyond chance is for a check to refuse.
    """
    split = fraud.split(data_start=data_start, data_end=data_end)
    days, held_out = (split.training, split.trained_until), (split.holdout, split.until)
    rows = fraud.labelled_rows(con, risk, orders, refunds, days, split.holdout)
    holdout = fraud.labelled_rows(con, risk, orders, refunds, held_out, split.known)
    labels, amount = fraud.target(holdout), fraud.amounts(holdout)
    if labels.sum() < fraud.FEWEST_HELD_OUT or labels.all():
        raise NotEnoughData(
            f"The fraud model cannot be evaluated: of {len(labels)} orders from {split.holdout} to {split.until}, "
            f"{int(labels.sum())} were charged back, and at least {fraud.FEWEST_HELD_OUT} must be. Load more orders."
        )
    others = informative(rows, {*(column.name for column in ORDER_RISK.columns), fraud.LABEL, fraud.AMOUNT})
    names = (*others, fraud.AMOUNT)  # the decision needs it, though it told nothing apart
    model = fraud.train(rows, names)
    form = exported(model, fraud.NAME, column_values(rows, names))
    matrix = column_values(holdout, names)
    probabilities = export.predict(form.content, matrix)
    needed = fraud.rules_needed(fraud.target(rows), fraud.rules_fired(rows), fraud.amounts(rows))
    fired = fraud.rules_fired(holdout)
    precision = interval(labels, probabilities, average_precision)
    rules_precision = interval(labels, fired, average_precision)
    gain = advantage(labels, probabilities, fired, average_precision)
    if gain.low <= 0 <= gain.high:
        raise NotEnoughData(
            f"The fraud model is not shown to be better than the rules: an average precision of {precision.value:.3f} "
            f"against {rules_precision.value:.3f}, which may be chance among {int(labels.sum())} frauds: the "
            f"gain is from {gain.low:+.3f} to {gain.high:+.3f}. Load more orders or more time."
        )
    return Trained(
        model=model,
        form=form,
        names=names,
        split=split,
        training_rows=len(rows),
        training_frauds=int(fraud.target(rows).sum()),
        scores=evaluate(labels, probabilities),
        precision=precision,
        rules_precision=rules_precision,
        gain=gain,
        recall=recall_at(labels, probabilities, FALSE_POSITIVE_RATE),
        expected=float(probabilities.sum()),
        loss=Loss(
            model=fraud.loss(labels, amount, fraud.is_reviewed(probabilities, amount)),
            rules=fraud.loss(labels, amount, fired >= needed),
            nothing=float((labels * amount).sum()),
        ),
        rules_needed=needed,
        alone=single_feature_scores(labels, matrix, names, average_precision),
        held_out=holdout,
        probabilities=probabilities,
    )
