"""What every request is seen by: its id, its count and time, and its line in the log.

An id that the caller gives in `X-Request-ID` is kept where it is fit to be logged, and each answer has one.
"""

from __future__ import annotations

import re
from logging import DEBUG, INFO
from secrets import token_hex
from time import perf_counter

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.observability.logs import REQUEST_ID, tell_request
from api.observability.metrics import METHODS, OTHER, UNMATCHED, observe_request
from api.problems import REQUEST_ID_HEADER

FIT = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
"""Such as a UUID or a trace's id: long enough to be one request's, and without anything that a log could mistake."""
PROBES = frozenset({"/health", "/ready", "/metrics"})
"""Asked every few seconds by machines: logged at DEBUG only."""
UNANSWERED = 499
"""Told of a request whose caller went away before an answer began (nginx's number)."""

_NAME = REQUEST_ID_HEADER.lower().encode()


class Watching:
    """Gives each request its id, counts and times it, and logs it by the template of its route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its answer back with the id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, is_told = perf_counter(), UNANSWERED, False
        request_id = given_or_new(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        answer_header = (_NAME, request_id.encode())

        async def send_with_id(message: Message) -> None:
            nonlocal status, is_told
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), answer_header]}
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                is_told = True  # before it goes out: whoever has the answer finds it counted
                _tell(scope, status, perf_counter() - began)
            await send(message)

        REQUEST_ID.set(request_id)  # uvicorn runs each request in its own task, and so in its own context
        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            status = 500
            raise
        finally:
            if not is_told:
                _tell(scope, status, perf_counter() - began)


def given_or_new(scope: Scope) -> str:
    """The request's id: the caller's, where there is one that is fit, or a new one."""
    given = next((value for name, value in scope["headers"] if name == _NAME), None)
    return given.decode() if given is not None and FIT.fullmatch(given) else token_hex(16)


def template(scope: Scope) -> str:
    """The path of the request's route with the names of its parameters, as `/v1/customers/{customer_id}`.

    Of a request that was refused before it came to a route, it is that of the route that it would have come to.
    """
    path = getattr(scope.get("route") or _asked_for(scope), "path", None)
    return path if isinstance(path, str) else UNMATCHED


def _asked_for(scope: Scope) -> BaseRoute | None:
    """The first route of the path, by another method if need be."""
    routes = scope["app"].routes if "app" in scope else ()
    return next((route for route in routes if route.matches(scope)[0] is not Match.NONE), None)


def _tell(scope: Scope, status: int, seconds: float) -> None:
    route, method = template(scope), scope["method"]
    observe_request(method, route, status, seconds)
    level = DEBUG if route in PROBES else INFO
    told = method if method in METHODS else OTHER
    tell_request(level, {"method": told, "route": route, "status": status, "duration_ms": round(seconds * 1000, 3)})
