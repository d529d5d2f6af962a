"""Errors as RFC 9457 describes them, the only form in which this service reports one."""

from pydantic import BaseModel, ConfigDict, Field

MEDIA_TYPE = "application/problem+json"


class InvalidPart(BaseModel):
    """One thing that is wrong with a request, and where: a JSON pointer into the body, or a parameter's name."""

    detail: str = Field(examples=["Input should be greater than or equal to 1"])
    pointer: str | None = Field(None, examples=["/lines/0/quantity"])
    parameter: str | None = Field(None, examples=["limit"])


class Problem(BaseModel):
    """What went wrong. `type` is stable and meant for programs; `detail` is for people and names the cure."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:cartograph:problem:unknown-customer",
                "title": "Unknown customer",
                "status": 404,
                "detail": "Release 2026-01-01-0123456789ab has no customer C9999999.",
                "instance": "/v1/customers/C9999999",
                "errors": [],
            }
        }
    )

    type: str = "about:blank"
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    instance: str
    errors: list[InvalidPart] = []
