"""Predictions from features that the caller gives."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

# Any: the release's model declares the features and their types, and holds the values against them itself.
GivenValue = Annotated[Any, WithJsonSchema({"type": ["number", "boolean", "null"]})]


class PredictionRequest(BaseModel):
    """One customer's features: exactly those of the model, which `GET /v1/release` lists with types and ranges."""

    model_config = ConfigDict(extra="forbid")

    features: dict[str, GivenValue] = Field(
        max_length=1000, examples=[{"recency_days": 12, "orders_count": 7, "mean_gap_days": 31.5}]
    )


class ChurnPrediction(BaseModel):
    """The probability that a customer with these features is lost, and what said so."""

    probability: float = Field(ge=0, le=1, examples=[0.37])
    model_version: str = Field(examples=["3"])
    release_id: str = Field(examples=["2026-01-01-0123456789ab"])
    as_of: date


class OwnPrediction(BaseModel):
    """The probability of what one of the shop's own models predicts, and what said so."""

    model: str = Field(examples=["second_order"])
    probability: float = Field(ge=0, le=1, examples=[0.37])
    model_version: str = Field(examples=["3"])
    release_id: str = Field(examples=["2026-01-01-0123456789ab"])
    as_of: date


class OrderRiskRequest(BaseModel):
    """One order's features: exactly those of the model, which `GET /v1/release` lists with types and ranges."""

    model_config = ConfigDict(extra="forbid")

    features: dict[str, GivenValue] = Field(
        max_length=1000, examples=[{"total_amount": 129.9, "card_others": 2, "is_first_order": 1}]
    )


class OrderRisk(BaseModel):
    """The probability that an order with these features will be charged back, what to do, and what said so."""

    probability: float = Field(ge=0, le=1, examples=[0.37])
    decision: Literal["review", "accept"] = Field(
        description="`review` where the probability times the order's amount is above the cost of a review."
    )
    model_version: str = Field(examples=["3"])
    release_id: str = Field(examples=["2026-01-01-0123456789ab"])
    as_of: date
