"""Predictions from features that the caller gives."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from api.schemas.bodies import RequestBody
from api.schemas.shared import AsOf, Currency, CustomerId, ModelVersion, Probability, ReleaseId

# Any: the release's model declares the features and their types, and holds the values against them itself.
GivenValue = Annotated[Any, WithJsonSchema({"type": ["number", "boolean", "null"]})]


class PredictionRequest(RequestBody):
    """One customer's features: exactly those of the model, which `GET /v1/release` lists with types and ranges."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"features": {"order_days_count": 4, "tenure_days": 300, "recency_days": 20, "spend_amount": 260.5}}
            ]
        }
    )

    features: dict[str, GivenValue] = Field(max_length=1000)


class BatchRequest(RequestBody):
    """The features of up to 1,000 customers or orders: of each feature of the model a list with a value for each."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "features": {
                        "order_days_count": [4, 1],
                        "tenure_days": [300, 9],
                        "recency_days": [20, 9],
                        "spend_amount": [260.5, 12],
                    }
                }
            ]
        }
    )

    features: dict[str, Annotated[list[GivenValue], Field(min_length=1, max_length=1000)]] = Field(max_length=1000)


Method = Annotated[
    Literal["trees", "turns"],
    Field(
        description="`trees`: exact Shapley values of the model's trees (TreeSHAP), of which `base_value` is the mean "
        "over customers, orders or products like those of the release. `turns`: features take their turn from the "
        "value of a typical one, whose prediction is `base_value`, to the given value; Shapley values over all orders "
        "of turns for up to six features, over 64 fixed ones for more."
    ),
]
Unit = Annotated[
    str,
    Field(
        description="`log_odds` of a probability p: ln(p / (1 - p)); of a segment `squared_deviations`: squares of "
        "standard deviations, summed over behaviours; of demand `log_units`: the logarithm of the units expected on a "
        "day. Else the shop's currency.",
        examples=["log_odds"],
    ),
]


class Contribution(BaseModel):
    """By how much one feature, at this value, moves the prediction up or down."""

    feature: str = Field(examples=["recency_days"])
    value: float | None = Field(examples=[12])
    contribution: float = Field(examples=[-0.83])


class Explanation(BaseModel):
    """Why: `base_value` and all contributions add up to `prediction`. They say what the model does, not what causes.

    `prediction` is the answer's in `unit`, within rounding: 1e-5 of the probability.
    """

    method: Method
    unit: Unit
    base_value: float = Field(examples=[-1.2])
    prediction: float = Field(examples=[-0.53])
    contributions: list[Contribution] = Field(description="Of all features of the model, the strongest first.")


class BatchExplanation(BaseModel):
    """As `Explanation`, with an entry of each list for each row of the request."""

    method: Method
    unit: Unit
    base_value: float = Field(examples=[-1.2])
    predictions: list[float] = Field(examples=[[-0.53, 0.31]])
    contributions: dict[str, list[float]] = Field(
        description="By feature.", examples=[{"recency_days": [-0.83, 0.11], "orders_count": [-0.2, 0.4]}]
    )


class MadeBy(BaseModel):
    """What an answer was made by."""

    model_version: ModelVersion
    release_id: ReleaseId
    as_of: AsOf


class ExplainedOnRequest(MadeBy):
    """An answer that is explained where the request says `explain=true`."""

    explanation: Explanation | None = Field(None, description="Left out unless asked for.")


class ChurnPrediction(ExplainedOnRequest):
    """The probability that a customer with these features is lost, and what said so."""

    probability: Probability


class PropensityPrediction(ExplainedOnRequest):
    """The probability that a customer with these features orders in the next 30 days, and what said so."""

    probability: Probability


class OrderFraudPrediction(ExplainedOnRequest):
    """The probability that an order with these features will be charged back, what to do, and what said so."""

    probability: Probability
    decision: Literal["review", "accept"] = Field(
        description="`review` where the probability times the order's amount is above the cost of a review."
    )


class OwnPrediction(ExplainedOnRequest):
    """The probability of what one of the shop's own models predicts, and what said so."""

    model: str = Field(examples=["refund_soon"])
    probability: Probability


class LifetimeValuePrediction(ExplainedOnRequest):
    """What a customer with these features is expected to bring in the 365 days from `as_of`, and what said so."""

    amount: float = Field(
        description="Discounted margin; where the shop's costs are not known, discounted revenue.", examples=[84.5]
    )
    expected_orders: float = Field(ge=0, description="Days with an order.", examples=[2.4])
    expected_revenue: float = Field(description="Net of cancellations and refunds.", examples=[196.0])
    alive_probability: Probability = Field(description="That the customer has not left.")
    currency: Currency


class BatchPrediction(MadeBy):
    """A probability for each row of the request, in its order."""

    model: str = Field(examples=["churn"])
    probabilities: list[float] = Field(examples=[[0.37, 0.81]])
    explanation: BatchExplanation | None = Field(None, description="Left out unless asked for.")


class LifetimeValueBatch(MadeBy):
    """As `LifetimeValuePrediction`, with an entry of each list for each row of the request."""

    amounts: list[float] = Field(examples=[[84.5, 12.0]])
    expected_orders: list[float] = Field(examples=[[2.4, 0.3]])
    expected_revenues: list[float] = Field(examples=[[196.0, 27.5]])
    alive_probabilities: list[float] = Field(examples=[[0.91, 0.22]])
    currency: Currency
    explanation: BatchExplanation | None = Field(None, description="Left out unless asked for.")


class CustomerExplanation(MadeBy):
    """Why a released customer has the prediction that `GET /v1/customers/{customer_id}` shows."""

    customer_id: CustomerId
    model: str = Field(examples=["churn"])
    score: float = Field(
        description="A probability; of `lifetime_value` and `next_best_action` the amount; of `behaviour` by how much "
        "the customer is nearer to their segment than to the next one.",
        examples=[0.37],
    )
    explanation: Explanation
    masked: list[str] = Field(
        [],
        description="Features whose `value` is personal data: null without the scope `pii`. Contributions are not.",
        examples=[["age_years"]],
    )
