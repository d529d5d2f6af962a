"""A release in memory: verified, opened and checked as a whole before anything is answered from it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from api.services.customers import Customers
from api.services.model import ReleasedModel
from api.services.recommendations import Recommendations
from cartograph.releases import Manifest, ReleaseError, ReleaseStore
from cartograph.releases.contents import (
    CHURN_CARD,
    CHURN_MODEL,
    CUSTOMERS,
    EFFECTS,
    EFFECTS_FILE,
    FRAUD_CARD,
    FRAUD_MODEL,
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
FRAUD_FILES = (FRAUD_MODEL, FRAUD_CARD)
RECOMMENDER_FILES = (RECOMMENDER, RECOMMENDER_CARD, RECOMMENDATIONS, SIMILAR)
ALL_FILES = (CHURN_FILES, FRAUD_FILES, RECOMMENDER_FILES)
"""The files of each model: a release has all of one, or none."""


class UnusableRelease(ReleaseError):  # noqa: N818 - named like the other release errors
    """The files of a release are as released, but not what this service reads."""


@dataclass(frozen=True)
class LoadedRelease:
    """All that is answered from. A request works on one such object from beginning to end.

    `churn`, `fraud` and `recommendations` are None in the release of a shop that is too young for the model, or
    delivers too little.
    """

    manifest: Manifest
    shop: ShopCard
    customers: Customers
    churn: ReleasedModel | None
    fraud: ReleasedModel | None
    recommendations: Recommendations | None
    effects: tuple[Effect, ...]


def load_release(store: ReleaseStore, release_id: str) -> LoadedRelease:
    """Fetch and verify a release, and open its files.

    Raises:
        ReleaseError: it is unknown or damaged, or a file of it is missing or has another form.
    """
    folder = store.fetch(release_id)
    manifest = store.get(release_id)
    models = [files for files in ALL_FILES if any(manifest.file(name) for name in files)]
    needed = (SHOP, CUSTOMERS, EFFECTS_FILE, *(name for files in models for name in files))
    missing = [name for name in needed if not manifest.file(name)]
    if missing:
        raise UnusableRelease(f"Release {release_id} has no {', '.join(missing)}. {_CURE}")
    try:
        return LoadedRelease(
            manifest=manifest,
            shop=ShopCard.model_validate_json((folder / SHOP).read_bytes()),
            customers=Customers(open_customers(folder / CUSTOMERS)),
            churn=ReleasedModel.load(folder, *CHURN_FILES) if CHURN_FILES in models else None,
            fraud=_deciding(ReleasedModel.load(folder, *FRAUD_FILES)) if FRAUD_FILES in models else None,
            recommendations=Recommendations.load(folder) if RECOMMENDER_FILES in models else None,
            effects=EFFECTS.validate_json((folder / EFFECTS_FILE).read_bytes()),
        )
    except (ContentError, ValidationError) as error:
        raise UnusableRelease(f"Release {release_id} cannot be served: {error}. {_CURE}") from None


def _deciding(model: ReleasedModel) -> ReleasedModel:
    if model.card.review is None:
        raise ContentError(f"{FRAUD_CARD} has no review, so it is not said when an order is worth a look")
    return model


_CURE = "Publish a new one with `cartograph run`, or go back with `cartograph release rollback`."
