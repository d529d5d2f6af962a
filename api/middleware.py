"""The headers that every answer has, whatever it is. What is asked of requests is `guard`."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import SECURITY_HEADERS

_PAGES = ("/docs", "/redoc", "/static-offline-docs/")
"""These are pages with scripts of their own, which the policy for answers would stop."""
_NOTHING_LOADS = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_HTTPS_ONLY = "max-age=31536000; includeSubDomains"


class SecurityHeaders:
    """Adds the security headers to every answer that does not say otherwise itself.

    The answer to an unexpected error has its own. `https_only` tells browsers to come back over https.
    """

    def __init__(self, app: ASGIApp, *, https_only: bool) -> None:
        self._app = app
        everywhere = {**SECURITY_HEADERS, **({"Strict-Transport-Security": _HTTPS_ONLY} if https_only else {})}
        self._pages = _raw(everywhere)
        self._answers = _raw({**everywhere, "Content-Security-Policy": _NOTHING_LOADS})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its answer back with the headers."""
        added = self._pages if scope.get("path", "").startswith(_PAGES) else self._answers

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message["headers"]
                said = {name for name, _ in own}  # an answer that may be kept says so itself
                message["headers"] = [*own, *(header for header in added if header[0] not in said)]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
