"""Days and moments of requests, as the document says: pydantic alone takes a number for seconds since 1970."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}.*")


def written_day(value: Any) -> Any:
    """`value` where it is no text or number, or a text of the form of a day.

    Raises:
        ValueError: it is another text, or a number.
    """
    if isinstance(value, int | float) or (isinstance(value, str) and not _DAY.fullmatch(value)):
        raise ValueError("a day is written as 2026-01-31")
    return value


def written_moment(value: Any) -> Any:
    """Likewise of a moment, whose form but for its beginning is held by pydantic.

    Raises:
        ValueError: it is another text, or a number.
    """
    if isinstance(value, int | float) or (isinstance(value, str) and not _MOMENT.fullmatch(value)):
        raise ValueError("a moment is written as 2026-01-31T12:00:00Z")
    return value


Day = Annotated[date, BeforeValidator(written_day)]
"""A day, as RFC 3339 writes it (`full-date`)."""
Moment = Annotated[AwareDatetime, BeforeValidator(written_moment)]
"""A moment with its offset, as RFC 3339 writes it (`date-time`)."""
