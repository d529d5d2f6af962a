"""The short way to a route is taken only where nothing that a route asks for can be missed on it."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, Header, HTTPException, Request, Response

from api.dependencies import CurrentRelease, needs_release_only
from api.direct import DirectRoute


async def refuse() -> None:
    raise HTTPException(403)


async def plain(request: Request, release: CurrentRelease, explain: bool = False) -> Response: ...


async def guarded(request: Request, release: CurrentRelease, key: Annotated[None, Depends(refuse)]) -> Response: ...


async def with_header(request: Request, release: CurrentRelease, key: Annotated[str, Header()]) -> Response: ...


async def with_query(request: Request, release: CurrentRelease, limit: int) -> Response: ...


async def with_path(request: Request, release: CurrentRelease, name: str) -> Response: ...


async def with_body(request: Request, release: CurrentRelease, given: dict[str, Any]) -> Response: ...


def route(path: str, function: Any, **given: Any) -> DirectRoute:
    router = APIRouter(route_class=DirectRoute)
    router.post(path, **given)(function)
    (made,) = router.routes
    assert isinstance(made, DirectRoute)
    return made


def test_a_route_that_asks_for_the_release_alone_goes_the_short_way() -> None:
    assert needs_release_only(route("/x", plain).dependant)


@pytest.mark.parametrize(
    ("path", "function"),
    [("/x", guarded), ("/x", with_header), ("/x", with_query), ("/x/{name}", with_path), ("/x", with_body)],
)
def test_a_route_that_asks_for_more_goes_fastapis_way(path: str, function: Any) -> None:
    assert not needs_release_only(route(path, function).dependant)


def test_a_route_with_a_dependency_of_its_own_goes_fastapis_way() -> None:
    assert not needs_release_only(route("/x", plain, dependencies=[Depends(refuse)]).dependant)
