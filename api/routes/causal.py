"""Causal estimates."""

from fastapi import APIRouter

from api.dependencies import CurrentRelease
from api.problems import documented
from api.schemas.causal import Effects

router = APIRouter(prefix="/v1/causal", tags=["causal"])


@router.get("/effects", responses=documented(503))
async def get_effects(release: CurrentRelease) -> Effects:
    """Each causal question with its estimate, interval and checks; empty for a shop without campaign data."""
    manifest = release.manifest
    return Effects(release_id=manifest.release_id, as_of=manifest.inputs.as_of, effects=list(release.effects))
