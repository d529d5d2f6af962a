"""Which release is served: loads the current one, follows the pointer, and swaps whole releases only."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import NoReturn

from api.services.release import LoadedRelease, load_release
from cartograph.releases import ReleaseError, ReleaseStore

POLL_SECONDS = 2.0
"""How often the pointer is looked at: one small read."""
_LONGEST_WAIT_SECONDS = 60.0

logger = logging.getLogger("uvicorn.error")


@dataclass(frozen=True)
class State:
    """What is served, and why the current release is not, where that is so."""

    release: LoadedRelease | None = None
    problem: str | None = None


class Serving:
    """Holds the state of the service. `state` is replaced in one assignment, so no reader sees a mixture."""

    def __init__(self, store: ReleaseStore, poll_seconds: float = POLL_SECONDS) -> None:
        self.state = State()
        self._store = store
        self._poll_seconds = poll_seconds

    def refresh(self) -> None:
        """Load the current release if it is not the one that is served. On failure the served one stays."""
        served = self.state.release
        try:
            current = self._store.current_id()
            if served is None or served.manifest.release_id != current:
                served = load_release(self._store, current)
                logger.info("Serving release %s", current)
            self.state = State(served)
        except ReleaseError as error:
            self._fail(str(error))
        except Exception:  # the watcher must outlive whatever a broken disk or network does
            logger.exception("Looking for a release failed")
            self._fail("Looking for a release failed unexpectedly; the service's log says why.")

    async def watch(self) -> NoReturn:
        """Refresh for ever; after failures ever more slowly, since each attempt may read a whole release."""
        wait = self._poll_seconds
        while True:
            await asyncio.sleep(wait)
            await asyncio.to_thread(self.refresh)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS) if self.state.problem else self._poll_seconds

    def _fail(self, problem: str) -> None:
        if problem != self.state.problem:
            logger.warning("%s", problem)
        self.state = replace(self.state, problem=problem)
