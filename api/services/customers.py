"""Customers by id, read from the memory-mapped table of a release."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from api.schemas.customers import (
    BehaviourSegment,
    ChurnScore,
    Customer,
    LifetimeValue,
    NextBestAction,
    OwnModelScore,
    PurchasePropensity,
)
from api.services.lookup import find_row
from api.services.own_models import OwnPrediction
from cartograph.releases.contents import CUSTOMER_COLUMNS

Value = bool | int | float | str | None


@dataclass(frozen=True)
class CustomerRow:
    """One row of `customers.arrow`, its values fit for JSON."""

    customer_id: str
    as_of: date
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
    features: dict[str, Value]
    masked: tuple[str, ...] = ()

    def without(self, personal: Collection[str]) -> CustomerRow:
        """The row with its `personal` features null, and named in `masked`."""
        masked = tuple(name for name in self.features if name in personal)
        return replace(self, features={**self.features, **dict.fromkeys(masked)}, masked=masked) if masked else self


class Customers:
    """Looks customers up in a table that is sorted by `customer_id` (`contents.open_customers` makes sure of it)."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def find(self, customer_id: str) -> CustomerRow | None:
        """The customer of that id, None where there is none."""
        row = find_row(self._table, "customer_id", customer_id)
        if row is None:
            return None
        known = {name: row.pop(name, None) for name in CUSTOMER_COLUMNS}
        return CustomerRow(**known, features={name: _for_json(value) for name, value in row.items()})


def answer(row: CustomerRow, own: Sequence[OwnPrediction], release_id: str) -> Customer:
    """What the API says of a customer; a prediction is null where the release has none of this customer.

    `own` are those of the shop's own models.
    """

    def made_by(version: str) -> dict[str, Any]:
        return {"model_version": version, "release_id": release_id, "as_of": row.as_of}

    churn = purchase = behaviour = value = advice = None
    if row.churn_model_version is not None:
        churn = ChurnScore(probability=row.churn_probability, **made_by(row.churn_model_version))
    if row.propensity_model_version is not None:
        purchase = PurchasePropensity(probability=row.purchase_probability, **made_by(row.propensity_model_version))
    if row.segments_model_version is not None:
        behaviour = BehaviourSegment(
            number=row.segment_number, name=row.behaviour_segment, **made_by(row.segments_model_version)
        )
    if row.clv_model_version is not None:
        value = LifetimeValue(
            amount=row.lifetime_value_amount,
            expected_orders=row.expected_orders_365d,
            expected_revenue=row.expected_revenue_365d,
            alive_probability=row.alive_probability,
            **made_by(row.clv_model_version),
        )
    if row.uplift_model_version is not None:
        advice = NextBestAction(
            action=row.next_action,
            reason=row.next_action_reason,
            added_margin=row.added_margin_amount,
            low=row.added_margin_low,
            high=row.added_margin_high,
            **made_by(row.uplift_model_version),
        )
    return Customer(
        customer_id=row.customer_id,
        release_id=release_id,
        as_of=row.as_of,
        segment=row.segment,
        behaviour=behaviour,
        churn=churn,
        purchase=purchase,
        lifetime_value=value,
        next_best_action=advice,
        predictions={one.model: OwnModelScore(probability=one.probability, **made_by(one.version)) for one in own},
        features=row.features,
        masked=list(row.masked),
    )


def _for_json(value: Any) -> Value:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return value  # type: ignore[no-any-return]  # the other types of Arrow that the lake has are JSON's own
