"""The figures that a shop is steered by, for a range of days."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, Field

from api.schemas.shared import AsOf, ReleaseId


class KpiSummary(BaseModel):
    """A figure, and what it can be split by."""

    name: str = Field(examples=["net_revenue"])
    description: str = Field(examples=["Revenue of orders less cancellations and refunds."])
    unit: str = Field(description="The shop's currency, `count` or `ratio`.", examples=["EUR"])
    dimensions: list[str] = Field(examples=[["country", "channel", "device", "segment"]])


class KpiList(BaseModel):
    """The figures of the release, and the days that they are known of."""

    release_id: ReleaseId
    as_of: AsOf
    first: date = Field(examples=["2023-01-01"])
    last: date = Field(examples=["2025-12-31"])
    kpis: list[KpiSummary]


class KpiFigure(BaseModel):
    """The figure of a period. Weeks begin on Monday; periods at the ends of the range are cut by it."""

    first: date = Field(examples=["2025-12-01"])
    last: date = Field(examples=["2025-12-31"])
    value: str | None = Field(description="The value of the dimension; null without one.", examples=["DE"])
    figure: float | int | None = Field(
        description="Null for a ratio of nothing, as the order value of a day without an order.", examples=[1234.5]
    )


class KpiFigures(BaseModel):
    """A page of a figure, by period and value. The next page is at the cursor `next`; it is null on the last one."""

    name: str = Field(examples=["net_revenue"])
    unit: str = Field(examples=["EUR"])
    release_id: ReleaseId
    as_of: AsOf
    first: date = Field(examples=["2025-12-01"])
    last: date = Field(examples=["2025-12-31"])
    grain: Literal["day", "week", "month", "total"]
    by: str | None = Field(examples=["country"])
    next: str | None = Field(examples=["WyJuZXRfcmV2ZW51ZSBieSBjb3VudHJ5IGFuZCBkYXkiLCIyMDI1LTEyLTAxIiwiREUiXQ"])
    figures: list[KpiFigure]
