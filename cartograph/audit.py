"""Who did what with rights of their own: a line of JSON for each administrative act, appended and never changed.

What is recorded is decided where it happens: the command line and the API. An entry holds names of keys, commands,
paths and releases, and no data of customers.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict


class Act(BaseModel):
    """One act. `outcome` tells whether it was done, refused to whoever asked, or failed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: AwareDatetime
    actor: str
    action: str
    target: str
    outcome: Literal["done", "refused", "failed"]
    detail: str = ""


def record(log: Path, act: Act) -> None:
    """Append `act` to the file `log`, which only its owner can read; it is on the disk when this returns.

    Several processes may append: a line is one write to a file that is open for appending.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, act.model_dump_json().encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def acts(log: Path) -> list[Act]:
    """What was recorded in `log`, oldest first; nothing where there is no such file."""
    if not log.is_file():
        return []
    return [Act.model_validate_json(line) for line in log.read_text(encoding="utf-8").splitlines()]


def done(actor: str, action: str, target: str, at: datetime, detail: str = "") -> Act:
    """An act that succeeded."""
    return Act(at=at, actor=actor, action=action, target=target, outcome="done", detail=detail)
