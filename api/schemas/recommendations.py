"""Recommended products: of a customer, of a product, of a session."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from api.schemas.bodies import RequestBody
from api.schemas.numbers import WholeNumber
from api.schemas.shared import AsOf, CustomerId, ModelVersion, ProductId, ReleaseId
from cartograph.releases.contents.tables import LISTED

_GivenProduct = Annotated[str, Field(min_length=1, max_length=128)]
Source = Literal["history", "category", "popularity"]
BasketSource = Literal["basket", "history", "category", "popularity"]


class Answer(BaseModel):
    """What made the lists."""

    model_version: ModelVersion
    release_id: ReleaseId
    as_of: AsOf


class ListedProduct(BaseModel):
    """A product in a list; scores are to be compared within the list only."""

    rank: int = Field(ge=1, examples=[1])
    product_id: ProductId
    score: float = Field(examples=[0.42])


class RecommendedProduct(ListedProduct):
    """A recommended product, and what speaks for it."""

    source: Source = Field(
        description="What speaks for it: products of the customer or session, a category of theirs, all purchases."
    )
    because_product_id: str | None = Field(
        description="The product that spoke most; null where the source is another.", examples=["P00000007"]
    )


class CustomerRecommendations(Answer):
    """The products that suit a customer best."""

    customer_id: CustomerId
    recommendations: list[RecommendedProduct]


class SimilarProduct(ListedProduct):
    """A similar product, and what speaks for it."""

    source: Source


class SimilarProducts(Answer):
    """What goes with a product."""

    product_id: ProductId
    is_available: bool = Field(description="Whether the shop sells it still.", examples=[True])
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

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": _SAYS_WHO,
            "examples": [{"products": ["P00000042", "P00000007"], "visitor_id": "v_1f3870be274f6c49", "limit": 5}],
        }
    )

    products: list[_GivenProduct] = Field([], max_length=100)
    visitor_id: str | None = Field(None, min_length=1, max_length=128)
    limit: WholeNumber = Field(10, ge=1, le=LISTED)

    @model_validator(mode="after")
    def _says_who(self) -> Self:
        if self.visitor_id is None and "products" not in self.model_fields_set:
            raise PydanticCustomError("nobody", "give products, visitor_id or both")
        return self


_UNKNOWN = Field(
    description="Those of `products` that the release does not know; they were passed over.", examples=[["P00000900"]]
)


class BasketRequest(RequestBody):
    """What is in a basket, in whatever order."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"products": ["P00000042", "P00000007"], "limit": 5}]})

    products: list[_GivenProduct] = Field(min_length=1, max_length=100)
    limit: WholeNumber = Field(10, ge=1, le=LISTED)


class BasketProduct(ListedProduct):
    """A product that goes with a basket, and what speaks for it."""

    source: BasketSource = Field(description="`basket`: often in one order with it; else as in a session.")
    because_product_id: str | None = Field(
        description="The product that spoke most; null where none did.", examples=["P00000007"]
    )


class BasketRecommendations(Answer):
    """The products that go with a basket, without those that are in it."""

    recommendations: list[BasketProduct]
    unknown_products: list[str] = _UNKNOWN


class SessionRecommendations(Answer):
    """The products that suit a session best, without those that were just seen."""

    recommendations: list[RecommendedProduct]
    unknown_products: list[str] = _UNKNOWN
