"""What all JSON bodies of requests keep to. The bodies themselves are with their nouns."""

from pydantic import BaseModel, ConfigDict


class RequestBody(BaseModel):
    """A body, or an object in one: no unknown member, and no value of another type, such as a number in a text.

    Days and moments are texts in JSON: `schemas.moments`.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
