"""Asks a release its golden requests before it is served, through the routes of the service, beside what is served.

The routes are those of the application itself, without its middleware and guards: nobody has called. What answers is
bound to the candidate; the application and its requests see nothing of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter, FastAPI
from starlette.datastructures import State as AppState
from starlette.types import ASGIApp, Message

from api import problems
from api.services.golden import GoldenMismatch, differences
from api.services.release import LoadedRelease
from api.services.serving import State
from cartograph.releases.contents.golden import GoldenRequest


class Rehearsal:
    """Holds candidates against their golden requests, one at a time.

    Routes find the application's `state`, but for the members of `instead`: what has happened since a release was made
    must not change what it answers, and what is asked here must leave no trace. `caller` is what routes find in
    `request.state` of who asks.
    """

    def __init__(
        self,
        routers: Iterable[APIRouter],
        state: AppState,
        *,
        instead: Mapping[str, object],
        caller: Mapping[str, object],
    ) -> None:
        self._app = FastAPI(openapi_url=None)
        problems.install(self._app)
        for router in routers:
            self._app.include_router(router)
        self._state = state
        self._instead = dict(instead)
        self._caller = dict(caller)

    def __call__(self, release: LoadedRelease) -> None:
        """Ask all golden requests of `release`.

        Not to be called where an event loop runs: it has its own.

        Raises:
            GoldenMismatch: an answer is not as it must be, or does not name the release; or nothing is to be asked.
        """
        if not release.golden.requests:
            raise GoldenMismatch(
                release.manifest.release_id, ["it has no request, so nothing shows that the release answers rightly"]
            )
        bound = SimpleNamespace(state=State(release))
        self._app.state = _Bound(self._state, {**self._instead, "serving": bound})  # type: ignore[assignment]
        try:
            wrong = asyncio.run(self._differences(release))
        finally:
            self._app.state = AppState()
        if wrong:
            raise GoldenMismatch(release.manifest.release_id, wrong)

    async def _differences(self, release: LoadedRelease) -> list[str]:
        found: list[str] = []
        for request in release.golden.requests:
            found += [f"{request.name}: {told}" for told in await self._ask(request, release.manifest.release_id)]
        return found

    async def _ask(self, request: GoldenRequest, release_id: str) -> list[str]:
        try:
            status, content = await asked(self._app, request, self._caller)
        except Exception as error:  # noqa: BLE001 - whatever a route raises, the release is not to be served
            return [f"it fails with {type(error).__name__}"]
        if status != request.status:
            return [f"it is answered with status {status}, not {request.status}"]
        try:
            answer = json.loads(content)
        except ValueError:
            return ["it is not answered with JSON"]
        named = {"release_id": release_id} if status < 400 else {}
        return list(differences(request.answer | named, answer, request.tolerance))


class _Bound:
    """The application's state, with other members in the place of some."""

    def __init__(self, rest: AppState, instead: Mapping[str, object]) -> None:
        self._rest = rest
        self._instead = instead

    def __getattr__(self, name: str) -> Any:
        return self._instead[name] if name in self._instead else getattr(self._rest, name)


async def asked(app: ASGIApp, request: GoldenRequest, caller: Mapping[str, object]) -> tuple[int, bytes]:
    """The status and the content of what `app` answers to `request`; `caller` is the request's own state."""
    path, _, query = request.path.partition("?")
    body = b"" if request.body is None else json.dumps(request.body).encode()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "client": None,
        "server": None,
        "state": dict(caller),
    }
    status, content = 0, b""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, content
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            content += message.get("body", b"")

    await app(scope, receive, send)
    return status, content
