"""Fraud scores: the champion's probabilities for the orders of some days, what to do about each, and why.

Training is `fraud_training`; the decision's cost is `fraud`'s.
"""

from __future__ import annotations

from datetime import date

import duckdb
import numpy as np
import pyarrow as pa

from cartograph.contracts import Column, Contract
from ml_assets.core.models import fraud
from ml_assets.core.models.export import Matrix, predict
from ml_assets.core.models.scoring import card_of, inputs
from ml_assets.core.registry import Registered

REASONS = 3
"""At most so many features are named as reasons."""

CONTRACT = Contract(
    dataset="fraud_scores",
    grain="An order of the latest partition that is not cancelled.",
    key=("order_id", "order_date"),
    event_time="order_date",
    columns=(
        Column(name="order_id", type="string", description="The order."),
        Column(name="order_date", type="date", description="The day of the order (UTC)."),
        Column(name="customer_id", type="string", nullable=True, description="Who ordered; null for a guest."),
        Column(name="fraud_probability", type="double", description="Probability that it will be charged back."),
        Column(
            name="is_review",
            type="boolean",
            description=f"Whether a look costs less, at {fraud.REVIEW_COST:g}, than is expected to be lost.",
        ),
        Column(
            name="reasons",
            type="string",
            nullable=True,
            description=(
                f"At most {REASONS} features, the strongest first, that as in the middle one of these orders would "
                "lower the probability most. Null: no review."
            ),
        ),
        Column(name="fraud_model_version", type="string", description="The version of models/order_fraud."),
    ),
)


def fraud_scores(
    con: duckdb.DuckDBPyConnection, risk: str, orders: str, model: Registered | None, days: tuple[date, date]
) -> pa.Table:
    """The scores of the orders of the days `[first, until)` that are not cancelled, by day and order.

    `risk` and `orders` are DuckDB SELECTs of the feature table and of `published.fct_orders`. Without a model no order
    has a score.

    Raises:
        NoModel: the model takes a feature that the table does not have.
    """
    schema = CONTRACT.arrow_schema()
    if model is None:
        return schema.empty_table()
    rows = con.execute(
        f"""
        SELECT r.* FROM ({risk}) r JOIN ({orders}) o USING (order_id)
        WHERE r.order_date >= $first AND r.order_date < $until AND NOT o.is_cancelled
        ORDER BY r.order_date, r.order_id""",
        {"first": days[0], "until": days[1]},
    ).to_arrow_table()
    matrix = inputs(model, rows)
    probabilities = predict(model.content, matrix)
    reviewed = fraud.is_reviewed(probabilities, fraud.amounts(rows))
    told = iter(reasons(model, matrix, reviewed))
    return pa.table(
        [
            rows["order_id"],
            rows["order_date"],
            rows["customer_id"],
            pa.array(probabilities, pa.float64()),
            pa.array(reviewed, pa.bool_()),
            pa.array([next(told) if review else None for review in reviewed], pa.string()),
            pa.repeat(pa.scalar(model.version, pa.string()), len(rows)),
        ],
        names=schema.names,
    ).cast(schema)


def reasons(model: Registered, matrix: Matrix, chosen: fraud.Flags) -> list[str]:
    """For each chosen row, the features that lower its probability most when they are as in the median row."""
    names = [feature.name for feature in card_of(model).features]
    rows = matrix[chosen]
    if not len(rows):
        return []
    known = ~np.isnan(matrix)
    usual = [float(np.median(matrix[known[:, at], at])) if known[:, at].any() else np.nan for at in range(len(names))]
    lowered = np.empty(rows.shape)
    before = predict(model.content, rows)
    for at, value in enumerate(usual):
        changed = rows.copy()
        changed[:, at] = value
        lowered[:, at] = before - predict(model.content, changed)
    strongest = np.argsort(-lowered, axis=1, kind="stable")[:, :REASONS]
    return [
        ", ".join(names[at] for at in order if drops[at] > 0) for order, drops in zip(strongest, lowered, strict=True)
    ]
