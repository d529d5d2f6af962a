"""The models behind a release."""

from datetime import date

from pydantic import BaseModel, Field


class ReleasedVersion(BaseModel):
    """A model of the release. One that an older Cartograph released has no card."""

    name: str
    version: str
    has_card: bool = Field(description="Whether `GET /v1/models/{name}/card` has an answer.")


class ReleasedModels(BaseModel):
    """The models of the release; none for a young shop."""

    release_id: str
    as_of: date
    models: list[ReleasedVersion]
