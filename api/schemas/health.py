"""Answers about the service itself."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, Field


class Health(BaseModel):
    """The process is alive. Whether it has something to serve is `Readiness`."""

    status: Literal["alive"] = "alive"
    version: str = Field(examples=["0.1.0"])


class Readiness(BaseModel):
    """A verified release is served. `problem` says why a newer one is not, where that is so."""

    status: Literal["ready"] = "ready"
    release_id: str = Field(examples=["2026-01-01-0123456789ab"])
    as_of: date
    problem: str | None = None
