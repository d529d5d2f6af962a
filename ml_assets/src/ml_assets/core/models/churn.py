"""The churn model: who, of the customers who still buy, will not order in the next 90 days.

The question and its baseline; how it is answered is `classifier` and `training`.
"""

from __future__ import annotations

from ml_assets.core.models.classifier import Question, recency

NAME = "churn_classifier"
HORIZON_DAYS = 90
"""A customer churns on as-of date D when they place no order that stands in [D, D + 90 days)."""
ACTIVE_DAYS = 180
"""The population of an as-of date: customers who ordered in so many days before it."""

QUESTION = Question(
    name=NAME,
    title="The churn model",
    label="churned",
    is_event=False,
    horizon_days=HORIZON_DAYS,
    population=f"recency_days <= {ACTIVE_DAYS}",
    spacing_days=28,
    rules={"recency_rule": recency},
)
"""Its baseline is what every shop knows: the longer ago the last order, the likelier that there is no next one."""
