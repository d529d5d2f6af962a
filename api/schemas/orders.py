"""Orders at the checkout, and what became of them."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from api.schemas.bodies import RequestBody
from api.schemas.moments import Moment
from api.schemas.numbers import MOST_AMOUNT, Amount, Price
from api.schemas.shared import AsOf, ModelVersion, OrderId, Probability, ReleaseId

NOT_BLANK = r"\S"
Token = Annotated[str, Field(min_length=1, max_length=256, pattern=NOT_BLANK)]
Id = Annotated[str, Field(min_length=1, max_length=128, pattern=NOT_BLANK)]


class OrderedLine(RequestBody):
    """A line of the order."""

    product_id: Id = Field(examples=["P00000042"])
    quantity: int = Field(ge=1, le=100_000, examples=[2])
    unit_price: Price = Field(examples=[64.95])
    category: Id | None = Field(
        None,
        description="Of a product that is newer than the release; that of another is known, and this is not looked at.",
        examples=["shoes"],
    )


class CustomerOnFile(RequestBody):
    """What the shop has on file of the customer, where it is newer than the release; else it is known."""

    registered_at: Moment | None = Field(None, examples=["2026-01-02T09:58:00Z"])
    address_token: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{16}$",
        description="The first 16 digits of the SHA-256, in hexadecimal, of `address:street|postal_code|city|country`.",
        examples=["9f86d081884c7d65"],
    )
    city: Annotated[str, Field(max_length=256)] | None = Field(None, examples=["Graz"])
    country: Annotated[str, Field(max_length=256)] | None = Field(None, examples=["AT"])


class OrderAtCheckout(RequestBody):
    """An order that is about to be placed. Tokens are those of the shop's dataset `payments`; no feature needs more."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "order_id": "O00004711",
                    "placed_at": "2026-01-02T10:15:30Z",
                    "customer_id": "C00000008",
                    "lines": [{"product_id": "P00000042", "quantity": 2, "unit_price": 64.95}],
                    "discount_amount": 5.0,
                    "shipping_amount": 4.9,
                    "card": "card_5f2a",
                    "device": "dev_81c0",
                    "network": "203.0.113.7",
                    "ship_city": "Graz",
                    "ship_country": "AT",
                    "customer": {"registered_at": "2026-01-02T09:58:00Z", "city": "Graz", "country": "AT"},
                }
            ]
        }
    )

    order_id: Id
    placed_at: Moment = Field(
        description="Its moment: at or after the release's `as_of`, and at most a day ahead of the service's clock."
    )
    customer_id: Id | None = Field(None, description="Null for a guest.")
    lines: list[OrderedLine] = Field(
        min_length=1, max_length=500, description=f"They come to at most {MOST_AMOUNT:,} together."
    )
    discount_amount: Amount = Field(Decimal(0), description="Of all lines.", json_schema_extra={"default": 0})
    shipping_amount: Amount = Field(Decimal(0), json_schema_extra={"default": 0})
    card: Token | None = Field(None, description="Fingerprint of the card of the first attempt; null if not by card.")
    device: Token | None = Field(None, description="The device's id.")
    network: Token | None = Field(None, description="The internet address, as the shop writes it.")
    ship_city: Annotated[str, Field(max_length=256)] | None = None
    ship_country: Annotated[str, Field(max_length=256)] | None = None
    customer: CustomerOnFile | None = None

    @field_validator("lines")
    @classmethod
    def _comes_to_an_amount(cls, lines: list[OrderedLine]) -> list[OrderedLine]:
        if sum((line.quantity * line.unit_price for line in lines), Decimal(0)) > MOST_AMOUNT:
            raise ValueError(f"they come to more than {MOST_AMOUNT:,}")
        return lines


class Instrument(BaseModel):
    """Who else was seen with what the order shows."""

    others: int = Field(description="Other customers who had ordered with it before.", examples=[1])
    orders_24h: int = Field(description="Orders of anybody with it in the 24 hours before.", examples=[2])
    is_new: bool | None = Field(
        None, description="Whether the customer has not ordered with it before.", examples=[True]
    )


class OrderJudgement(BaseModel):
    """The probability that the order will be charged back, what to do, why, and what said so."""

    order_id: OrderId
    attempt: int = Field(
        ge=1,
        description="Which of the different bodies of this `order_id` it is; the same body has the same number.",
        examples=[1],
    )
    probability: Probability
    decision: Literal["review", "accept"] = Field(
        description="`review` where the probability times the order's amount is above the cost of a review."
    )
    rules: list[str] = Field(
        description="The rules of thumb that it breaks, for people: the model decides.", examples=[["velocity"]]
    )
    instruments: dict[str, Instrument] = Field(description="Card, device, network and address, as far as known.")
    features: dict[str, float | int | None] = Field(
        description="All that is known of it; docs/features.md says what.",
        examples=[{"orders_before": 4, "card_others": 1, "total_amount": 129.8}],
    )
    model_version: ModelVersion
    release_id: ReleaseId
    as_of: AsOf


class OrderOutcome(RequestBody):
    """What became of an order: a payment was declined, or the bank charged it back."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"outcome": "charged_back", "at": "2026-01-20T08:00:00Z", "customer_id": "C00000008"}]
        }
    )

    outcome: Literal["declined", "charged_back"] = Field(examples=["charged_back"])
    at: Moment = Field(description="At most a day ahead of the service's clock.", examples=["2026-01-20T08:00:00Z"])
    customer_id: Id | None = Field(
        None, description="Whose order, if it was not asked about since `as_of`.", examples=["C00000008"]
    )
    card: Token | None = Field(
        None,
        description="The declined card, if it is another than the order's first; of a guest's chargeback its card.",
        examples=["card_5f2a"],
    )
    device: Token | None = Field(
        None, description="Of a guest's chargeback, the device that the order came from.", examples=["dev_81c0"]
    )


class CountedOutcome(BaseModel):
    """Whether it counts from now on; false where nobody knows whose the order was."""

    order_id: OrderId
    counted: bool = Field(examples=[True])
    release_id: ReleaseId
