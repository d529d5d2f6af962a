"""What every scoring with an exported classifier does: its card, and the probabilities of rows of a feature table.

Which rows are scored, and what is made of the probabilities, stands with each model.
"""

from __future__ import annotations

from datetime import date

import duckdb
import pyarrow as pa

from cartograph.contracts import Contract
from cartograph.releases.contents.models import ModelCard
from ml_assets.core.features.customers import column_values
from ml_assets.core.models.classifier import Question
from ml_assets.core.models.export import Matrix, Vector, predict
from ml_assets.core.registry import NoModel, Registered


def card_of(model: Registered) -> ModelCard:
    """The card that was registered with the model, with its version."""
    return ModelCard.model_validate({**model.card, "version": model.version})


def inputs(model: Registered, rows: pa.Table) -> Matrix:
    """The columns of `rows` that the model takes, as its input.

    Raises:
        NoModel: the model takes a feature that the table does not have.
    """
    names = [feature.name for feature in card_of(model).features]
    missing = [name for name in names if name not in rows.schema.names]
    if missing:
        raise NoModel(
            f"Version {model.version} of {model.name} takes {', '.join(missing)}, which the feature table does not "
            f"have. Train it again: materialize models/{model.name}."
        )
    matrix: Matrix = column_values(rows, names)
    return matrix


def probabilities(model: Registered, rows: pa.Table) -> Vector:
    """The probability of what the model predicts, for each row of a feature table.

    Raises:
        NoModel: the model takes a feature that the table does not have.
    """
    return predict(model.content, inputs(model, rows))


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
    return pa.table(
        [
            rows["customer_id"],
            rows["as_of_date"],
            pa.array(probabilities(model, rows), pa.float64()),
            pa.repeat(pa.scalar(model.version, pa.string()), len(rows)),
        ],
        names=schema.names,
    ).cast(schema)
