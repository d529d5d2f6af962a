"""The stored releases, for who runs the service."""

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, Field


class StoredRelease(BaseModel):
    """A release in the store. `state` is that of it in the worker process that answers.

    `served`: it answers; `loaded`: it is verified and in memory; `refused`: it will not be served until its files
    change, and `problem` says why; `stored`: it was not looked at yet.
    """

    release_id: str = Field(examples=["2026-01-01-0123456789ab"])
    state: Literal["served", "loaded", "refused", "stored"]
    is_current: bool = Field(description="The pointer of the store is at it.")
    as_of: date | None = Field(description="Null where its manifest cannot be read.")
    created_at: datetime | None
    size_bytes: int | None = Field(examples=[20_480_000])
    signed_by: str | None = Field(
        description="The id of the key that its signature names.", examples=["0123456789abcdef"]
    )
    problem: str | None
    refused_at: datetime | None


class StoredReleases(BaseModel):
    """All releases of the store, the newest first. `release_id` is the one that is served; null where none is."""

    release_id: str | None = Field(examples=["2026-01-01-0123456789ab"])
    problem: str | None = Field(description="Why the current release is not served, where that is so.")
    releases: list[StoredRelease]


class Served(BaseModel):
    """What is current and served now, and what was served before."""

    release_id: str = Field(examples=["2026-01-01-0123456789ab"])
    as_of: date
    previous_release_id: str | None = Field(examples=["2025-12-01-0123456789ab"])
