"""Factories for tests of the event log: an event as a client sends it, and as the log keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cartograph.events import Event, SegmentWriter

START = datetime(2024, 1, 1, tzinfo=UTC)


def make_event(event_id: str, day: float = 1, **changes: str | None) -> dict[str, Any]:
    """A page view so many days after the shop's start, received a second later; None leaves a field out."""
    at = START + timedelta(days=day)
    fields: dict[str, str | None] = {
        "event_id": event_id,
        "occurred_at": at.isoformat(),
        "received_at": (at + timedelta(seconds=1)).isoformat(),
        "event_type": "page_view",
        "visitor_id": "v_17",
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def append(folder: Path, *events: Event | Sequence[Event], at: datetime = START) -> SegmentWriter:
    """A writer that has appended the events."""
    writer = SegmentWriter(folder)
    for event in events:
        writer.append(event if isinstance(event, Sequence) else [event], at)
    return writer
