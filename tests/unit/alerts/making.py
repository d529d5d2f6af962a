"""Signals with defaults: only what a test is about is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cartograph.alerts.messages import Message, Signal, grouped

MOMENT = datetime(2026, 1, 5, 6, 30, tzinfo=UTC)


def make_signal(name: str = "rows_match_mart", *, minute: int = 0, **changes: Any) -> Signal:
    defaults: dict[str, Any] = {
        "subject": "published/fct_orders",
        "name": name,
        "healthy": False,
        "severity": "error",
        "owner": "team:data-platform",
        "run_id": "run-1",
        "text": "expected 100 rows, found 90",
        "at": MOMENT + timedelta(minutes=minute),
    }
    return Signal(**{**defaults, **changes})


def make_message(**changes: Any) -> Message:
    (message,) = grouped([make_signal(**changes)], [])
    return message
