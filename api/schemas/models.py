"""The models behind a release."""

from typing import Any

from pydantic import BaseModel, Field

from api.schemas.shared import AsOf, ModelVersion, ReleaseId


class ReleasedVersion(BaseModel):
    """A model of the release. One that an older Cartograph released has no card."""

    name: str = Field(examples=["churn_classifier"])
    version: str = Field(examples=["3"])
    has_card: bool = Field(description="Whether `GET /v1/models/{name}/card` has an answer.", examples=[True])


class ReleasedModels(BaseModel):
    """The models of the release; none for a young shop."""

    release_id: ReleaseId
    as_of: AsOf
    models: list[ReleasedVersion]


class ModelInput(BaseModel):
    """What a model takes as `features`, as a JSON schema that any validator of draft 2020-12 reads."""

    release_id: ReleaseId
    model: str = Field(examples=["churn_classifier"])
    model_version: ModelVersion
    input_schema: dict[str, Any] = Field(
        examples=[
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": "Features of churn_classifier, version 3",
                "type": "object",
                "properties": {"orders_count": {"type": "integer", "description": "Orders so far.", "minimum": 0}},
                "required": ["orders_count"],
                "additionalProperties": False,
            }
        ]
    )
