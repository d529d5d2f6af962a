"""Churn scores: the table of the champion's probabilities, and how it is filled.

What the scores are joined with for the API is the release's business (`ml_assets.defs`).
"""

from __future__ import annotations

from datetime import date

import duckdb
import pyarrow as pa

from cartograph.contracts import Column, Contract
from ml_assets.core.models.churn import ACTIVE_DAYS, QUESTION
from ml_assets.core.models.scoring import score
from ml_assets.core.registry import Registered

CONTRACT = Contract(
    dataset="churn_scores",
    grain=f"A customer who ordered in the {ACTIVE_DAYS} days before an as-of date.",
    key=("customer_id", "as_of_date"),
    event_time="as_of_date",
    columns=(
        Column(name="customer_id", type="string", description="The customer."),
        Column(name="as_of_date", type="date", description="The score rests on what was known before this day (UTC)."),
        Column(name="churn_probability", type="double", description="Probability of no order in the next 90 days."),
        Column(name="churn_model_version", type="string", description="The version of models/churn_classifier."),
    ),
)


def churn_scores(con: duckdb.DuckDBPyConnection, features: str, model: Registered | None, as_of: date) -> pa.Table:
    """The churn scores of all active customers of `as_of`, as `scoring.score` says."""
    return score(con, QUESTION, CONTRACT, features, model, as_of)
