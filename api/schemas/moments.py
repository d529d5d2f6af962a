"""Days and moments of requests, as the document says: pydantic alone takes a number for seconds since 1970."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Strict


def written(form: str, like: str) -> BeforeValidator:
    """Takes what is no text or number, and a text of the `form`, a regular expression; `like` is one, for messages."""

    def require(value: Any) -> Any:
        if isinstance(value, int | float) or (isinstance(value, str) and not re.fullmatch(form, value)):
            raise ValueError(f"it is written as {like}")
        return value

    return BeforeValidator(require)


Day = Annotated[date, Strict(False), written(r"\d{4}-\d{2}-\d{2}", "2026-01-31")]
"""A day, as RFC 3339 writes it (`full-date`)."""
Moment = Annotated[
    AwareDatetime, Strict(False), written(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}.*", "2026-01-31T12:00:00Z")
]
"""A moment with its offset, as RFC 3339 writes it (`date-time`). Its beginning is held here, the rest by pydantic."""
