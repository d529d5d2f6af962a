"""Scores of a classifier: the champion's probabilities for the customers of one as-of date.

Training is `training`; the tables that hold the scores are `churn_scores` and `propensities`.
"""

from __future__ import annotations

from datetime import date

import duckdb
import pyarrow as pa

from cartograph.contracts import Contract
from cartograph.releases.contents import ModelCard
from ml_assets.core.features.customers import column_values
from ml_assets.core.models.classifier import Question
from ml_assets.core.models.export import predict
from ml_assets.core.registry import NoModel, Registered


def card_of(model: Registered) -> ModelCard:
    """The card that was registered with the model, with its version."""
    return ModelCard.model_validate({**model.card, "version": model.version})


def score(
    con: duckdb.DuckDBPyConnection,
    question: Question,
    contract: Contract,
    features: str,
    model: Registered | None,
    as_of: date,
) -> pa.Table:
    """The scores of the question's population on `as_of`, by customer; `features` is a DuckDB SELECT of the features.

    The columns of `contract` are the customer, the as-of date, the probability and the model's version. Without a
    model nobody has a score.

    Raises:
        NoModel: the model takes a feature that the table does not have.
    """
    schema = contract.arrow_schema()
    if model is None:
        return schema.empty_table()
    rows = con.execute(
        f"SELECT * FROM ({features}) WHERE as_of_date = $as_of AND ({question.population}) ORDER BY customer_id",
        {"as_of": as_of},
    ).to_arrow_table()
    names = [feature.name for feature in card_of(model).features]
    missing = [name for name in names if name not in rows.schema.names]
    if missing:
        raise NoModel(
            f"Version {model.version} of {model.name} takes {', '.join(missing)}, which the feature table does not "
            f"have. Train it again: materialize models/{model.name}."
        )
    return pa.table(
        [
            rows["customer_id"],
            rows["as_of_date"],
            pa.array(predict(model.content, column_values(rows, names)), pa.float64()),
            pa.repeat(pa.scalar(model.version, pa.string()), len(rows)),
        ],
        names=schema.names,
    ).cast(schema)
