"""Which repairs began and did not end, as somebody killed them: raw rows may be loaded, and the marts not made.

A look at the sources does not see it: the lake has what they deliver by then. So what is to be mended is noted before
the first load, until all that is made of it is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError

from cartograph import durable
from cartograph.settings import Settings
from cartograph.windows import Window

Mended = frozenset[tuple[str, Window]]
"""Datasets, each with a partition that it is loaded again in."""


class _Noted(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    start: AwareDatetime
    end: AwareDatetime


_NOTE = TypeAdapter(tuple[_Noted, ...])


def unfinished(settings: Settings) -> Mended:
    """What was to be mended by repairs that did not end; nothing of a note that cannot be read."""
    try:
        noted = _NOTE.validate_json(_path(settings).read_bytes())
    except (FileNotFoundError, ValidationError):
        return frozenset()
    return frozenset((one.dataset, Window(one.start, one.end)) for one in noted)


def note_begun(settings: Settings, mended: Iterable[tuple[str, Window]]) -> None:
    """Note what a repair is about to mend, in place of what was noted: it mends that, too."""
    _keep(settings, mended)


def note_made(settings: Settings, windows: Collection[Window]) -> None:
    """Note that everything was made anew in the `windows`."""
    before = unfinished(settings)
    if before:
        _keep(settings, (one for one in before if one[1] not in windows))


def _keep(settings: Settings, mended: Iterable[tuple[str, Window]]) -> None:
    noted = [_Noted(dataset=name, start=one.start, end=one.end) for name, one in sorted(mended)]
    if noted:
        durable.replace(_path(settings), _NOTE.dump_json(tuple(noted), indent=2))
    else:
        _path(settings).unlink(missing_ok=True)


def _path(settings: Settings) -> Path:
    return settings.shop_home / "unfinished_repairs.json"
