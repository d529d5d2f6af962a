"""What is searched for while an erasure is under way, kept until nothing of it is found.

The first step takes the values out of the lake, which they are known from: an erasure that was stopped after it would
search for nothing, and call the customer absent. So they lie beside the register, for its owner only, from before the
first step until the last; they are the one file that is not searched.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from cartograph import durable
from cartograph.erasure.register import ErasureError
from cartograph.settings import Settings


class Sought(BaseModel):
    """The values that only the customer had, and those that columns of a name must not hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identifiers: frozenset[str]
    cells: dict[str, frozenset[str]]

    def with_those_of(self, other: Sought) -> Sought:
        """Both together."""
        names = self.cells.keys() | other.cells.keys()
        none = frozenset[str]()
        return Sought(
            identifiers=self.identifiers | other.identifiers,
            cells={name: self.cells.get(name, none) | other.cells.get(name, none) for name in names},
        )


def folder_of(settings: Settings) -> Path:
    """Where they lie; nothing else does."""
    return settings.shop_home / "erasures" / "under_way"


def keep(settings: Settings, pseudonym: str, sought: Sought) -> None:
    """Keep what is searched for, durably, until `drop`."""
    durable.replace(_path(settings, pseudonym), sought.model_dump_json().encode())


def kept(settings: Settings, pseudonym: str) -> Sought | None:
    """What the erasure searches for since it began; None where it is over.

    Raises:
        ErasureError: the file is damaged.
    """
    path = _path(settings, pseudonym)
    if not path.is_file():
        return None
    try:
        return Sought.model_validate_json(path.read_bytes())
    except (ValidationError, OSError):
        raise ErasureError(
            f"{path} is damaged, which says what is searched for: put it back from a backup, or delete it and search "
            "for the customer's addresses and numbers yourself."
        ) from None


def drop(settings: Settings, pseudonym: str) -> None:
    """Forget it: nothing of it is there any more."""
    _path(settings, pseudonym).unlink(missing_ok=True)


def _path(settings: Settings, pseudonym: str) -> Path:
    return folder_of(settings) / f"{pseudonym}.json"
