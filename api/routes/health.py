"""Is the process alive, and has it something to serve."""

from importlib.metadata import version

from fastapi import APIRouter

from api.dependencies import CurrentRelease, CurrentState
from api.problems import documented
from api.schemas.health import Health, Readiness

router = APIRouter(tags=["service"])
VERSION = version("cartograph")


@router.get("/health")
async def health() -> Health:
    """The process answers. To know whether it has something to serve, ask `/ready`."""
    return Health(version=VERSION)


@router.get("/ready", responses=documented(503))
async def ready(release: CurrentRelease, state: CurrentState) -> Readiness:
    """A verified release is loaded; without one the problem says what to do."""
    manifest = release.manifest
    return Readiness(release_id=manifest.release_id, as_of=manifest.inputs.as_of, problem=state.problem)
