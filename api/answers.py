"""How an answer is sent: as JSON without a second look at it, page by page, and not at all to whom has it already."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any

import orjson
from fastapi import Query, Request, Response
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import invalid_request
from api.schemas.problem import InvalidPart
from api.services.caching import is_held, tag
from api.services.cursors import BadCursor, key_of
from api.strict import StrictRoute

CACHE_CONTROL = "private, no-cache"
"""Who asked may keep the answer, and asks before each use whether it holds: a release may come any time."""

GZIP_FROM_BYTES = 1400
"""What fits into one packet gains nothing from being smaller."""
GZIP_LEVEL = 4
"""Twice as fast as the highest level, for a customer's answer that is a twentieth larger."""


def answered(content: Any) -> Response:
    """`content` as a JSON response. It is sent as it is: a test holds its form against the route's model."""
    return Response(encoded(content), media_type="application/json")


def encoded(content: Any) -> bytes:
    """`content` as JSON, with moments as pydantic writes them."""
    return orjson.dumps(content, option=orjson.OPT_UTC_Z)


class Svg(Response):
    """A picture."""

    media_type = "image/svg+xml"


_TAG = {"ETag": {"description": "The tag of this answer.", "required": True, "schema": {"type": "string"}}}
TAGGED: dict[int | str, dict[str, Any]] = {
    200: {"headers": _TAG},
    304: {"description": "The answer is the one that `If-None-Match` names.", "headers": _TAG},
}
"""What the document says of an answer that has a tag."""


class CachedRoute(StrictRoute):
    """A route whose answers to GET have an `ETag`; to whom holds the same answer the response is an empty 304.

    The answer is made all the same: so a 304 says as much as the answer would, also of rights and of unknown ids.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **given: Any) -> None:
        super().__init__(path, endpoint, **given)
        if self.methods == {"GET"}:
            self.responses = {**TAGGED, **self.responses}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, and the tag of what it answers."""
        handle = super().get_route_handler()
        if self.methods != {"GET"}:
            return handle

        async def handle_and_tag(request: Request) -> Response:
            response = await handle(request)
            if response.status_code != 200:
                return response
            headers = {"ETag": tag(bytes(response.body)), "Cache-Control": CACHE_CONTROL}
            held = request.headers.get("if-none-match")
            if held is not None and is_held(headers["ETag"], held):
                return Response(status_code=304, headers=headers)
            response.headers.update(headers)
            return response

        return handle_and_tag


_GZIP = re.compile(rb"gzip(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))")


class Compressed:
    """Compresses long answers for whom understands it; others do not even pay for the look at their answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._compressed = GZipMiddleware(app, minimum_size=GZIP_FROM_BYTES, compresslevel=GZIP_LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        wanted = scope["type"] == "http" and any(
            name == b"accept-encoding" and _GZIP.search(value) for name, value in scope["headers"]
        )
        await (self._compressed if wanted else self._app)(scope, receive, send)


class Head:
    """Answers HEAD where GET is answered: with the same headers, and without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass HEAD on as GET, and of its answer only the headers."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_headers(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        asked: Scope = {**scope, "method": "GET"}
        await self._app(asked, receive, send_headers)
        if "route" in asked:
            scope["route"] = asked["route"]  # by which requests are counted


Cursor = Annotated[
    str,
    Query(
        max_length=1000,
        description="`next` of the page before; empty for the first page.",
        examples=["WyJjdXN0b21lcnMiLCJDMDAwMDAwMDgiXQ"],
    ),
]


def page_after(given: str, of: str, parts: int = 1) -> Sequence[str]:
    """The key after which the page of the cursor `given` begins; a 422 problem if it is none of the list `of`."""
    try:
        return key_of(given, of, parts)
    except BadCursor as error:
        raise invalid_request([InvalidPart(detail=str(error), parameter="cursor")]) from None
