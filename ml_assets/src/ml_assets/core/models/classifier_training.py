"""One training of a classifier from start to end: rows, split, fit, export, and every figure a decision needs.

A pure function of the feature table and the orders: the same data give the same bytes. What the figures must be is
decided by the checks of its asset; where the model goes is `ml_assets.core.registry`'s business.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_assets.core.evaluation.classification import (
    MEASURES,
    Interval,
    Scores,
    advantage,
    evaluate,
    measured,
    single_feature_scores,
)
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.features.customers import column_values
from ml_assets.core.models import bg_nbd, classifier, export
from ml_assets.core.models.classifier import Question, Split, Vector
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.training import Exported, exported


class Trained(NamedTuple):
    """An exported classifier and what is known of it.

    `scores` and `measured`, by the question's measure, are on the holdout date; `baselines` are that measure there of
    the question's rules, and of P(alive) where it is about orders; `gain` is by how much it is above `best_rule`, the
    best of the rules, on the same rows; `feature_aucs` are the AUCs of each feature alone.
    `held_out` are the holdout's rows with their labels, `probabilities` what the exported form predicts for them, and
    `rankings` the order in which each baseline has them; `model` is the sklearn classifier that was exported.
    """

    question: Question
    model: Any
    form: Exported
    names: tuple[str, ...]
    split: Split
    training_rows: int
    scores: Scores
    measured: Interval
    baselines: dict[str, float]
    best_rule: str
    gain: Interval
    feature_aucs: dict[str, float]
    held_out: pa.Table
    probabilities: Vector
    rankings: dict[str, Vector]

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
            self.question.measure: self.measured.value,
            f"{self.question.label}_rate": scores.positives / scores.rows,
        }

    @property
    def card(self) -> dict[str, Any]:
        """The model's card in the form of a release, but for the version that the registry gives it."""
        return {
            "name": self.question.name,
            "as_of": self.split.holdout.isoformat(),
            "features": [spec.model_dump() for spec in CUSTOMER_FEATURES.specs(self.names)],
            "metrics": self.metrics,
            "baseline_metrics": {f"{name}.{self.question.measure}": value for name, value in self.baselines.items()},
        }


def train_classifier(
    con: duckdb.DuckDBPyConnection,
    question: Question,
    features: str,
    events: str,
    as_of_dates: Collection[date],
    *,
    data_start: date,
    data_end: date,
) -> Trained:
    """Train on the early as-of dates and evaluate on the latest one whose outcome is known.

    `features` and `events` are DuckDB SELECTs, as `labelled_rows` takes them; events lie in `[data_start, data_end)`.

    Raises:
        NotEnoughData: the history is too short, nearly all customers have the same label, or the margin over the best
            rule lies in the interval of the model's gain over it: so many customers do not show that it is better. One
            that is worse beyond chance is for a check to refuse.
    """
    split = classifier.split(question, as_of_dates, data_start=data_start, data_end=data_end)
    rows = classifier.labelled_rows(con, question, features, events, split.training)
    holdout = classifier.labelled_rows(con, question, features, events, [split.holdout])
    labels = classifier.target(question, holdout)
    if not 0 < labels.sum() < len(labels):
        raise NotEnoughData(
            f"{question.title} cannot be evaluated: of {len(labels)} customers on {split.holdout}, "
            f"{int(labels.sum())} {question.label}. Load more customers."
        )
    names = classifier.informative(question, rows)
    model = classifier.train(question, rows, names)
    form = exported(model, question.name, column_values(rows, names))
    matrix = column_values(holdout, names)
    measure, probabilities = MEASURES[question.measure], export.predict(form.content, matrix)
    rankings = {name: rule(holdout) for name, rule in question.rules.items()}
    rules = {name: measure.score(labels, ranking) for name, ranking in rankings.items()}
    scores = evaluate(labels, probabilities)
    reached = measured(labels, probabilities, measure, scores)
    best = max(rules, key=lambda name: rules[name])
    gain = advantage(labels, probabilities, rankings[best], measure.score)
    if gain.low <= question.margin <= gain.high:
        raise NotEnoughData(
            f"{question.title} is not shown to be better than the {best.replace('_', ' ')}: {measure} of "
            f"{reached.value:.3f} against {rules[best]:.3f}, which may be chance among {len(labels)} customers: the "
            f"gain is from {gain.low:+.3f} to {gain.high:+.3f}, and must be above {question.margin:g}. "
            "Load more customers or more time."
        )
    if question.is_about_orders:
        rankings["p_alive"] = _by_bg_nbd(question, rows, holdout)
    return Trained(
        question=question,
        model=model,
        form=form,
        names=names,
        split=split,
        training_rows=len(rows),
        scores=scores,
        measured=reached,
        baselines={name: measure.score(labels, ranking) for name, ranking in rankings.items()},
        best_rule=best,
        gain=gain,
        feature_aucs=single_feature_scores(labels, matrix, names),
        held_out=holdout,
        probabilities=probabilities,
        rankings=rankings,
    )


def _by_bg_nbd(question: Question, rows: pa.Table, holdout: pa.Table) -> Vector:
    """The ranking of one who knows when and how often a customer ordered: who never did will not."""
    rates = bg_nbd.fit(bg_nbd.histories(rows.filter(pc.greater(rows["order_days_count"], 0))))
    ordered = holdout["order_days_count"].to_numpy() > 0
    silent = np.ones(len(holdout))
    silent[ordered] = bg_nbd.no_order_probability(
        rates, bg_nbd.histories(holdout.filter(ordered)), question.horizon_days / bg_nbd.DAYS_IN_UNIT
    )
    return -silent if question.is_event else silent
