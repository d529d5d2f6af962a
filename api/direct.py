"""The short way to a route that takes nothing but the request and the release."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response

from api.dependencies import current_release, needs_release_only
from api.strict import StrictRoute


class DirectRoute(StrictRoute):
    """A route whose function is called straight where there is neither a query nor a parameter in the path.

    FastAPI works out at each request what a function asks for, which takes longer than a prediction. Any other request,
    and any route that depends on more than the release, goes FastAPI's way.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler that looks which way to take."""
        usual, endpoint = super().get_route_handler(), self.endpoint
        if not needs_release_only(self.dependant):
            return usual

        async def handle(request: Request) -> Response:
            if request.scope["query_string"]:
                return await usual(request)
            response: Response = await endpoint(request=request, release=await current_release(request))
            return response

        return handle
