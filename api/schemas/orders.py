"""Orders at the checkout, and what became of them."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.schemas.bodies import RequestBody
from api.schemas.moments import Moment
from api.schemas.numbers import Amount, Price

Token = Annotated[str, Field(min_length=1, max_length=256)]
Id = Annotated[str, Field(min_length=1, max_length=128)]


class OrderedLine(RequestBody):
    """A line of the order."""

    product_id: Id = Field(examples=["P000042"])
    quantity: int = Field(ge=1, le=100_000, examples=[2])
    unit_price: Price = Field(examples=[64.95])
    category: Id | None = Field(None, description="Of a product that is newer than the release; else it is known.")


class CustomerOnFile(RequestBody):
    """What the shop has on file of the customer, where it is newer than the release; else it is known."""

    registered_at: Moment | None = None
    address_token: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{16}$",
        description="The first 16 digits of the SHA-256, in hexadecimal, of `address:street|postal_code|city|country`.",
        examples=["9f86d081884c7d65"],
    )
    city: Annotated[str, Field(max_length=256)] | None = None
    country: Annotated[str, Field(max_length=256)] | None = None


class OrderAtCheckout(RequestBody):
    """An order that is about to be placed. Tokens are those of the shop's dataset `payments`; no feature needs more."""

    order_id: Id = Field(examples=["O0004711"])
    placed_at: Moment = Field(
        description="Its moment: at or after the release's `as_of`, and at most a day ahead of the service's clock.",
        examples=["2026-01-02T10:15:30Z"],
    )
    customer_id: Id | None = Field(None, description="Null for a guest.", examples=["C0000042"])
    lines: list[OrderedLine] = Field(min_length=1, max_length=500)
    discount_amount: Amount = Field(Decimal(0), description="Of all lines.", examples=[5.0])
    shipping_amount: Amount = Field(Decimal(0), examples=[4.9])
    card: Token | None = Field(
        None, description="Fingerprint of the card of the first attempt; null if not by card.", examples=["card_5f2a"]
    )
    device: Token | None = Field(None, description="The device's id.", examples=["dev_81c0"])
    network: Token | None = Field(None, description="The internet address, as the shop writes it.")
    ship_city: Annotated[str, Field(max_length=256)] | None = Field(None, examples=["Graz"])
    ship_country: Annotated[str, Field(max_length=256)] | None = Field(None, examples=["AT"])
    customer: CustomerOnFile | None = None


class Instrument(BaseModel):
    """Who else was seen with what the order shows."""

    others: int = Field(description="Other customers who had ordered with it before.")
    orders_24h: int = Field(description="Orders of anybody with it in the 24 hours before.")
    is_new: bool | None = Field(None, description="Whether the customer has not ordered with it before.")


class OrderJudgement(BaseModel):
    """The probability that the order will be charged back, what to do, why, and what said so."""

    order_id: str
    probability: float = Field(ge=0, le=1, examples=[0.37])
    decision: Literal["review", "accept"] = Field(
        description="`review` where the probability times the order's amount is above the cost of a review."
    )
    rules: list[str] = Field(
        description="The rules of thumb that it breaks, for people: the model decides.", examples=[["velocity"]]
    )
    instruments: dict[str, Instrument] = Field(description="Card, device, network and address, as far as known.")
    features: dict[str, float | int | None] = Field(description="All that is known of it; docs/features.md says what.")
    model_version: str = Field(examples=["3"])
    release_id: str = Field(examples=["2026-01-01-0123456789ab"])
    as_of: date


class OrderOutcome(RequestBody):
    """What became of an order: a payment was declined, or the bank charged it back."""

    outcome: Literal["declined", "charged_back"] = Field(examples=["charged_back"])
    at: Moment = Field(description="At most a day ahead of the service's clock.", examples=["2026-01-20T08:00:00Z"])
    customer_id: Id | None = Field(None, description="Whose order, if it was not asked about since `as_of`.")
    card: Token | None = Field(
        None,
        description="The declined card, if it is another than the order's first; of a guest's chargeback its card.",
    )
    device: Token | None = Field(None, description="Of a guest's chargeback, the device that the order came from.")


class CountedOutcome(BaseModel):
    """Whether it counts from now on; false where nobody knows whose the order was."""

    order_id: str
    counted: bool
    release_id: str = Field(examples=["2026-01-01-0123456789ab"])
