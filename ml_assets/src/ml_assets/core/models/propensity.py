"""The purchase propensity: who, of all customers, will order in the next 30 days.

The question and its baselines; how it is answered is `classifier` and `training`. Who should get an e-mail is another
question: who would have ordered anyway has a high propensity, and needs none (`ml_assets.core.causal`).
"""

from __future__ import annotations

import pyarrow as pa

from ml_assets.core.models.classifier import Question, Vector, recency

NAME = "purchase_propensity"
HORIZON_DAYS = 30
"""A customer buys on as-of date D when they place an order that stands in [D, D + 30 days)."""


def recency_rule(rows: pa.Table) -> Vector:
    """The shorter ago the last order, the likelier the next."""
    return -recency(rows)


def frequency_rule(rows: pa.Table) -> Vector:
    """The more orders in the last 180 days, the likelier the next; among equals, the shorter ago the last one."""
    orders: Vector = rows["orders_180d"].cast(pa.float64()).to_numpy()
    return orders + 1 / (1 + recency(rows))


QUESTION = Question(
    name=NAME,
    title="The purchase propensity",
    label="bought",
    is_event=True,
    horizon_days=HORIZON_DAYS,
    population="true",
    spacing_days=56,
    rules={"recency_rule": recency_rule, "frequency_rule": frequency_rule},
)
