"""Who asks, and what they may: API keys, OIDC tokens, and the laptop on which no key was made yet.

Which request needs which scope, and how a refusal becomes an answer, is `api.guard`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple, NoReturn

from api.services.identity import IdentityProviderDown, Tokens
from cartograph.keys import SCOPES, Key, KeysError, KeyStore, Scope, verified
from cartograph.settings import Settings

RECHECK_SECONDS = 0.5
"""How old what is known of the keys may be: so long a revoked key is still taken."""
_NOTE_SECONDS = 30.0
"""How often it is written when keys were used last."""

logger = logging.getLogger("uvicorn.error")


class Principal(NamedTuple):
    """Who asks. `rate` is None where the service's own holds, and `is_counted` says whether one does."""

    id: str
    name: str
    scopes: frozenset[Scope]
    rate: str | None = None
    is_counted: bool = True


LAPTOP = Principal("laptop", "somebody at this machine", frozenset(SCOPES), is_counted=False)
"""Whoever asks a service that is open."""


def sees_personal(principal: Principal | None) -> bool:
    """Whether personal data may be shown to whoever asks."""
    return principal is not None and "pii" in principal.scopes


class Denied(Exception):  # noqa: N818 - named for what happened
    """Nobody who may ask. `kind` is a slug of the reason, the message names the cure and nothing that was sent."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class Unknowable(Exception):  # noqa: N818
    """Whether somebody may ask cannot be found out now: the keys, or the identity provider's, are out of reach."""


def now_utc() -> datetime:
    """The time now."""
    return datetime.now(UTC)


class Access:
    """Recognises who asks. One for each process; used in its event loop only."""

    def __init__(self, settings: Settings, *, clock: Callable[[], datetime] = now_utc) -> None:
        self._store = KeyStore(settings.keys_path)
        self._clock = clock
        self._tokens = Tokens.of(settings)
        self._may_be_open = settings.env == "local" and is_loopback(settings.api_host) and self._tokens is None
        self._keys: Mapping[str, Key] = {}
        self._read_at: float | None = None
        self._used: dict[str, datetime] = {}

    @property
    def is_open(self) -> bool:
        """Whether everybody may ask: on a laptop that is not reached from elsewhere, until the first key is made.

        Raises:
            Unknowable: the keys cannot be read.
        """
        return self._may_be_open and not self._known()

    async def principal(self, authorization: str | None, api_key: str | None) -> Principal:
        """Who sends these headers `Authorization` and `X-API-Key`.

        Raises:
            Denied: nobody who may ask.
            Unknowable: that cannot be found out now.
        """
        if self.is_open:
            return LAPTOP
        if authorization is None and api_key is None:
            raise Denied(
                "no-key", "Send an API key as X-API-Key or Authorization: Bearer. `cartograph keys create` makes one."
            )
        if authorization is not None and api_key is not None:
            raise Denied("two-keys", "Send X-API-Key or Authorization, and not both.")
        presented = api_key
        if presented is None:
            scheme, _, presented = (authorization or "").partition(" ")
            if scheme.lower() != "bearer":
                raise Denied("invalid-key", "Authorization takes the form `Bearer <key or token>`.")
            if self._tokens is not None and presented.count(".") == 2:
                return await self._by_token(self._tokens, presented)
        now = self._clock()
        key = verified(self._known(), presented, now)
        if key is None:
            raise Denied(
                "invalid-key", "This is no valid key: it is unknown, expired or revoked. `cartograph keys list` tells."
            )
        self._used[key.id] = now
        return Principal(key.id, key.name, key.scopes, key.rate)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """While the service runs: say that it is open where it is, and note when keys are used."""
        with suppress(Unknowable):
            if self.is_open:
                logger.warning(
                    "The service is open to everybody at this machine: no API key was made yet. "
                    "`cartograph keys create` makes the first, and from then on one is needed."
                )
        noting = asyncio.create_task(self._note_forever())
        try:
            yield
        finally:
            noting.cancel()
            with suppress(asyncio.CancelledError):
                await noting
            self.note()

    def note(self) -> None:
        """Write when keys were used last. A home that cannot be written costs no more than that."""
        used, self._used = self._used, {}
        if used:
            try:
                self._store.used(used)
            except KeysError as error:
                logger.warning("When keys were used is not noted: %s", error)

    async def _note_forever(self) -> NoReturn:
        while True:
            await asyncio.sleep(_NOTE_SECONDS)
            await asyncio.to_thread(self.note)

    async def _by_token(self, tokens: Tokens, presented: str) -> Principal:
        try:
            identity = await asyncio.to_thread(tokens.verified, presented)
        except IdentityProviderDown as error:
            raise Unknowable(str(error)) from None
        if identity is None:
            raise Denied(
                "invalid-token", "This is no valid token of the identity provider: wrong, expired, or for others."
            )
        return Principal(f"oidc:{identity.subject}", identity.subject, identity.scopes)

    def _known(self) -> Mapping[str, Key]:
        at = time.monotonic()
        if self._read_at is None or at - self._read_at >= RECHECK_SECONDS:
            try:
                self._keys = {key.id: key for key in self._store.all()}
            except KeysError as error:
                logger.warning("%s", error)
                raise Unknowable("The service cannot read its keys; its log says why.") from None
            self._read_at = at
        return self._keys


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address without a port, is the machine itself."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
