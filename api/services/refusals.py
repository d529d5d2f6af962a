"""The releases that were refused: kept in a small file, so that none is tried again before it changes; told once."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError

from cartograph.alerts.config import AlertsError, load_alerts
from cartograph.alerts.delivery import deliver
from cartograph.alerts.ledger import Ledger
from cartograph.alerts.messages import Signal
from cartograph.releases import ReleaseError
from cartograph.settings import Settings

CHECK = "release_is_served"
SUBJECT, OWNER, OBSERVER = "serving/release", "team:data-platform", "api"

logger = logging.getLogger("uvicorn.error")


class Refusal(BaseModel):
    """Why a release was refused. `token` is what its files were like, and `judge` who refused it, by what rules."""

    model_config = ConfigDict(frozen=True)

    token: str
    judge: str
    reason: str
    refused_at: AwareDatetime


class RefusedBefore(ReleaseError):  # noqa: N818 - named like the other release errors
    """A release was refused before, and has not changed since."""


_REFUSALS = TypeAdapter(dict[str, Refusal])


class Refusals:
    """The refused releases of a shop, in the file at `path`, which all worker processes share.

    `judge` names what a release is held against: with another version, or other trusted keys, it is tried again.
    """

    def __init__(self, path: Path, judge: str) -> None:
        self._path = path
        self._judge = judge
        self._known = self._read()

    def __len__(self) -> int:
        return sum(self.of(release) is not None for release in self._known)

    def of(self, release: str) -> Refusal | None:
        """Why `release` was refused last, if it was, and would be again."""
        found = self._known.get(release)
        return found if found and found.judge == self._judge else None

    def require_new(self, release: str, token: str) -> None:
        """Raise RefusedBefore where `release` was refused as it is now."""
        found = self.of(release)
        if found and found.token == token:
            raise RefusedBefore(found.reason)

    def note(self, release: str, token: str, reason: str, stored: Iterable[str], at: datetime) -> None:
        """Remember that `release` was refused. Those that are no longer `stored` are forgotten."""
        refusal = Refusal(token=token, judge=self._judge, reason=reason, refused_at=at)
        known = {**self._read(), **self._known, release: refusal}
        self._keep({one: why for one, why in known.items() if one in {*stored, release}})

    def forget(self, release: str) -> None:
        """Remember no more that `release` was refused: it is well now."""
        if release in self._known:
            self._keep({one: why for one, why in {**self._read(), **self._known}.items() if one != release})

    def _keep(self, known: dict[str, Refusal]) -> None:
        self._known = known
        written = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            written.write_bytes(_REFUSALS.dump_json(known, indent=2))
            written.replace(self._path)
        except OSError as error:  # a release is served from a disk that is full, too: it is tried again after a restart
            logger.warning("%s cannot be written: %s", self._path, error.strerror)

    def _read(self) -> dict[str, Refusal]:
        try:
            return _REFUSALS.validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return {}


class ReleaseAlerts:
    """Tells people, through the shop's ledger, of a current release that is refused, and when it is over."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._is_waiting = False

    def refused(self, release: str, reason: str, at: datetime) -> None:
        """Tell that the current `release` was refused: once, whichever process finds it first."""
        self._record(release, at, healthy=False, text=reason)

    def served(self, release: str, at: datetime) -> None:
        """Tell that the current release is served again, where it was told that it was not."""
        self._record(release, at, healthy=True, text="the current release is served")

    def deliver(self) -> None:
        """Send what waits; what cannot be is tried again by the next call, or by the asset graph's sensors."""
        if not self._is_waiting:
            return
        try:
            ledger, config = Ledger(self._settings.alerts_path), load_alerts(self._settings)
            for reason in deliver(ledger, config.all_sinks(self._settings), partial(datetime.now, UTC)).refused:
                logger.error("An alert was refused for good: %s", reason)
            self._is_waiting = bool(ledger.unsent())
        except (AlertsError, OSError, sqlite3.Error) as error:
            logger.warning("Alerts cannot be sent: %s", error)

    def _record(self, release: str, at: datetime, *, healthy: bool, text: str) -> None:
        signal = Signal(
            subject=SUBJECT,
            name=CHECK,
            healthy=healthy,
            severity="error",
            owner=OWNER,
            run_id=release,
            text=text,
            at=at,
            parts=() if healthy else (release,),
        )
        try:
            config = load_alerts(self._settings)
            told = Ledger(self._settings.alerts_path).record(OBSERVER, [signal], {}, config.route)
        except (AlertsError, OSError, sqlite3.Error) as error:
            logger.warning("Nobody can be alerted: %s", error)
        else:
            self._is_waiting = self._is_waiting or bool(told)
