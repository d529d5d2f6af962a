"""Customers by id, and what is said of one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from api.services.lookup import Rows
from api.services.own_models import OwnPrediction
from cartograph.releases.contents.tables import CUSTOMER_COLUMNS

Value = bool | int | float | str | None


@dataclass(frozen=True)
class CustomerRow:
    """One row of `customers.arrow`, its values fit for JSON."""

    customer_id: str
    as_of: str
    segment: str | None
    churn_probability: float | None
    churn_model_version: str | None
    purchase_probability: float | None
    propensity_model_version: str | None
    segment_number: int | None
    behaviour_segment: str | None
    segments_model_version: str | None
    alive_probability: float | None
    expected_orders_365d: float | None
    expected_revenue_365d: float | None
    lifetime_value_amount: float | None
    clv_model_version: str | None
    next_action: str | None
    next_action_reason: str | None
    added_margin_amount: float | None
    added_margin_low: float | None
    added_margin_high: float | None
    uplift_model_version: str | None
    policies: list[str] | None
    features: dict[str, Value]
    masked: tuple[str, ...] = ()

    def without(self, personal: Collection[str]) -> CustomerRow:
        """The row with its `personal` features null, and named in `masked`."""
        masked = tuple(name for name in self.features if name in personal)
        return replace(self, features={**self.features, **dict.fromkeys(masked)}, masked=masked) if masked else self


class Customers:
    """Looks customers up. Its methods may be called from several threads."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, customer_id: str) -> CustomerRow | None:
        """The customer of that id, None where there is none."""
        row = self._rows.find(customer_id)
        if row is None:
            return None
        known = {name: row.pop(name, None) for name in CUSTOMER_COLUMNS}
        return CustomerRow(**known, features=row)

    def after(self, customer_id: str, limit: int) -> list[str]:
        """The ids of the first `limit` customers that come after `customer_id`, which need not be one itself."""
        return self._rows.after(customer_id, limit)


def answer(row: CustomerRow, own: Sequence[OwnPrediction], release_id: str) -> dict[str, Any]:
    """What the API says of a customer; a prediction is null where the release has none of this customer.

    `own` are those of the shop's own models. A test holds it against `schemas.customers.Customer`: to do so at each
    request would take longer than the look-up.
    """

    def made_by(version: str) -> dict[str, str]:
        return {"model_version": version, "release_id": release_id, "as_of": row.as_of}

    churn = purchase = behaviour = value = advice = None
    if row.churn_model_version is not None:
        churn = {**made_by(row.churn_model_version), "probability": row.churn_probability}
    if row.propensity_model_version is not None:
        purchase = {**made_by(row.propensity_model_version), "probability": row.purchase_probability}
    if row.segments_model_version is not None:
        segment = {"number": row.segment_number, "name": row.behaviour_segment}
        behaviour = {**made_by(row.segments_model_version), **segment}
    if row.clv_model_version is not None:
        value = {
            **made_by(row.clv_model_version),
            "amount": row.lifetime_value_amount,
            "expected_orders": row.expected_orders_365d,
            "expected_revenue": row.expected_revenue_365d,
            "alive_probability": row.alive_probability,
        }
    if row.uplift_model_version is not None:
        advice = {
            **made_by(row.uplift_model_version),
            "action": row.next_action,
            "reason": row.next_action_reason,
            "added_margin": row.added_margin_amount,
            "low": row.added_margin_low,
            "high": row.added_margin_high,
        }
    return {
        "customer_id": row.customer_id,
        "release_id": release_id,
        "as_of": row.as_of,
        "segment": row.segment,
        "behaviour": behaviour,
        "churn": churn,
        "purchase": purchase,
        "lifetime_value": value,
        "next_best_action": advice,
        "predictions": {one.model: {**made_by(one.version), "probability": one.probability} for one in own},
        "features": row.features,
        "masked": row.masked,
    }
