"""Answers about the service itself."""

from typing import Literal

from pydantic import BaseModel, Field

from api.schemas.shared import AsOf, ReleaseId

AccessState = Literal["open", "keys", "unknown"]


class Health(BaseModel):
    """The process is alive. Whether it has something to serve is `Readiness`."""

    status: Literal["alive"] = "alive"
    version: str = Field(examples=["0.1.0"])
    access: AccessState = Field(
        description="`open`: everybody at this machine may ask, as no API key was made yet. `unknown`: the keys cannot "
        "be read, and nobody is answered."
    )


class Readiness(BaseModel):
    """A verified release is served. `problem` says why a newer one is not, where that is so."""

    status: Literal["ready"] = "ready"
    release_id: ReleaseId
    as_of: AsOf
    problem: str | None = Field(
        None, examples=["Release 2026-01-02-ba9876543210 cannot be served: its checksum is another"]
    )
