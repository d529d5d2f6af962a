"""Churn scores: the champion's probabilities for the customers of one as-of date, and their table's contract.

Training is `training`; what the scores are joined with for the API is the release's business (`ml_assets.defs`).
"""

from __future__ import annotations

from datetime import date

import duckdb
import pyarrow as pa

from cartograph.contracts import Column, Contract
from cartograph.releases.contents import ModelCard
from ml_assets.core.features.customers import column_values
from ml_assets.core.models.churn import ACTIVE_DAYS
from ml_assets.core.models.export import Vector, predict
from ml_assets.core.registry import NoModel, Registered

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


def card_of(model: Registered) -> ModelCard:
    """The card that was registered with the model, with its version."""
    return ModelCard.model_validate({**model.card, "version": model.version})


def churn_scores(con: duckdb.DuckDBPyConnection, features: str, model: Registered | None, as_of: date) -> pa.Table:
    """The scores of all active customers of `as_of`, by customer; `features` is a DuckDB SELECT of the feature table.

    Without a model nobody has a score.

    Raises:
        NoModel: the model takes a feature that the table does not have.
    """
    schema = CONTRACT.arrow_schema()
    if model is None:
        return schema.empty_table()
    rows = con.execute(
        f"SELECT * FROM ({features}) WHERE as_of_date = $as_of AND recency_days <= $active ORDER BY customer_id",
        {"as_of": as_of, "active": ACTIVE_DAYS},
    ).to_arrow_table()
    return pa.table(
        [
            rows["customer_id"],
            rows["as_of_date"],
            pa.array(probabilities(model, rows), pa.float64()),
            pa.repeat(pa.scalar(model.version, pa.string()), len(rows)),
        ],
        names=schema.names,
    ).cast(schema)


def probabilities(model: Registered, rows: pa.Table) -> Vector:
    """What the model says of rows of the feature table.

    Raises:
        NoModel: it takes a feature that they do not have.
    """
    names = [feature.name for feature in card_of(model).features]
    missing = [name for name in names if name not in rows.schema.names]
    if missing:
        raise NoModel(
            f"Version {model.version} of {model.name} takes {', '.join(missing)}, which the feature table does not "
            "have. Train it again: materialize models/churn_classifier."
        )
    return predict(model.content, column_values(rows, names))
