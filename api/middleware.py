"""What applies to every request before a route sees it: a bound on its body, and headers on every answer."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import SECURITY_HEADERS, ProblemError

MAX_BODY_BYTES = 64 * 1024
"""Ten times what the largest sensible request takes."""


class SecurityHeaders:
    """Adds the security headers to every answer. The answer to an unexpected error has its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its answer back with the headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)  # an answer that may be kept says so itself
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BodyLimit:
    """Ends the reading of a body that is longer than `MAX_BODY_BYTES`, announced or not, with a 413 problem."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a body that can be read up to the limit."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        read = 0

        async def receive_within_limit() -> Message:
            nonlocal read
            if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
                raise _too_large()
            message = await receive()
            read += len(message.get("body", b""))
            if read > MAX_BODY_BYTES:
                raise _too_large()
            return message

        await self._app(scope, receive_within_limit, send)


def _too_large() -> ProblemError:
    return ProblemError(413, "body-too-large", f"A request's body may have {MAX_BODY_BYTES} bytes; this one has more.")
