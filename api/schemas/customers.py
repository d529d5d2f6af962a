"""One customer as the release knows them."""

from datetime import date

from pydantic import BaseModel, Field

FeatureValue = bool | int | float | str | None


class Prediction(BaseModel):
    """Where a prediction comes from: the version of its model, and the release that it was made for."""

    model_version: str
    release_id: str
    as_of: date


class ChurnScore(Prediction):
    """The probability that the customer is lost, as it was scored for the release."""

    probability: float = Field(ge=0, le=1)


class PurchasePropensity(Prediction):
    """The probability of an order in the next 30 days. Who would order anyway has a high one, and needs no e-mail."""

    probability: float = Field(ge=0, le=1)


class OwnModelScore(Prediction):
    """What one of the shop's own models predicts of the customer."""

    probability: float = Field(ge=0, le=1)


class BehaviourSegment(Prediction):
    """The customers who buy in the same way as this one."""

    number: int = Field(description="Stays the same when the segments are found anew.")
    name: str = Field(examples=["with coupons, much looking around"])


class LifetimeValue(Prediction):
    """What the customer is expected to bring in the next 365 days, in the shop's currency."""

    amount: float = Field(description="Discounted margin; where the shop's costs are not known, discounted revenue.")
    expected_orders: float = Field(ge=0, description="Days with an order.")
    expected_revenue: float = Field(ge=0, description="Net of cancellations and refunds.")
    alive_probability: float = Field(ge=0, le=1, description="That the customer has not left.")


class Customer(BaseModel):
    """A customer's features, segments and predictions, all as of the same date."""

    customer_id: str = Field(examples=["C0000042"])
    release_id: str = Field(examples=["2026-01-01-0123456789ab"])
    as_of: date
    segment: str | None = Field(examples=["champions"], description="By recency, frequency and money.")
    behaviour: BehaviourSegment | None = Field(description="Null without an order.")
    churn: ChurnScore | None = Field(
        description="Null without an order in the 180 days before `as_of`: such a customer has churned already. "
        "Null for everyone while the shop is too young for a model, as are all predictions."
    )
    purchase: PurchasePropensity | None
    lifetime_value: LifetimeValue | None = Field(description="Null without an order.")
    predictions: dict[str, OwnModelScore] = Field(
        description="By the name of each of the shop's own models that was asked of the customer."
    )
    features: dict[str, FeatureValue] = Field(examples=[{"recency_days": 12, "orders_count": 7}])
