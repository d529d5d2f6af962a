"""Routes that refuse query parameters which they do not take, doubled ones, and a body where they take none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from api.problems import documented, invalid_request
from api.schemas.problem import InvalidPart

_SHOWN_CHARACTERS = 100
_NOTHING = (b"", b"{}")


class StrictRoute(APIRoute):
    """A route whose query is wrong where a parameter is unknown or doubled: it would ask for something else unseen.

    So is a body of a POST that takes none, unless it says nothing. None of the parameters is a list.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **given: Any) -> None:
        given["responses"] = {**documented(422), **(given.get("responses") or {})}
        super().__init__(path, endpoint, **given)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, and before it the look at the names in the query and at a body that is not taken."""
        handle = super().get_route_handler()
        known = list(_taken(self.dependant))
        takes_body = self.body_field is not None or "requestBody" in (self.openapi_extra or {})
        is_bodyless_post = self.methods == {"POST"} and not takes_body

        async def handle_known(request: Request) -> Response:
            if request.scope["query_string"]:
                unknown = [name[:_SHOWN_CHARACTERS] for name in request.query_params if name not in known]
                if unknown:
                    detail = f"there is no such parameter; it takes {', '.join(known) or 'none'}"
                    raise invalid_request([InvalidPart(detail=detail, parameter=name) for name in unknown])
                given = Counter(name for name, _ in request.query_params.multi_items())
                twice = [name for name, count in given.items() if count > 1]
                if twice:
                    detail = "it is there more than once"
                    raise invalid_request([InvalidPart(detail=detail, parameter=name) for name in twice])
            if is_bodyless_post and b"".join((await request.body()).split()) not in _NOTHING:
                detail = "no body is taken here: leave it out, or send {}"
                raise invalid_request([InvalidPart(detail=detail, pointer="")])
            return await handle(request)

        return handle_known


def _taken(dependant: Dependant) -> Iterator[str]:
    """The names of the query's parameters that a route and its dependencies take."""
    yield from (field.alias for field in dependant.query_params)
    for needed in dependant.dependencies:
        yield from _taken(needed)
