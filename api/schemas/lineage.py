"""What an answer rests on."""

from datetime import date, datetime

from pydantic import BaseModel, Field


class ReleasedFile(BaseModel):
    """The file of the release that the answer is read from."""

    path: str = Field(examples=["customers.arrow"])
    sha256: str


class LineageModel(BaseModel):
    """The model that made the answer, and what it takes, where the release has its card."""

    name: str = Field(examples=["churn_classifier"])
    version: str = Field(examples=["3"])
    trained_as_of: date | None = Field(description="Null where the release does not hold the model itself.")
    features: list[str] = Field(examples=[["recency_days", "orders_count"]])


class LineageAsset(BaseModel):
    """An asset that the answer is made of; the first is the one that made it."""

    key: str = Field(examples=["published/fct_orders"])
    upstream: list[str] = Field(examples=[["marts/fct_orders"]])
    snapshot: int | None = Field(
        description="The snapshot of its table in the lake; null where it is none, or was not read for the release."
    )


class AnswerLineage(BaseModel):
    """The way from a release's answer back to its sources: file, model, assets with their snapshots."""

    answer: str = Field(examples=["customer:C0000042:churn"])
    release_id: str = Field(examples=["2026-01-01-0123456789ab"])
    as_of: date
    created_at: datetime
    shop: str
    git_commit: str | None
    file: ReleasedFile
    model: LineageModel | None = Field(description="Null for what no model has made.")
    assets: list[LineageAsset]
    sources: list[str] = Field(
        description="Assets that are made of nothing on record: the shop's sources.", examples=[["source/simulator"]]
    )
