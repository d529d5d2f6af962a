"""The release that is served, and the models in it."""

from datetime import date, datetime

from pydantic import BaseModel, Field

from cartograph.releases import CheckOutcome
from cartograph.releases.contents import ModelCard, ShopCard


class Window(BaseModel):
    """The half-open interval of the data that the release was made from."""

    start: datetime
    end: datetime


class Release(BaseModel):
    """What is served and what it was made from, in enough detail to make it again."""

    release_id: str = Field(examples=["2026-01-01-0123456789ab"])
    as_of: date = Field(description="All data lies before this date.")
    created_at: datetime
    window: Window
    shop: ShopCard
    customers: int = Field(description="How many customers can be looked up.")
    models: list[ModelCard] = Field(description="Each with the features that it takes, if any; none for a young shop.")
    snapshots: dict[str, int] = Field(description="Lake table to the snapshot that was read.")
    checks: list[CheckOutcome]
    git_commit: str | None
