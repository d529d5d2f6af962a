"""Is the process alive, and has it something to serve."""

from importlib.metadata import version

from fastapi import APIRouter, Request

from api.dependencies import CurrentRelease, CurrentState, problem_told
from api.problems import documented
from api.schemas.health import AccessState, Health, Readiness
from api.services.access import Access, Unknowable

router = APIRouter(tags=["service"])
VERSION = version("cartograph")


@router.get("/health")
async def health(request: Request) -> Health:
    """The process answers. To know whether it has something to serve, ask `/ready`."""
    return Health(version=VERSION, access=_access(request.app.state.access))


@router.get("/ready", responses=documented(503))
async def ready(request: Request, release: CurrentRelease, state: CurrentState) -> Readiness:
    """A verified release is loaded; without one the problem says what to do."""
    manifest = release.manifest
    return Readiness(release_id=manifest.release_id, as_of=manifest.inputs.as_of, problem=problem_told(request, state))


def _access(access: Access) -> AccessState:
    try:
        return "open" if access.is_open else "keys"
    except Unknowable:
        return "unknown"
