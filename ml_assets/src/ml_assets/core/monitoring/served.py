"""Whether the API's models answer as the graph's did: the scores served of late beside those of the batch.

The log of what was served names nobody, so that no outcome can be found for one of its scores. What it tells is
whether those who are asked about are like those who were scored, and the mean is theirs. The batch's probabilities are
held to what came by `realised`: served ones that have its distribution, from the same version, are as calibrated as
its are.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from cartograph.contracts import Column, Contract
from ml_assets.core.evaluation.drift import Column as Scores
from ml_assets.core.evaluation.drift import kolmogorov_smirnov, population_stability
from ml_assets.core.models import churn, fraud, propensity
from ml_assets.core.monitoring.quality import CALIBRATION_ERROR

DAYS = 28
"""Up to the latest of a version's predictions, so many days of them are compared."""
FEWEST = 500
"""Scores of each side. The index of two samples of one population is (tenths - 1)(1/n + 1/m) on average, 0.04 with so
few on both sides, and seldom above twice that."""
STABILITY = 0.25
"""A large change by the custom of credit scoring (Siddiqi 2006, p. 136)."""


class Batch(NamedTuple):
    """Where the graph keeps a model's scores: the lake table, and its columns of score, version and date."""

    table: str
    score: str
    version: str
    date: str


BATCHES: Mapping[str, Batch] = {
    churn.NAME: Batch("predictions.churn_scores", "churn_probability", "churn_model_version", "as_of_date"),
    propensity.NAME: Batch(
        "predictions.purchase_propensities", "purchase_probability", "propensity_model_version", "as_of_date"
    ),
    fraud.NAME: Batch("predictions.fraud_scores", "fraud_probability", "fraud_model_version", "order_date"),
}
"""The probabilities that the API also gives for a caller's features. Lifetime values have no bound, and no bar."""

CONTRACT = Contract(
    dataset="served_predictions",
    grain="A version of a model that the API has answered with.",
    key=("model", "model_version"),
    columns=(
        Column(name="model", type="string", description="The model's name."),
        Column(name="model_version", type="string", description="The version that answered."),
        Column(name="served_from", type="timestamp", description="The first of the answers that are compared."),
        Column(name="served_until", type="timestamp", description="The last of them."),
        Column(name="served", type="bigint", description=f"How many there are, of {DAYS} days."),
        Column(
            name="scored", type="bigint", description="Scores of the version in the batch, of the latest date or month."
        ),
        Column(name="served_mean", type="double", description="Mean of the answers."),
        Column(name="scored_mean", type="double", nullable=True, description="Mean of the batch; null without one."),
        Column(
            name="stability_index",
            type="double",
            nullable=True,
            description="Population stability index of the answers over tenths of the batch; null without one.",
        ),
        Column(
            name="largest_distance",
            type="double",
            nullable=True,
            description="Kolmogorov and Smirnov's distance of both distributions, 0 to 1; null without a batch.",
        ),
    ),
)


class Judgement(NamedTuple):
    """A version that has answered often enough, and been scored with often enough, to be judged."""

    model: str
    version: str
    stability_index: float
    mean_difference: float

    @property
    def is_alike(self) -> bool:
        """Whether what it answers is distributed as its batch, and as high on average."""
        return self.stability_index <= STABILITY and self.mean_difference <= CALIBRATION_ERROR


def compare(con: duckdb.DuckDBPyConnection, log: str, batches: Mapping[str, str]) -> pa.Table:
    """The table of `CONTRACT`; `log` is a DuckDB SELECT of the log, `batches` those of the scores, by model.

    Of a model without a batch, as the shop's own, there are the figures of what was served alone.
    """
    versions = con.execute(
        f"""
        SELECT model, model_version, min(predicted_at), max(predicted_at), count(*) FROM (
            SELECT *, max(predicted_at) OVER (PARTITION BY model, model_version) AS latest FROM ({log})
        ) WHERE predicted_at > latest - to_days({DAYS})
        GROUP BY model, model_version ORDER BY model, model_version"""
    ).fetchall()
    return CONTRACT.arrow_table(
        [
            (model, version, first, last, count, *_figures(con, log, batches.get(model), model, version, last))
            for model, version, first, last, count in versions
        ]
    )


def judge(table: pa.Table) -> list[Judgement]:
    """The versions of a table of `compare` that have FEWEST scores on both sides."""
    return [
        Judgement(
            row["model"], row["model_version"], row["stability_index"], abs(row["served_mean"] - row["scored_mean"])
        )
        for row in table.to_pylist()
        if min(row["served"], row["scored"]) >= FEWEST
    ]


def _figures(
    con: duckdb.DuckDBPyConnection, log: str, batch: str | None, model: str, version: str, last: datetime
) -> tuple[int, float, float | None, float | None, float | None]:
    served = _column(
        con,
        f"SELECT score FROM ({log}) WHERE model = $model AND model_version = $version AND predicted_at > $after",
        {"model": model, "version": version, "after": last - timedelta(days=DAYS)},
    )
    mean = float(served.mean(dtype=np.float64))
    scored = _scored(con, BATCHES[model], batch, version) if batch is not None else np.empty(0, np.float32)
    if not len(scored):
        return 0, mean, None, None, None
    alike = population_stability(scored, served), kolmogorov_smirnov(scored, served)
    return len(scored), mean, float(scored.mean(dtype=np.float64)), *alike


def _scored(con: duckdb.DuckDBPyConnection, about: Batch, batch: str, version: str) -> Scores:
    return _column(
        con,
        f"""
        SELECT {about.score} FROM ({batch}) WHERE {about.version} = $version AND {about.score} IS NOT NULL
        QUALIFY date_trunc('month', {about.date}) = max(date_trunc('month', {about.date})) OVER ()""",
        {"version": version},
    )


def _column(con: duckdb.DuckDBPyConnection, query: str, given: Mapping[str, object]) -> Scores:
    found: Scores = con.execute(query, given).to_arrow_table().column(0).to_numpy().astype(np.float32)
    return found
