"""A short way for the two reads that a shop asks for with each page that it shows: ahead of FastAPI's routing.

FastAPI takes three times as long to find, validate and call a route as these answers take to be made. So a plain GET of
a customer or their recommendations is answered here, by the same functions as the documented routes have. All else goes
on to those: a query, a condition, HEAD, an unknown id, a release that is not there. So nothing is decided here, and a
test holds both ways against each other. Guards, limits and measurements are outside of both.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from api.answers import CACHE_CONTROL, encoded
from api.routes.customers import look_up
from api.routes.recommendations import recommended
from api.services.access import sees_personal
from api.services.caching import tag
from api.services.release import LoadedRelease


class _Read(NamedTuple):
    """A read: its path, the route that documents it, and what it answers; None leaves the request to that route."""

    path: re.Pattern[str]
    route: SimpleNamespace
    answer: Callable[[Scope, LoadedRelease, str], Any]


def _customer(scope: Scope, release: LoadedRelease, customer_id: str) -> Any:
    return look_up(release, customer_id, sees_personal=sees_personal(scope["state"].get("principal")))


def _recommendations(scope: Scope, release: LoadedRelease, customer_id: str) -> Any:
    return recommended(release, scope["app"].state.online, customer_id)


_READS = (
    _Read(
        re.compile(r"/v1/customers/([^/]{1,128})"),
        SimpleNamespace(path="/v1/customers/{customer_id}"),
        _customer,
    ),
    _Read(
        re.compile(r"/v1/customers/([^/]{1,128})/recommendations"),
        SimpleNamespace(path="/v1/customers/{customer_id}/recommendations"),
        _recommendations,
    ),
)
_PREFIX = "/v1/customers/"


class Lane:
    """Answers the reads above where it can, and passes all else on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        body = _answer(scope) if scope["type"] == "http" and scope["path"].startswith(_PREFIX) else None
        if body is None:
            await self._app(scope, receive, send)
            return
        headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"application/json"),
            (b"etag", tag(body).encode()),
            (b"cache-control", CACHE_CONTROL.encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _answer(scope: Scope) -> bytes | None:
    if scope["method"] != "GET" or scope["query_string"]:
        return None
    if any(name == b"if-none-match" for name, _ in scope["headers"]):
        return None
    for read in _READS:
        found = read.path.fullmatch(scope["path"])
        if found:
            release = scope["app"].state.serving.state.release
            content = release and read.answer(scope, release, found[1])
            if not content:
                return None
            scope["route"] = read.route  # by which requests are counted
            return encoded(content)
    return None
