"""One customer as the release knows them."""

from datetime import date

from pydantic import BaseModel, Field

FeatureValue = bool | int | float | str | None


class ChurnScore(BaseModel):
    """The probability that the customer is lost, as it was scored for the release."""

    probability: float = Field(ge=0, le=1)
    model_version: str
    release_id: str
    as_of: date


class Customer(BaseModel):
    """A customer's features, segment and churn score, all as of the same date."""

    customer_id: str = Field(examples=["C0000042"])
    release_id: str = Field(examples=["2026-01-01-0123456789ab"])
    as_of: date
    segment: str | None = Field(examples=["champions"])
    churn: ChurnScore | None = Field(
        description="Null without an order in the 180 days before `as_of`: such a customer has churned already. "
        "Null for everyone while the shop is too young for a model."
    )
    features: dict[str, FeatureValue] = Field(examples=[{"recency_days": 12, "orders_count": 7}])
