"""What an answer rests on, back to the sources."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.answers import CachedRoute, answered
from api.dependencies import CurrentRelease
from api.problems import ProblemError, documented
from api.schemas.lineage import AnswerLineage
from api.services.lineage import FORMS, NullAnswer, UnknownAnswer, described, origin

router = APIRouter(prefix="/v1/lineage", tags=["lineage"], route_class=CachedRoute)
Answer = Annotated[
    str,
    Path(
        min_length=1,
        max_length=300,
        description=f"What is asked of: {', '.join(FORMS)}.",
        examples=["customer:C00000008:churn"],
    ),
]


@router.get("/{answer}", response_model=AnswerLineage, responses=documented(404, 503))
async def get_lineage(answer: Answer, release: CurrentRelease) -> Response:
    """The release's file, the model with its version and features, and all assets with their snapshots in the lake."""
    if release.lineage is None:
        raise ProblemError(
            404,
            "no-lineage",
            f"Release {release.manifest.release_id} has no lineage: it was made by an older Cartograph. "
            "`cartograph run` makes a new one.",
        )
    try:
        found = origin(release, answer)
    except UnknownAnswer as error:
        raise ProblemError(404, "unknown-answer", f"Release {release.manifest.release_id} {error}") from None
    except NullAnswer as error:
        raise ProblemError(404, "no-answer", f"Release {release.manifest.release_id} {error}") from None
    return answered(described(release, release.lineage, answer, found))
