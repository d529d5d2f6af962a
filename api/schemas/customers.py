"""One customer as the release knows them."""

from typing import Literal

from pydantic import BaseModel, Field

from api.schemas.shared import AsOf, CustomerId, FeatureValue, ModelVersion, Probability, ReleaseId


class Prediction(BaseModel):
    """Where a prediction comes from: the version of its model, and the release that it was made for."""

    model_version: ModelVersion
    release_id: ReleaseId
    as_of: AsOf


class ChurnScore(Prediction):
    """The probability that the customer is lost, as it was scored for the release."""

    probability: Probability


class PurchasePropensity(Prediction):
    """The probability of an order in the next 30 days. Who would order anyway has a high one, and needs no e-mail."""

    probability: Probability


class OwnModelScore(Prediction):
    """What one of the shop's own models predicts of the customer."""

    probability: Probability


class BehaviourSegment(Prediction):
    """The customers who buy in the same way as this one."""

    number: int = Field(description="Stays the same when the segments are found anew.", examples=[2])
    name: str = Field(examples=["with coupons, much looking around"])


class LifetimeValue(Prediction):
    """What the customer is expected to bring in the next 365 days, in the shop's currency."""

    amount: float = Field(
        description="Discounted margin; where the shop's costs are not known, discounted revenue.", examples=[84.5]
    )
    expected_orders: float = Field(ge=0, description="Days with an order.", examples=[2.4])
    expected_revenue: float = Field(ge=0, description="Net of cancellations and refunds.", examples=[196.0])
    alive_probability: Probability = Field(description="That the customer has not left.")


class NextBestAction(Prediction):
    """The campaign that would add the most margin for this customer, net of its cost, or `nothing`.

    By uplift and not by propensity: who would order anyway needs no campaign. Amounts are in the shop's currency, with
    a 95 % interval of the mean of customers alike. With `nothing` they are of the best action, which was turned down.
    """

    action: str = Field(examples=["email_spring"])
    reason: Literal["adds_most", "average_pays", "costs_more", "refused_email", "unknown_consent", "no_action"] = Field(
        description="`average_pays`: for whom it adds more is not known. `costs_more`: nothing is expected to pay. "
        "`unknown_consent`: whether the customer wants e-mail is not known. `no_action`: the effect of no campaign is "
        "identified."
    )
    added_margin: float | None = Field(examples=[2.5])
    low: float | None = Field(examples=[0.4])
    high: float | None = Field(examples=[4.6])


class CustomerList(BaseModel):
    """A page of customers, by id. The next page is at the cursor `next`; it is null on the last one."""

    release_id: ReleaseId
    as_of: AsOf
    next: str | None = Field(examples=["WyJjdXN0b21lcnMiLCJDMDAwMDAwMDgiXQ"])
    customer_ids: list[str] = Field(examples=[["C00000008"]])


class Customer(BaseModel):
    """A customer's features, segments and predictions, all as of the same date."""

    customer_id: CustomerId
    release_id: ReleaseId
    as_of: AsOf
    segment: str | None = Field(examples=["champions"], description="By recency, frequency and money.")
    behaviour: BehaviourSegment | None = Field(description="Null without an order.")
    churn: ChurnScore | None = Field(
        description="Null without an order in the 180 days before `as_of`: such a customer has churned already. "
        "Null for everyone while the shop is too young for a model, as are all predictions."
    )
    purchase: PurchasePropensity | None
    lifetime_value: LifetimeValue | None = Field(description="Null without an order.")
    next_best_action: NextBestAction | None = Field(description="Null for a shop without e-mail campaigns, too.")
    predictions: dict[str, OwnModelScore] = Field(
        description="By the name of each of the shop's own models that was asked of the customer."
    )
    features: dict[str, FeatureValue] = Field(examples=[{"recency_days": 12, "orders_count": 7}])
    masked: list[str] = Field(
        [], description="Features that are personal data: null without the scope `pii`.", examples=[["age_years"]]
    )
