"""What is done to the service by who runs it: see which releases there are, take one, go back."""

import asyncio
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path

from api.dependencies import CurrentServing
from api.problems import ProblemError, documented
from api.schemas.admin import Served, StoredRelease, StoredReleases
from api.services.release import LoadedRelease
from api.services.serving import Known
from api.strict import StrictRoute
from cartograph.releases import NoRelease, ReleaseError, StoreUnavailable, UnknownRelease

router = APIRouter(prefix="/v1/admin", tags=["admin"], route_class=StrictRoute)
ReleaseId = Annotated[
    str,
    Path(
        max_length=64,
        description="The release, as `GET /v1/admin/releases` lists it.",
        examples=["2026-01-01-0123456789ab"],
    ),
]


@router.get("/releases", responses=documented(503))
async def list_releases(serving: CurrentServing) -> StoredReleases:
    """All releases of the store: which one is current, which is served, which were refused and why."""
    try:
        known = await asyncio.to_thread(serving.known)
    except ReleaseError as error:
        raise _unavailable(error) from None
    served = serving.state.release
    return StoredReleases(
        release_id=served.manifest.release_id if served else None,
        problem=serving.state.problem,
        releases=[_stored(one) for one in known],
    )


@router.post("/releases/{release_id}/activate", responses=documented(404, 409, 503))
async def activate(release_id: ReleaseId, serving: CurrentServing) -> Served:
    """Verify a release beside the served one, make it the current one and serve it, without waiting for the pointer.

    A release that is refused changes nothing. The other worker processes follow the pointer.
    """
    before = serving.state.release
    return await _switched(lambda: serving.activate(release_id), before.manifest.release_id if before else None)


@router.post("/releases/{release_id}/rollback", responses=documented(404, 409, 503))
async def roll_back(release_id: ReleaseId, serving: CurrentServing) -> Served:
    """Go back from this release: make the one current that was so before it, and serve it.

    Where this release is not current, nothing is changed, and the answer tells what is: so the same request sent again
    goes back once.
    """
    return await _switched(lambda: serving.rollback(release_id), release_id)


async def _switched(change: Callable[[], LoadedRelease], before: str | None) -> Served:
    try:
        release = await asyncio.to_thread(change)
    except UnknownRelease as error:
        raise ProblemError(404, "unknown-release", str(error)) from None
    except NoRelease as error:
        raise ProblemError(409, "no-earlier-release", str(error)) from None
    except StoreUnavailable as error:
        raise _unavailable(error) from None
    except ReleaseError as error:
        raise ProblemError(409, "release-refused", str(error)) from None
    now = release.manifest
    return Served(
        release_id=now.release_id,
        as_of=now.inputs.as_of,
        previous_release_id=before if before != now.release_id else None,
    )


def _unavailable(error: ReleaseError) -> ProblemError:
    return ProblemError(503, "releases-unavailable", str(error))


def _stored(known: Known) -> StoredRelease:
    manifest, refusal = known.manifest, known.refusal
    return StoredRelease(
        release_id=known.release_id,
        state="served"
        if known.is_served
        else "loaded"
        if known.is_loaded
        else "refused"
        if refusal or known.problem
        else "stored",
        is_current=known.is_current,
        as_of=manifest.inputs.as_of if manifest else None,
        created_at=manifest.created_at if manifest else None,
        size_bytes=sum(entry.size for entry in manifest.files) if manifest else None,
        signed_by=manifest.signature.key_id if manifest and manifest.signature else None,
        problem=known.problem or (refusal.reason if refusal else None),
        refused_at=refusal.refused_at if refusal else None,
    )
