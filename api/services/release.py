"""A release in memory: verified, opened and checked as a whole before anything is answered from it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from api.services.churn import ChurnModel
from api.services.customers import Customers
from api.services.recommendations import Recommendations
from cartograph.releases import Manifest, ReleaseError, ReleaseStore
from cartograph.releases.contents import (
    CHURN_CARD,
    CHURN_MODEL,
    CUSTOMERS,
    EFFECTS,
    EFFECTS_FILE,
    RECOMMENDATIONS,
    RECOMMENDER,
    RECOMMENDER_CARD,
    SHOP,
    SIMILAR,
    ContentError,
    Effect,
    ShopCard,
    open_customers,
)

CHURN_FILES = (CHURN_MODEL, CHURN_CARD)
RECOMMENDER_FILES = (RECOMMENDER, RECOMMENDER_CARD, RECOMMENDATIONS, SIMILAR)


class UnusableRelease(ReleaseError):  # noqa: N818 - named like the other release errors
    """The files of a release are as released, but not what this service reads."""


@dataclass(frozen=True)
class LoadedRelease:
    """All that is answered from. A request works on one such object from beginning to end.

    `churn` and `recommendations` are None in the release of a shop that is too young for the model.
    """

    manifest: Manifest
    shop: ShopCard
    customers: Customers
    churn: ChurnModel | None
    recommendations: Recommendations | None
    effects: tuple[Effect, ...]


def load_release(store: ReleaseStore, release_id: str) -> LoadedRelease:
    """Fetch and verify a release, and open its files.

    Raises:
        ReleaseError: it is unknown or damaged, or a file of it is missing or has another form.
    """
    folder = store.fetch(release_id)
    manifest = store.get(release_id)
    has_churn, has_recommender = (
        any(manifest.file(name) for name in files) for files in (CHURN_FILES, RECOMMENDER_FILES)
    )
    of_models = (*(CHURN_FILES if has_churn else ()), *(RECOMMENDER_FILES if has_recommender else ()))
    missing = [name for name in (SHOP, CUSTOMERS, EFFECTS_FILE, *of_models) if not manifest.file(name)]
    if missing:
        raise UnusableRelease(f"Release {release_id} has no {', '.join(missing)}. {_CURE}")
    try:
        return LoadedRelease(
            manifest=manifest,
            shop=ShopCard.model_validate_json((folder / SHOP).read_bytes()),
            customers=Customers(open_customers(folder / CUSTOMERS)),
            churn=ChurnModel.load(folder) if has_churn else None,
            recommendations=Recommendations.load(folder) if has_recommender else None,
            effects=EFFECTS.validate_json((folder / EFFECTS_FILE).read_bytes()),
        )
    except (ContentError, ValidationError) as error:
        raise UnusableRelease(f"Release {release_id} cannot be served: {error}. {_CURE}") from None


_CURE = "Publish a new one with `cartograph run`, or go back with `cartograph release rollback`."
