"""Whether the warehouse holds what no run has said that it made: dbt was called by hand, or a run was killed.

The gate follows bad rows by what runs have recorded (`cartograph.trust.descent`). A note lies beside the warehouse from
before the first write until all that was written is recorded; nothing is published meanwhile. When it is written and
taken away is the business of who calls dbt.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from cartograph import durable
from cartograph.settings import Settings
from cartograph.windows import Window

WRITING = frozenset({"build", "clone", "retry", "run", "run-operation", "seed", "snapshot"})
"""The commands of dbt that write the warehouse."""


class UnrecordedError(RuntimeError):
    """The warehouse holds what no run has recorded. The message says whose it is and how to make it anew."""


class Unrecorded(BaseModel):
    """Who wrote, and between which moments of the shop's time; without them it may be any."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: str
    start: datetime | None = None
    end: datetime | None = None

    def within(self, window: Window | None) -> bool:
        """Whether `window`, None for all of history, has all that was written."""
        if window is None:
            return True
        return self.start is not None and self.end is not None and window.start <= self.start and self.end <= window.end


def begin(settings: Settings, by: str, window: Window | None) -> Unrecorded | None:
    """Note that `by` is about to write `window`, None for all of history; what was noted before and still holds."""
    earlier = found(settings)
    if earlier is not None and not earlier.within(window):
        _write(settings, Unrecorded(by=earlier.by))
    elif window is None:
        _write(settings, Unrecorded(by=by))
    else:
        _write(settings, Unrecorded(by=by, start=window.start, end=window.end))
    return earlier


def end(settings: Settings, earlier: Unrecorded | None, window: Window | None, *, is_all: bool) -> None:
    """Take the note away, as all that was written of `window` is recorded.

    What was noted `earlier` holds on, unless all tables were made again (`is_all`) where it was.
    """
    if earlier is None or (is_all and earlier.within(window)):
        note(settings).unlink(missing_ok=True)
    else:
        _write(settings, earlier)


def found(settings: Settings) -> Unrecorded | None:
    """What is noted; None where all is recorded."""
    try:
        return Unrecorded.model_validate_json(note(settings).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        return Unrecorded(by="somebody")


def require_recorded(settings: Settings) -> None:
    """Raise UnrecordedError where the warehouse holds what no run has recorded."""
    noted = found(settings)
    if noted is not None:
        raise UnrecordedError(
            f"The warehouse was written by {noted.by}, and no run has recorded what: nothing is published of it. "
            "Make its tables anew: `cartograph run`."
        )


def note(settings: Settings) -> Path:
    """Where the note lies."""
    return settings.warehouse_path.with_name(f"{settings.warehouse_path.name}.unrecorded.json")


def _write(settings: Settings, noted: Unrecorded) -> None:
    durable.replace(note(settings), noted.model_dump_json().encode())
