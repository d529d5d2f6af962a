"""Randomised experiments: what was decided, why, and the memo."""

from typing import Annotated

from fastapi import APIRouter, Path

from api.answers import CachedRoute, Svg
from api.dependencies import CurrentRelease
from api.problems import ProblemError, documented
from api.routes.models import Picture
from api.schemas.experiments import Experiment, Experiments, ExperimentSummary

router = APIRouter(prefix="/v1/experiments", tags=["experiments"], route_class=CachedRoute)
Name = Annotated[
    str,
    Path(
        min_length=1,
        max_length=100,
        description="The experiment, as `GET /v1/experiments` has it.",
        examples=["checkout_redesign"],
    ),
]


@router.get("", responses=documented(503))
async def list_experiments(release: CurrentRelease) -> Experiments:
    """Each experiment with its decision; empty for a shop without experiments."""
    manifest = release.manifest
    return Experiments(
        release_id=manifest.release_id,
        as_of=manifest.inputs.as_of,
        experiments=[
            ExperimentSummary(
                name=one.name,
                description=one.description,
                state=one.state,
                verdict=one.verdict,
                choice=one.choice,
                reasons=list(one.reasons),
            )
            for one in release.experiments
        ],
    )


@router.get("/{name}", responses=documented(404, 503))
async def get_experiment(name: Name, release: CurrentRelease) -> Experiment:
    """One experiment: its checks, estimates, decision, and the memo as Markdown."""
    found = next((one for one in release.experiments if one.name == name), None)
    if found is None:
        known = ", ".join(one.name for one in release.experiments) or "none"
        raise ProblemError(404, "no-experiment", f"The release has no experiment {name}; it has {known}.")
    return Experiment(release_id=release.manifest.release_id, experiment=found)


@router.get("/{name}/{picture}.svg", response_class=Svg, responses=documented(404, 503))
async def get_experiment_picture(name: Name, picture: Picture, release: CurrentRelease) -> Svg:
    """A picture of the memo: `effects`, `sequence` or `assignment`."""
    content = release.pages.get(f"experiments/{name}/{picture}.svg")
    if content is None:
        raise ProblemError(
            404,
            "no-picture",
            f"Release {release.manifest.release_id} has no picture {picture} of an experiment {name}.",
        )
    return Svg(content)
