"""The models behind the release, as cards for people. What the models take and answer is in the other routes."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.answers import CachedRoute, Svg
from api.dependencies import CurrentRelease
from api.problems import ProblemError, documented
from api.schemas.models import ModelInput, ReleasedModels, ReleasedVersion
from api.services.release import LoadedRelease
from cartograph.releases.contents.files import CARD_PAGE

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=CachedRoute)
Name = Annotated[
    str,
    Path(
        min_length=1,
        max_length=100,
        description="The model, as `GET /v1/models` lists it.",
        examples=["churn_classifier"],
    ),
]
Picture = Annotated[
    str, Path(pattern=r"^[a-z0-9_]+$", max_length=100, description="A picture that the page shows.", examples=["gains"])
]


class Markdown(Response):
    """A page of Markdown."""

    media_type = "text/markdown"


@router.get("", responses=documented(503))
async def list_models(release: CurrentRelease) -> ReleasedModels:
    """The models that the release was made with, and their versions."""
    inputs = release.manifest.inputs
    return ReleasedModels(
        release_id=release.manifest.release_id,
        as_of=inputs.as_of,
        models=[
            ReleasedVersion(name=name, version=version, has_card=CARD_PAGE.format(name=name) in release.pages)
            for name, version in sorted(inputs.models.items())
        ],
    )


@router.get("/{name}/card", response_class=Markdown, responses=documented(404, 503))
async def get_card(name: Name, release: CurrentRelease) -> Markdown:
    """The model's card as Markdown; its pictures are found beside it."""
    return Markdown(_page(release, name, CARD_PAGE.format(name=name)))


@router.get("/{name}/schema", responses=documented(404, 503))
async def get_schema(name: Name, release: CurrentRelease) -> ModelInput:
    """The JSON schema (2020-12) of the `features` that a POST to the model takes."""
    schema = release.schemas.get(name)
    if schema is None:
        known = ", ".join(sorted(release.schemas)) or "none"
        raise ProblemError(
            404,
            "no-schema",
            f"Release {release.manifest.release_id} has no schema of the input of a model {name!r}; it has {known}. A "
            "model that takes no features has none.",
        )
    version = next(card.version for card in release.cards if card.name == name)
    return ModelInput(release_id=release.manifest.release_id, model=name, model_version=version, input_schema=schema)


@router.get("/{name}/{picture}.svg", response_class=Svg, responses=documented(404, 503))
async def get_picture(name: Name, picture: Picture, release: CurrentRelease) -> Svg:
    """A picture of the model's card."""
    return Svg(_page(release, name, f"models/{name}/{picture}.svg"))


def _page(release: LoadedRelease, name: str, path: str) -> bytes:
    content = release.pages.get(path)
    if content is None:
        raise ProblemError(
            404,
            "no-card",
            f"Release {release.manifest.release_id} has no {path.rpartition('/')[2]} of a model {name!r}. "
            "GET /v1/models lists the models and says which have a card.",
        )
    return content
