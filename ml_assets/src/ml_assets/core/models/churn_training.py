"""One training of the churn model from start to end: rows, split, fit, export, and every figure a decision needs.

A pure function of the feature table and the orders: the same data give the same bytes. What the figures must be is
decided by the checks of `models/churn_classifier`; where the model goes is `ml_assets.core.registry`'s business.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any, NamedTuple

import duckdb

from ml_assets.core.evaluation.classification import Scores, auc, evaluate, single_feature_scores
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.features.customers import column_values
from ml_assets.core.models import bg_nbd, churn, export
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.training import Exported, exported, informative


class Trained(NamedTuple):
    """An exported churn model and what is known of it.

    `scores` are on the holdout date; `baselines` are AUCs there of the recency rule and of P(alive); `feature_aucs`
    are those of each feature alone.
    """

    form: Exported
    names: tuple[str, ...]
    split: churn.Split
    training_rows: int
    scores: Scores
    baselines: dict[str, float]
    feature_aucs: dict[str, float]

    @property
    def metrics(self) -> dict[str, float]:
        """The holdout's figures by name."""
        scores = self.scores
        return {
            "auc": scores.auc.value,
            "auc_low": scores.auc.low,
            "auc_high": scores.auc.high,
            "brier": scores.brier,
            "ece": scores.ece,
            "lift_top_decile": scores.lift,
            "churn_rate": scores.positives / scores.rows,
        }

    @property
    def card(self) -> dict[str, Any]:
        """The model's card in the form of a release, but for the version that the registry gives it."""
        return {
            "name": churn.NAME,
            "as_of": self.split.holdout.isoformat(),
            "features": [spec.model_dump() for spec in CUSTOMER_FEATURES.specs(self.names)],
            "metrics": self.metrics,
            "baseline_metrics": {f"{name}.auc": value for name, value in self.baselines.items()},
        }


def train_churn(
    con: duckdb.DuckDBPyConnection,
    features: str,
    orders: str,
    as_of_dates: Collection[date],
    *,
    data_start: date,
    data_end: date,
) -> Trained:
    """Train on the early as-of dates and evaluate on the latest one whose outcome is known.

    `features` and `orders` are DuckDB SELECTs; the orders lie in `[data_start, data_end)`.

    Raises:
        NotEnoughData: the history is too short, or nearly all customers have the same label.
    """
    split = churn.split(as_of_dates, data_start=data_start, data_end=data_end)
    rows = churn.labelled_rows(con, features, orders, split.training)
    holdout = churn.labelled_rows(con, features, orders, [split.holdout])
    labels = churn.target(holdout)
    if not 0 < labels.sum() < len(labels):
        raise NotEnoughData(
            f"The churn model cannot be evaluated: of {len(labels)} customers who were active on {split.holdout}, "
            f"{int(labels.sum())} churned. Load more customers."
        )
    names = informative(rows, {*CUSTOMER_FEATURES.key, churn.LABEL})
    model = churn.train(rows, names)
    form = exported(model, churn.NAME, column_values(rows, names))
    matrix = column_values(holdout, names)
    rates = bg_nbd.fit(bg_nbd.histories(rows))
    silent = bg_nbd.no_order_probability(rates, bg_nbd.histories(holdout), churn.HORIZON_DAYS / bg_nbd.DAYS_IN_UNIT)
    return Trained(
        form=form,
        names=names,
        split=split,
        training_rows=len(rows),
        scores=evaluate(labels, export.predict(form.content, matrix)),
        baselines={"recency_rule": auc(labels, churn.recency_rule(holdout)), "p_alive": auc(labels, silent)},
        feature_aucs=single_feature_scores(labels, matrix, names),
    )
