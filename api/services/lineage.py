"""What an answer rests on: the assets from a prediction back to the sources, as the release has them on record."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from api.services.release import LoadedRelease
from cartograph.releases.contents.files import (
    BUDGET_FILE,
    CLV_MODEL,
    CUSTOMERS,
    DEMAND,
    DEMAND_REASONS,
    EFFECTS_FILE,
    EXPERIMENTS_FILE,
    KPIS,
    OWN_PREDICTIONS,
    POLICIES_FILE,
    PRODUCTS,
    RECOMMENDATIONS,
    RECOMMENDER,
    REORDER,
    SEGMENTS_MODEL,
    SIMILAR,
    UPLIFT_MODEL,
    own_model_files,
)
from cartograph.releases.contents.lineage import LineageNode


class Origin(NamedTuple):
    """Where an answer begins: the release's file, the asset behind it, and the model, where one made it."""

    file: str
    asset: str
    model: str | None = None


class UnknownAnswer(LookupError):  # noqa: N818 - it is the answer that is unknown
    """There is no such answer, or this release does not have it."""


class NullAnswer(LookupError):  # noqa: N818
    """Who or what is asked of is known, and the release says nothing of it: the answer is null, or a 404."""


_OF_CUSTOMERS = {
    "profile": Origin(CUSTOMERS, "features/customer_features"),
    "churn": Origin(CUSTOMERS, "predictions/churn_scores", "churn_classifier"),
    "purchase": Origin(CUSTOMERS, "predictions/purchase_propensities", "purchase_propensity"),
    "behaviour": Origin(CUSTOMERS, "predictions/customer_segments", "customer_segments"),
    "lifetime_value": Origin(CUSTOMERS, "predictions/lifetime_values", "customer_lifetime_value"),
    "next_best_action": Origin(CUSTOMERS, "predictions/next_best_actions", "campaign_uplift"),
    "recommendations": Origin(RECOMMENDATIONS, "predictions/product_recommendations", "product_recommender"),
}
_OF_PRODUCTS = {
    "profile": Origin(PRODUCTS, "features/product_features"),
    "similar": Origin(SIMILAR, "predictions/similar_products", "product_recommender"),
    "demand": Origin(DEMAND, "predictions/demand_forecasts", "demand_forecaster"),
    "demand_explanation": Origin(DEMAND_REASONS, "predictions/demand_explanations", "demand_forecaster"),
    "reorder": Origin(REORDER, "predictions/reorder_advice", "demand_forecaster"),
}
_CALLED = {
    "churn": "churn_classifier",
    "propensity": "purchase_propensity",
    "lifetime_value": "customer_lifetime_value",
}
"""Models that `POST /v1/predict/{model}` calls otherwise than the release does."""
_MODELS = {
    "customer_lifetime_value": CLV_MODEL,
    "product_recommender": RECOMMENDER,
    "demand_forecaster": DEMAND,
    "customer_segments": SEGMENTS_MODEL,
    "campaign_uplift": UPLIFT_MODEL,
}
"""The files of models that are not in ONNX. Of demand, which is not asked itself, it is that of what it predicts."""
_VERSIONS = {
    "churn": "churn_model_version",
    "purchase": "propensity_model_version",
    "behaviour": "segments_model_version",
    "lifetime_value": "clv_model_version",
    "next_best_action": "uplift_model_version",
}
"""The column of a customer's row that is null where the answer is."""
FORMS = (
    *(f"customer:<id>:{name}" for name in _OF_CUSTOMERS),
    *(f"product:<id>:{name}" for name in _OF_PRODUCTS),
    "prediction:<model>",
    "kpi:<name>",
    "effect:<question>",
    "policy:<question>",
    "experiment:<name>",
    "budget",
)


def origin(release: LoadedRelease, answer: str) -> Origin:
    """Where the answer called `answer` begins, as one of `FORMS`. The colon parts it at both ends: an id may have some.

    Raises:
        UnknownAnswer: it is of no such form, or the release has no such answer.
        NullAnswer: it says nothing of this customer or product.
    """
    kind, _, rest = answer.partition(":")
    match kind:
        case "customer" | "product":
            subject, _, name = rest.rpartition(":")
            known = (_OF_CUSTOMERS if kind == "customer" else _OF_PRODUCTS).get(name)
            found = known if subject and known and _has_subject(release, kind, subject) else None
            if found and not _is_said(release, kind, subject, name):
                raise NullAnswer(f"has the {kind} {subject}, and no {name} of it: {_WHY_NULL}")
        case "prediction":
            model = _CALLED.get(rest, rest)
            is_known = model in release.manifest.inputs.models or any(card.name == model for card in release.cards)
            file = _MODELS.get(model, own_model_files(model)[0])
            found = Origin(file, f"models/{model}", model) if is_known else None
        case "kpi":
            found = Origin(KPIS, "serving/kpis") if release.kpis and rest in release.kpis.kpis else None
        case "effect":
            is_known = any(effect.name == rest for effect in release.effects)
            found = Origin(EFFECTS_FILE, f"causal/{rest}") if is_known else None
        case "policy":
            is_known = any(policy.name == rest for policy in release.policies)
            found = Origin(POLICIES_FILE, f"causal/{rest}_policy") if is_known else None
        case "experiment":
            is_known = any(one.name == rest for one in release.experiments)
            found = Origin(EXPERIMENTS_FILE, f"experiments/{rest}") if is_known else None
        case "budget" if answer == kind:
            found = Origin(BUDGET_FILE, "causal/budget_allocation")
        case _:
            found = None
    if found is None or release.manifest.file(found.file) is None:
        found = _of_own_model(release, kind, rest)
    if found is None:
        raise UnknownAnswer(f"has no answer {answer}. What is asked of is {', '.join(FORMS)}.")
    return found


def described(
    release: LoadedRelease, assets: Mapping[str, LineageNode], answer: str, found: Origin
) -> dict[str, object]:
    """The way from the answer that begins at `found` to its sources; `assets` are those of the release, by key."""
    manifest, made_of = release.manifest, ancestors(assets, found.asset)
    file = manifest.file(found.file)
    return {
        "answer": answer,
        "release_id": manifest.release_id,
        "as_of": manifest.inputs.as_of,
        "created_at": manifest.created_at,
        "shop": manifest.inputs.shop,
        "git_commit": manifest.inputs.git_commit,
        "file": {"path": found.file, "sha256": file.sha256 if file else None},
        "model": _model(release, found.model) if found.model else None,
        "assets": [
            {
                "key": one.key,
                "upstream": one.upstream,
                "snapshot": manifest.inputs.snapshots.get(one.key.replace("/", ".")),
            }
            for one in made_of
        ],
        "sources": sorted(one.key for one in made_of if not one.upstream),
    }


def ancestors(assets: Mapping[str, LineageNode], of: str) -> list[LineageNode]:
    """The asset `of` and those that it is made of, the nearest first, as far as they are on record."""
    found, waiting = {of: None}, deque([of])
    while waiting:
        key = waiting.popleft()
        for upstream in assets[key].upstream if key in assets else ():
            if upstream not in found:
                found[upstream] = None
                waiting.append(upstream)
    return [assets.get(key) or LineageNode(key=key, upstream=()) for key in found]


def _model(release: LoadedRelease, name: str) -> dict[str, object] | None:
    version = release.manifest.inputs.models.get(name)
    card = next((card for card in release.cards if card.name == name), None)
    if version is None and card is None:
        return None
    return {
        "name": name,
        "version": version or (card.version if card else None),
        "trained_as_of": card.as_of if card else None,
        "features": [feature.name for feature in card.features] if card else [],
    }


def _has_subject(release: LoadedRelease, kind: str, subject: str) -> bool:
    if kind == "customer":
        return release.customers.find(subject) is not None
    return release.knows_product(subject)


def _is_said(release: LoadedRelease, kind: str, subject: str, name: str) -> bool:
    """Whether the release says what is called `name` of a customer or product that it knows."""
    recommendations, demand, products = release.recommendations, release.demand, release.products
    said: object
    match kind, name:
        case "customer", "recommendations":
            said = recommendations and recommendations.of_customer(subject)
        case "customer", _:
            row = release.customers.find(subject)
            return name not in _VERSIONS or getattr(row, _VERSIONS[name]) is not None
        case _, "profile":
            said = products and products.find(subject)
        case _, "similar":
            said = recommendations and recommendations.of_product(subject)
        case _, "demand":
            return release.has_forecast(subject)
        case _, "demand_explanation":
            said = demand and demand.reasons and demand.reasons.find(subject)
        case _:
            said = demand and demand.advice and demand.advice.rows(subject)
    return bool(said)


def _of_own_model(release: LoadedRelease, kind: str, rest: str) -> Origin | None:
    """What one of the shop's own models says of a customer: `customer:<id>:<model>`."""
    subject, _, name = rest.rpartition(":")
    if kind != "customer" or name not in release.own.models or not _has_subject(release, kind, subject):
        return None
    if all(one.model != name for one in release.own.of(subject)):
        raise NullAnswer(f"has the {kind} {subject}, and no {name} of it: {_WHY_NULL}")
    return Origin(OWN_PREDICTIONS, f"predictions/{name}_predictions", name)


_WHY_NULL = (
    "there is no model of it in the release, or nothing to predict, as churn of who has left, or demand for what is "
    "off sale; or no feature, as of what was never sold. GET of the customer or product shows what there is."
)
