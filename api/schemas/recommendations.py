"""Recommended products: of a customer, of a product, of a session."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from api.schemas.bodies import RequestBody
from api.schemas.numbers import WholeNumber
from cartograph.releases.contents import LISTED

ProductId = Annotated[str, Field(min_length=1, max_length=128)]
Source = Literal["history", "category", "popularity"]
BasketSource = Literal["basket", "history", "category", "popularity"]


class Answer(BaseModel):
    """What made the lists."""

    model_version: str = Field(examples=["3"])
    release_id: str = Field(examples=["2026-01-01-0123456789ab"])
    as_of: date


class ListedProduct(BaseModel):
    """A product in a list; scores are to be compared within the list only."""

    rank: int = Field(ge=1)
    product_id: str = Field(examples=["P000042"])
    score: float


class RecommendedProduct(ListedProduct):
    """A recommended product, and what speaks for it."""

    source: Source = Field(
        description="What speaks for it: products of the customer or session, a category of theirs, all purchases."
    )
    because_product_id: str | None = Field(description="The product that spoke most; null where the source is another.")


class CustomerRecommendations(Answer):
    """The products that suit a customer best."""

    customer_id: str = Field(examples=["C0000042"])
    recommendations: list[RecommendedProduct]


class SimilarProduct(ListedProduct):
    """A similar product, and what speaks for it."""

    source: Source


class SimilarProducts(Answer):
    """What goes with a product."""

    product_id: str = Field(examples=["P000042"])
    is_available: bool = Field(description="Whether the shop sells it still.")
    similar: list[SimilarProduct] = Field(description="What its purchase leads to.")
    bought_together: list[ListedProduct] = Field(description="What often stands in the same order; may be empty.")


_SAYS_WHO: list[JsonValue] = [
    {"required": ["products"]},
    {"required": ["visitor_id"], "properties": {"visitor_id": {"type": "string"}}},
]


class SessionRequest(RequestBody):
    """What somebody has just seen, the latest last. Of a stranger it is empty.

    With `visitor_id`, what the events say that the visitor saw in the latest session comes before `products`, which may
    then be left out.
    """

    model_config = ConfigDict(json_schema_extra={"anyOf": _SAYS_WHO})

    products: list[ProductId] = Field([], max_length=100, examples=[["P000042", "P000007"]])
    visitor_id: str | None = Field(None, min_length=1, max_length=128, examples=["V0000042"])
    limit: WholeNumber = Field(10, ge=1, le=LISTED)

    @model_validator(mode="after")
    def _says_who(self) -> Self:
        if self.visitor_id is None and "products" not in self.model_fields_set:
            raise PydanticCustomError("nobody", "give products, visitor_id or both")
        return self


_UNKNOWN = Field(description="Those of `products` that the release does not know; they were passed over.")


class BasketRequest(RequestBody):
    """What is in a basket, in whatever order."""

    products: list[ProductId] = Field(min_length=1, max_length=100, examples=[["P000042", "P000007"]])
    limit: WholeNumber = Field(10, ge=1, le=LISTED)


class BasketProduct(ListedProduct):
    """A product that goes with a basket, and what speaks for it."""

    source: BasketSource = Field(description="`basket`: often in one order with it; else as in a session.")
    because_product_id: str | None = Field(description="The product that spoke most; null where none did.")


class BasketRecommendations(Answer):
    """The products that go with a basket, without those that are in it."""

    recommendations: list[BasketProduct]
    unknown_products: list[str] = _UNKNOWN


class SessionRecommendations(Answer):
    """The products that suit a session best, without those that were just seen."""

    recommendations: list[RecommendedProduct]
    unknown_products: list[str] = _UNKNOWN
