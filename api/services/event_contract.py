"""Holds events that came over HTTP against the contract of `raw/events`: by the code by which the lake holds them.

What a JSON value must be before a column can hold it is said here; all else (values, rules, lateness, the shop's
dates) is `ecom_assets.contracts`. No HTTP, no files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa

from cartograph.contracts import ARROW_TYPES, Column
from cartograph.events import Event
from cartograph.windows import Window
from ecom_assets.contracts.validation import validate
from ecom_assets.contracts.web import EVENTS

MOST_CHARACTERS = 256
"""Of one value: ids and names of things, no texts."""
_SHOWN = 5
_EACH = EVENTS.model_copy(update={"key": ()})
_COLUMNS = {column.name: column for column in EVENTS.columns}
_OCCURRED, _RECEIVED = str(EVENTS.event_time), str(EVENTS.received_time)


class Verdict(NamedTuple):
    """What became of one event: as it is to be stored, or why it is refused, as a slug and in words."""

    event: Event | None
    reason: str = ""
    detail: str = ""


class _RefusedError(ValueError):
    """An event has a value that no column can hold."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def hold(
    given: Sequence[Mapping[str, object]], *, now: datetime, shop_window: Window, late_limit: timedelta
) -> list[Verdict]:
    """The verdict on each of the events by itself, in their order.

    An event without `received_at` was received `now`. That one repeats the id of another is not looked at.

    Args:
        given: JSON objects, as a client sends them.
        now: the time of receiving, aware.
        shop_window: all of the shop's time.
        late_limit: an event that was received so long after it happened is refused.
    """
    verdicts: list[Verdict] = []
    rows: dict[int, dict[str, str | datetime]] = {}
    for number, one in enumerate(given):
        try:
            rows[number] = _row(one, now)
            verdicts.append(Verdict(_stored(rows[number])))
        except _RefusedError as refused:
            verdicts.append(Verdict(None, refused.reason, str(refused)))
    if rows:
        found = validate(
            _table(rows),
            _EACH,
            window=shop_window,
            shop_window=shop_window,
            known_keys={},
            late_limit=late_limit,
        ).quarantined
        columns = (found[name].to_pylist() for name in ("_source", "reason", "message"))
        for number, reason, message in zip(*columns, strict=True):
            verdicts[int(number)] = Verdict(None, reason, message)
    return verdicts


def is_text(value: str) -> bool:
    """Whether a text can be a value: neither blank nor long, and without control characters or half of one."""
    return bool(value.strip()) and len(value) <= MOST_CHARACTERS and value.isprintable()


def _row(one: Mapping[str, object], now: datetime) -> dict[str, str | datetime]:
    """The columns of an event that have a value; raises _RefusedError."""
    unknown = [name for name in one if name not in _COLUMNS]
    if unknown:
        shown = ", ".join(ascii(name)[:MOST_CHARACTERS] for name in unknown[:_SHOWN])
        raise _RefusedError("unknown_field", f"an event has no {shown}; it has {', '.join(_COLUMNS)}")
    row = {name: _value(_COLUMNS[name], value) for name, value in one.items() if value is not None}
    received = row.setdefault(_RECEIVED, now)
    if isinstance(received, datetime) and received > now:
        raise _RefusedError("received_later", f"{_RECEIVED} is later than now, {now.isoformat()}; leave it out")
    return row


def _value(column: Column, value: Any) -> str | datetime:
    if not isinstance(value, str):
        raise _RefusedError(f"wrong_type:{column.name}", f"{column.name} must be a text")
    if not is_text(value):
        raise _RefusedError(
            f"wrong_text:{column.name}",
            f"{column.name} must have 1 to {MOST_CHARACTERS} printable characters, not blanks alone; "
            "leave out what is empty",
        )
    if column.type != "timestamp":
        return value
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise _RefusedError(
        f"wrong_type:{column.name}",
        f"{column.name} must be a time with its offset from UTC, as 2026-01-31T09:30:00Z",
    )


def _stored(row: dict[str, str | datetime]) -> Event:
    return {name: value if isinstance(value, str) else value.isoformat() for name, value in row.items()}


def _table(rows: dict[int, dict[str, str | datetime]]) -> pa.Table:
    """The rows in the contract's types; `_source` tells which of the given events each is."""
    columns = {
        name: pa.array([row.get(name) for row in rows.values()], ARROW_TYPES[column.type])
        for name, column in _COLUMNS.items()
    }
    return pa.table({**columns, "_source": pa.array(map(str, rows), pa.string())})
