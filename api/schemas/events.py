"""Events as a client sends them, and what became of each."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, WithJsonSchema

from api.schemas.bodies import RequestBody
from ecom_assets.contracts.web import EVENTS

MOST_EVENTS = 1000
EXAMPLE: dict[str, JsonValue] = {
    "event_id": "5f0c1d2e-8a4b-4c1e-9a57-0f6a1b7c9d10",
    "occurred_at": "2025-12-31T09:30:00Z",
    "received_at": "2025-12-31T09:30:01Z",
    "event_type": "product_view",
    "visitor_id": "v_1f3870be274f6c49",
    "customer_id": "C00000008",
    "device": "mobile",
    "channel": "organic_search",
    "product_id": "P00000042",
}
_SHOWN = {**EXAMPLE, "campaign_id": "email_spring", "order_id": "O00004711"}
# Any object: each is held against the contract by itself, so that a wrong one does not hold back the others.
GivenEvent = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "title": "Event",
            "description": f"{EVENTS.grain} All values are texts; what is unknown is left out. A field that is not "
            "listed, or a value that breaks the contract, has this event refused. `received_at` is for who kept "
            "events back; by default it is the time of the request.",
            "properties": {
                column.name: {
                    "description": column.description
                    + (f" One of {', '.join(column.accepted)}." if column.accepted else "")
                    + ("" if column.nullable or column.name == EVENTS.received_time else " Required."),
                    "examples": [_SHOWN[column.name]],
                }
                for column in EVENTS.columns
            },
            "examples": [EXAMPLE],
        }
    ),
]


class EventsRequest(RequestBody):
    """Events in any order. What was sent before may be sent again: an `event_id` is taken once."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"events": [EXAMPLE]}]})

    events: list[GivenEvent] = Field(min_length=1, max_length=MOST_EVENTS)


class EventOutcome(BaseModel):
    """What became of one event."""

    event_id: str | None = Field(description="As it was sent; null where it had none.", examples=[EXAMPLE["event_id"]])
    status: Literal["accepted", "repeated", "refused"] = Field(
        description="`repeated`: one with this id was taken before, and is kept; send neither again."
    )
    reason: str | None = Field(None, description="Of a refused one: stable, for programs.", examples=["unknown_field"])
    detail: str | None = Field(
        None, description="Of a refused one: what is wrong, in words.", examples=["an event has no 'colour'"]
    )


class EventsTaken(BaseModel):
    """What became of the events: accepted ones are on the disk, and will be in the lake once."""

    accepted: int = Field(ge=0, examples=[1])
    repeated: int = Field(ge=0, examples=[0])
    refused: int = Field(
        ge=0, description="These will not get in as they are; the others need not be sent again.", examples=[0]
    )
    events: list[EventOutcome] = Field(description="One for each event, in the order of the request.")
