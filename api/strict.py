"""Routes that refuse query parameters which they do not take, and doubled ones, as bodies refuse unknown fields."""

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


class StrictRoute(APIRoute):
    """A route whose query is wrong where a parameter is unknown or doubled: it would ask for something else unseen.

    None of the parameters is a list.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **given: Any) -> None:
        given["responses"] = {**documented(422), **(given.get("responses") or {})}
        super().__init__(path, endpoint, **given)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, and before it the look at the names in the query."""
        handle = super().get_route_handler()
        known = list(_taken(self.dependant))

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
            return await handle(request)

        return handle_known


def _taken(dependant: Dependant) -> Iterator[str]:
    """The names of the query's parameters that a route and its dependencies take."""
    yield from (field.alias for field in dependant.query_params)
    for needed in dependant.dependencies:
        yield from _taken(needed)
