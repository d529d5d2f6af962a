"""What routes ask for by annotation. How it is loaded is `services`."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant

from api.problems import ProblemError
from api.services.access import Access, Principal, Unknowable, sees_personal
from api.services.event_log import EventLog, NoEventLogError
from api.services.online import OnlineState
from api.services.release import LoadedRelease
from api.services.serving import Serving, State
from cartograph.windows import at_midnight

AHEAD = timedelta(days=1)
"""So far another clock, or its time zone, may be wrong."""


async def _serving(request: Request) -> Serving:
    serving: Serving = request.app.state.serving
    return serving


CurrentServing = Annotated[Serving, Depends(_serving)]
"""What decides which release is served: for the routes that change it."""


async def _state(request: Request) -> State:
    return (await _serving(request)).state


async def _online(request: Request) -> OnlineState:
    online: OnlineState = request.app.state.online
    return online


CurrentOnline = Annotated[OnlineState, Depends(_online)]
"""What has happened since the release, as far as the service was told."""
CurrentState = Annotated[State, Depends(_state)]


async def _release(request: Request, state: CurrentState) -> LoadedRelease:
    if state.release is None:
        detail = problem_told(request, state) or "The release is being loaded. Try again in a moment."
        raise ProblemError(503, "no-release", detail)
    return state.release


def problem_told(request: Request, state: State) -> str | None:
    """What keeps the current release from being served; the paths that it names are for administrators."""
    access: Access = request.app.state.access
    principal: Principal | None = request.state.principal
    if state.problem is None or (principal is not None and "admin" in principal.scopes):
        return state.problem
    with suppress(Unknowable):
        if access.is_open:
            return state.problem
    return "The current release cannot be served. GET /v1/admin/releases and the service's log say why."


async def current_release(request: Request) -> LoadedRelease:
    """What a route that asks for `CurrentRelease` gets, for those that do not ask."""
    return await _release(request, await _state(request))


def needs_release_only(dependant: Dependant) -> bool:
    """Whether a route's function can be called with the request and the release where a request has no query."""
    others = (dependant.path_params, dependant.header_params, dependant.cookie_params, dependant.body_params)
    return (
        [found.call for found in dependant.dependencies] == [_release]
        and not any(others)
        and not any(found.field_info.is_required() for found in dependant.query_params)
    )


CurrentRelease = Annotated[LoadedRelease, Depends(_release)]
"""The release to answer from: one for the whole request. Without one the request ends with a 503 problem."""


async def _sees_personal(request: Request) -> bool:
    return sees_personal(getattr(request.state, "principal", None))


SeesPersonal = Annotated[bool, Depends(_sees_personal)]
"""Whether personal data may be shown: whoever asks has the scope `pii`."""


async def _event_log(request: Request) -> EventLog:
    log: EventLog | NoEventLogError = request.app.state.event_log
    if isinstance(log, NoEventLogError):
        raise ProblemError(404, "no-event-log", str(log))
    return log


CurrentEventLog = Annotated[EventLog, Depends(_event_log)]
"""Where events go. In a shop that loads none from here the request ends with a 404 problem."""


async def _latest_moment(request: Request, release: CurrentRelease) -> datetime:
    clock: Callable[[], datetime] = request.app.state.clock
    return max(clock(), at_midnight(release.manifest.inputs.as_of)) + AHEAD


LatestMoment = Annotated[datetime, Depends(_latest_moment)]
"""What a request tells of is not after this moment. A shop that is ahead of the clock, as a simulated one may be, has
the day of its release for it."""
