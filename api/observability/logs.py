"""The service's log on standard error: a line of JSON for each event, with the id of the request that it is about.

An unexpected error is logged by its types and places, without messages and values: these may be somebody's data. On a
laptop's terminal lines are made for people instead, and errors have their messages.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson
import structlog
from structlog.types import EventDict, Processor

from cartograph.settings import Settings

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that is being answered."""
FRAMES = 20
"""Of a traceback, the innermost."""


requests = logging.getLogger("api.requests")


class _RequestLines:
    """Writes the lines of requests itself: `logging` takes 40 microseconds for one, a tenth of a fast answer's time."""

    def __init__(self) -> None:
        self.out: TextIO | None = None

    def tell(self, level: int, about: Mapping[str, Any]) -> None:
        if not requests.isEnabledFor(level):
            return
        if self.out is None:
            requests.log(level, "request", extra=dict(about))
            return
        line = {"event": "request", "timestamp": datetime.now(UTC), "level": logging.getLevelName(level).lower()}
        told = {**line, "logger": requests.name, **about, "request_id": REQUEST_ID.get()}
        self.out.write(orjson.dumps(told, option=orjson.OPT_UTC_Z).decode() + "\n")
        self.out.flush()


_lines = _RequestLines()


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Send what this process logs, by whichever library, to `stream` (standard error), as the settings say."""
    out = stream or sys.stderr
    for_people = settings.env == "local" and out.isatty()
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter(for_people=for_people))
    logging.basicConfig(handlers=[handler], level=settings.log_level, force=True)
    _lines.out = None if for_people else out


def tell_request(level: int, about: Mapping[str, Any]) -> None:
    """Log a request; `about` is what is known of it and may be told."""
    _lines.tell(level, about)


def formatter(*, for_people: bool) -> logging.Formatter:
    """Makes a line of each record."""
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=False)]
        if for_people
        else [_without_messages, structlog.processors.JSONRenderer(_json)]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            _with_request_id,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def places(error: BaseException) -> list[dict[str, Any]]:
    """An error and what caused it: each one's type, and where it came through; never its message."""
    return [
        {
            "type": f"{type(one).__module__}.{type(one).__qualname__}",
            "at": [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(one.__traceback__)[-FRAMES:]
            ],
        }
        for one in _chain(error)
    ]


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _with_request_id(_: Any, __: str, event: EventDict) -> EventDict:
    event.pop("message", None)  # another handler's, and `event` once more
    event.pop("color_message", None)  # uvicorn's own, for a terminal
    request_id = REQUEST_ID.get()
    if request_id is not None:
        event.setdefault("request_id", request_id)
    return event


def _without_messages(_: Any, __: str, event: EventDict) -> EventDict:
    found = event.pop("exc_info", None)
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["error"] = places(error)
    return event


def _json(event: EventDict, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()
