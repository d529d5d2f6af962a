"""Which release is served: verifies the current one beside the served one, swaps whole releases only, and goes back.

What a release is held against is `load_release` (checksums, signature, the form of its files) and the rehearsal that
the application gives (its golden requests). What is refused is remembered in `refusals`. Where it is the current one,
people are alerted; who asks for another is told in the answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Lock
from typing import NamedTuple, NoReturn

from api.services.golden import GoldenMismatch
from api.services.refusals import Refusal, Refusals, RefusedBefore, ReleaseAlerts
from api.services.release import LoadedRelease, UnusableRelease, load_release
from cartograph.releases import (
    DamagedRelease,
    Manifest,
    NewerManifest,
    ReleaseError,
    ReleaseStore,
    StoreUnavailable,
    UntrustedRelease,
)

POLL_SECONDS = 2.0
"""How often the pointer is looked at: one small read."""
KEPT = 3
"""So many releases stay loaded, the served one among them: to go back to one of them takes no loading."""
_LONGEST_WAIT_SECONDS = 8.0  # a new current release is to be found within 10 s
_FAULTS = (DamagedRelease, NewerManifest, UntrustedRelease, UnusableRelease, GoldenMismatch)
"""What a release is refused for until it changes; all else, as a network that is down, passes."""

logger = logging.getLogger("uvicorn.error")


@dataclass(frozen=True)
class State:
    """What is served, and why the current release is not, where that is so."""

    release: LoadedRelease | None = None
    problem: str | None = None


class Kept(NamedTuple):
    """A verified release in memory, and what its files were like then."""

    release: LoadedRelease
    token: str


class Known(NamedTuple):
    """What is known of a stored release. `problem` is why its manifest cannot be read, `refusal` why it is not served.

    `is_loaded` is of this process: others may have others in memory.
    """

    release_id: str
    manifest: Manifest | None
    problem: str | None
    refusal: Refusal | None
    is_current: bool
    is_served: bool
    is_loaded: bool


class Serving:
    """Holds the state of the service. `state` is replaced in one assignment, so no reader sees a mixture.

    `rehearse` raises GoldenMismatch for a release that does not answer as it must; `prepare` does what one needs before
    it can be asked at full speed, while the one before it is served. The methods that change something may be called
    from several threads, and not where an event loop runs.
    """

    def __init__(
        self,
        store: ReleaseStore,
        refusals: Refusals,
        alerts: ReleaseAlerts,
        rehearse: Callable[[LoadedRelease], None],
        prepare: Callable[[LoadedRelease], None],
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self.state = State()
        self._store = store
        self._refusals = refusals
        self._alerts = alerts
        self._rehearse = rehearse
        self._prepare = prepare
        self._poll_seconds = poll_seconds
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._changing = Lock()

    def refresh(self) -> None:
        """Serve the current release if it is not the one that is served. On failure the served one stays.

        Where nothing is served yet, as after a start, an earlier release is then served in its place.
        """
        with self._changing:
            try:
                self._follow(self._store.current_id())
            except ReleaseError as error:
                self._fail(str(error))
                if self.state.release is None:
                    self._fall_back()
            except Exception:  # the watcher must outlive whatever a broken disk or network does
                logger.exception("Looking for a release failed")
                self._fail("Looking for a release failed unexpectedly; the service's log says why.")

    async def watch(self) -> NoReturn:
        """Refresh for ever; after failures more slowly, as each attempt may read a whole release."""
        wait = self._poll_seconds
        while True:
            await asyncio.sleep(wait)
            await asyncio.to_thread(self.refresh)
            await asyncio.to_thread(self._alerts.deliver)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS) if self.state.problem else self._poll_seconds

    def activate(self, release_id: str) -> LoadedRelease:
        """Verify a release, make it the current one and serve it.

        Raises:
            UnknownRelease: there is no such release.
            ReleaseError: it is refused; what is current and what is served stay.
        """
        with self._changing:
            release = self._verified(release_id)
            self._store.activate(release_id, is_verified=True)
            self._serve(release)
        return release

    def rollback(self, leaving: str) -> LoadedRelease:
        """Serve the release that was current before `leaving`, and make it so; where another is current, serve that.

        Raises as `activate`; NoRelease: there is none.
        """
        with self._changing:
            target = self._store.earlier_id(leaving=leaving)
            release = self._verified(target)
            if self._store.rollback(leaving=leaving, verified=target).release_id != target:
                raise StoreUnavailable(
                    "The pointer to the current release was moved by somebody else. Look, and try again."
                )
            self._serve(release)
        return release

    @property
    def refused(self) -> int:
        """How many of the stored releases were refused, as far as this process knows."""
        return len(self._refusals)

    def known(self) -> list[Known]:
        """All stored releases, the newest first; those whose manifests cannot be read come last."""
        try:
            current = self._store.current_id()
        except ReleaseError:
            current = None
        served, found = self.state.release, []
        for release in self._store.ids():
            manifest, problem = None, None
            try:
                manifest = self._store.get(release)
            except ReleaseError as error:
                problem = str(error)
            is_served = served is not None and served.manifest.release_id == release
            refusal = self._refusals.of(release)
            found.append(
                Known(release, manifest, problem, refusal, release == current, is_served, release in self._kept)
            )
        return sorted(found, key=_age, reverse=True)

    def _follow(self, current: str) -> None:
        served = self.state.release
        if served is None or served.manifest.release_id != current:
            try:
                release = self._verified(current)
            except (*_FAULTS, RefusedBefore) as error:
                if str(error) != self.state.problem:  # else it was told when it became current, or at the start
                    self._alerts.refused(current, str(error), datetime.now(UTC))
                raise
            self._serve(release)
        elif self.state.problem is not None:
            self._serve(served)

    def _verified(self, release_id: str) -> LoadedRelease:
        """The release, ready to be served; from memory where its files have not changed since it was verified."""
        token = self._store.token(release_id)
        kept = self._kept.get(release_id)
        if kept is None or kept.token != token:
            kept = Kept(self._loaded(release_id, token), token)
            self._kept[release_id] = kept
        self._prepare(kept.release)
        return kept.release

    def _loaded(self, release_id: str, token: str) -> LoadedRelease:
        self._refusals.require_new(release_id, token)
        try:
            release = load_release(self._store, release_id)
            self._rehearse(release)
        except _FAULTS as error:
            self._refusals.note(release_id, token, str(error), self._store.ids(), datetime.now(UTC))
            raise
        return release

    def _serve(self, release: LoadedRelease) -> None:
        """Swap. What is in flight has its own reference to the release that it began with."""
        release_id, before = release.manifest.release_id, self.state
        self.state = State(release)
        if before.release is not release:
            logger.info("Serving release %s", release_id)
        self._kept.move_to_end(release_id)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        if before.problem is not None or len(self._refusals):
            self._alerts.served(release_id, datetime.now(UTC))
        self._refusals.forget(release_id)

    def _fall_back(self) -> None:
        """Serve the latest earlier release that can be, and go on telling why it is not the current one."""
        try:
            _, *earlier = self._store.history()
        except ReleaseError:
            return
        for release_id in earlier:
            try:
                release = self._verified(release_id)
            except ReleaseError as error:
                logger.warning("%s", error)
            else:
                logger.warning("Serving the earlier release %s", release_id)
                self.state = replace(self.state, release=release)
                self._refusals.forget(release_id)
                return

    def _fail(self, problem: str) -> None:
        if problem != self.state.problem:
            logger.warning("%s", problem)
        self.state = replace(self.state, problem=problem)


def _age(known: Known) -> tuple[str, str]:
    return (known.manifest.created_at.isoformat() if known.manifest else "", known.release_id)
