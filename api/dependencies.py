"""What routes ask for by annotation. How it is loaded is `services`."""

from typing import Annotated

from fastapi import Depends, Request

from api.problems import ProblemError
from api.services.release import LoadedRelease
from api.services.serving import Serving, State


async def _serving(request: Request) -> Serving:
    serving: Serving = request.app.state.serving
    return serving


CurrentServing = Annotated[Serving, Depends(_serving)]
"""What decides which release is served: for the routes that change it."""


async def _state(request: Request) -> State:
    return (await _serving(request)).state


CurrentState = Annotated[State, Depends(_state)]


async def _release(state: CurrentState) -> LoadedRelease:
    if state.release is None:
        raise ProblemError(503, "no-release", state.problem or "The release is being loaded. Try again in a moment.")
    return state.release


CurrentRelease = Annotated[LoadedRelease, Depends(_release)]
"""The release to answer from: one for the whole request. Without one the request ends with a 503 problem."""
