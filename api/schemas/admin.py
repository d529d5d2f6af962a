"""The stored releases, for who runs the service."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from api.schemas.shared import AsOf, Created, ReleaseId


class StoredRelease(BaseModel):
    """A release in the store. `state` is that of it in the worker process that answers.

    `served`: it answers; `loaded`: it is verified and in memory; `refused`: it will not be served until its files
    change, and `problem` says why; `stored`: it was not looked at yet.
    """

    release_id: ReleaseId
    state: Literal["served", "loaded", "refused", "stored"]
    is_current: bool = Field(description="The pointer of the store is at it.", examples=[True])
    as_of: AsOf | None = Field(description="Null where its manifest cannot be read.")
    created_at: Created | None
    size_bytes: int | None = Field(examples=[20_480_000])
    signed_by: str | None = Field(
        description="The id of the key that its signature names.", examples=["0123456789abcdef"]
    )
    problem: str | None = Field(examples=["models/churn_classifier.onnx is damaged: its checksum is another"])
    refused_at: datetime | None = Field(examples=["2026-01-01T04:20:00Z"])


class StoredReleases(BaseModel):
    """All releases of the store, the newest first. `release_id` is the one that is served; null where none is."""

    release_id: ReleaseId | None
    problem: str | None = Field(
        description="Why the current release is not served, where that is so.",
        examples=["models/churn_classifier.onnx is damaged: its checksum is another"],
    )
    releases: list[StoredRelease]


class Served(BaseModel):
    """What is current and served now, and what was served before: of a rollback, the release to go back from.

    Null where the release was served already, or nothing was.
    """

    release_id: ReleaseId
    as_of: AsOf
    previous_release_id: str | None = Field(examples=["2025-12-01-0123456789ab"])
