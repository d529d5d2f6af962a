"""The release that is served, and the models in it."""

from datetime import datetime

from pydantic import BaseModel, Field

from api.schemas.shared import AsOf, Created, GitCommit, ReleaseId
from cartograph.releases import CheckOutcome
from cartograph.releases.contents.base import ShopCard
from cartograph.releases.contents.models import ModelCard


class Window(BaseModel):
    """The half-open interval of the data that the release was made from."""

    start: datetime = Field(examples=["2023-01-01T00:00:00Z"])
    end: datetime = Field(examples=["2026-01-01T00:00:00Z"])


class Release(BaseModel):
    """What is served and what it was made from, in enough detail to make it again."""

    release_id: ReleaseId
    as_of: AsOf = Field(description="All data lies before this date.")
    created_at: Created
    window: Window
    shop: ShopCard
    customers: int = Field(description="How many customers can be looked up.", examples=[20_000])
    models: list[ModelCard] = Field(description="Each with the features that it takes, if any; none for a young shop.")
    snapshots: dict[str, int] = Field(
        description="Lake table to the snapshot that was read.",
        examples=[{"published.fct_orders": 4_821_937_465_012_837_465}],
    )
    checks: list[CheckOutcome]
    git_commit: GitCommit | None
