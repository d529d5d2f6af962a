"""The release that is served."""

from fastapi import APIRouter

from api.answers import CachedRoute
from api.dependencies import CurrentRelease
from api.problems import documented
from api.schemas.release import Release, Window

router = APIRouter(prefix="/v1/release", tags=["release"], route_class=CachedRoute)


@router.get("", responses=documented(503))
async def get_release(release: CurrentRelease) -> Release:
    """What is served, what it was made from, and which features its models take."""
    manifest = release.manifest
    inputs = manifest.inputs
    start, end = inputs.window
    return Release(
        release_id=manifest.release_id,
        as_of=inputs.as_of,
        created_at=manifest.created_at,
        window=Window(start=start, end=end),
        shop=release.shop,
        customers=len(release.customers),
        models=release.cards,
        snapshots=inputs.snapshots,
        checks=list(inputs.checks),
        git_commit=inputs.git_commit,
    )
