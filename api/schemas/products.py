"""What a product is, what is expected to be asked for of it, and what to order of it."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, Field

from api.schemas.predictions import Explanation, MadeBy
from api.schemas.shared import AsOf, FeatureValue, ModelVersion, ProductId, ReleaseId


class KnownProduct(BaseModel):
    """A product that the shop knows."""

    product_id: ProductId
    category: str | None = Field(examples=["shoes"])
    is_available: bool | None = Field(
        description="Whether the shop sells it still; null where the release has neither a catalogue nor a forecast "
        "that tells it.",
        examples=[True],
    )


class ProductList(BaseModel):
    """A page of products, by id. The next page is at the cursor `next`; it is null on the last one."""

    release_id: ReleaseId
    as_of: AsOf
    next: str | None = Field(examples=["WyJwcm9kdWN0cyIsIlAwMDAwMDA0MiJd"])
    products: list[KnownProduct]


class Product(KnownProduct):
    """A product and its features. What is not sold any more is never recommended."""

    release_id: ReleaseId
    as_of: AsOf = Field(description="The day that the features are of; where there are none, that of the release.")
    in_its_place: list[str] = Field(
        description="Of a product that is not sold any more: products like it that are, the most similar first.",
        examples=[["P00000007"]],
    )
    features: dict[str, FeatureValue] | None = Field(
        description="Also of a product that is not sold any more. Null of one that was never sold nor counted in stock "
        "before `as_of`, and of all in a release that an older Cartograph made.",
        examples=[{"list_price": 59.9, "units_30d": 41, "stock_days": 12.4}],
    )


_Day = Annotated[date, Field(examples=["2026-01-02"])]


class DemandDay(BaseModel):
    """A day ahead, in units; 90 % of such days lie from `low` to `high`."""

    date: _Day
    mean: float = Field(ge=0, examples=[2.7])
    low: float = Field(ge=0, examples=[0])
    p25: float = Field(ge=0, examples=[1.2])
    median: float = Field(ge=0, examples=[2.3])
    p75: float = Field(ge=0, examples=[3.8])
    high: float = Field(ge=0, examples=[6.4])


class DemandForecast(BaseModel):
    """A product's demand on each of the days from `as_of` on."""

    product_id: ProductId
    model_version: ModelVersion
    release_id: ReleaseId
    as_of: AsOf
    days: list[DemandDay]


class DemandExplanation(MadeBy):
    """Why a product is expected to sell what it is in the first seven days from `as_of` on."""

    product_id: ProductId
    units_a_day: float = Field(
        ge=0,
        description="Units expected on a day, their geometric mean: e to the power of `prediction`.",
        examples=[2.6],
    )
    explanation: Explanation


class Advice(BaseModel):
    """What to order of a product now, in units, so that it lasts until what is ordered at the next review arrives."""

    product_id: ProductId
    lead_days: int = Field(description="Days from an order to its delivery.", examples=[5])
    review_days: int = Field(description="Days from one chance to order to the next.", examples=[7])
    service_level: float = Field(
        description="Share of the spans of lead and review time in which nothing shall run out.", examples=[0.95]
    )
    expected_demand: float = Field(description="Over lead and review time.", examples=[34.1])
    reorder_point: float = Field(description="Demand over both at the service level.", examples=[47])
    safety_stock: float = Field(description="The reorder point less the expected demand.", examples=[12.9])
    stock: float = Field(description="By the last count before `as_of`.", examples=[20])
    order_quantity: float = Field(
        description="The reorder point less the stock, at least 0. Take off what is on order already: no dataset "
        "tells of it.",
        examples=[27],
    )


class ReorderAdvice(Advice):
    """The advice for one product, and what it was made from."""

    model_version: ModelVersion
    release_id: ReleaseId
    as_of: AsOf


class ReorderList(BaseModel):
    """A page of advice, by product. The next page is at the cursor `next`; it is null on the last one."""

    model_version: ModelVersion
    release_id: ReleaseId
    as_of: AsOf
    next: str | None = Field(examples=["WyJyZW9yZGVyLWFkdmljZSIsIlAwMDAwMDA0MiJd"])
    advice: list[Advice]
