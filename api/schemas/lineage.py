"""What an answer rests on."""

from datetime import date

from pydantic import BaseModel, Field

from api.schemas.shared import AsOf, Created, GitCommit, ReleaseId


class ReleasedFile(BaseModel):
    """The file of the release that the answer is read from."""

    path: str = Field(examples=["customers.arrow"])
    sha256: str = Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])


class LineageModel(BaseModel):
    """The model that made the answer, and what it takes, where the release has its card."""

    name: str = Field(examples=["churn_classifier"])
    version: str = Field(examples=["3"])
    trained_as_of: date | None = Field(
        description="Null where the release does not hold the model itself.", examples=["2025-12-01"]
    )
    features: list[str] = Field(examples=[["recency_days", "orders_count"]])


class LineageAsset(BaseModel):
    """An asset that the answer is made of; the first is the one that made it."""

    key: str = Field(examples=["published/fct_orders"])
    upstream: list[str] = Field(examples=[["marts/fct_orders"]])
    snapshot: int | None = Field(
        description="The snapshot of its table in the lake; null where it is none, or was not read for the release.",
        examples=[4_821_937_465_012_837_465],
    )


class AnswerLineage(BaseModel):
    """The way from a release's answer back to its sources: file, model, assets with their snapshots."""

    answer: str = Field(examples=["customer:C00000008:churn"])
    release_id: ReleaseId
    as_of: AsOf
    created_at: Created
    shop: str = Field(examples=["simulated"])
    git_commit: GitCommit | None
    file: ReleasedFile
    model: LineageModel | None = Field(description="Null for what no model has made.")
    assets: list[LineageAsset]
    sources: list[str] = Field(
        description="Assets that are made of nothing on record: the shop's sources.", examples=[["source/simulator"]]
    )
