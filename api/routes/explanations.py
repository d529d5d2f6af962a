"""Why a released customer has the predictions that the release has of them."""

from __future__ import annotations

import asyncio
from typing import Annotated, NamedTuple

import numpy as np
from fastapi import APIRouter, Path, Response

from api.answers import CachedRoute, answered
from api.dependencies import CurrentRelease, SeesPersonal
from api.problems import ProblemError, documented
from api.routes.customers import CustomerId
from api.routes.predictions import require_explainer
from api.schemas.predictions import CustomerExplanation
from api.services.customers import CustomerRow
from api.services.explained import LOG_ODDS, explained, without_values
from api.services.explanations import ReleasedExplainer
from api.services.release import LoadedRelease
from cartograph.releases.contents.models import ModelCard

router = APIRouter(prefix="/v1/customers", tags=["customers"], route_class=CachedRoute)
Model = Annotated[
    str,
    Path(
        max_length=128,
        description="`churn`, `propensity`, `lifetime_value`, `next_best_action`, `behaviour` or the name of one of "
        "the shop's own models.",
        examples=["churn"],
    ),
]


@router.get("/{customer_id}/explanations/{model}", response_model=CustomerExplanation, responses=documented(404, 503))
async def get_customer_explanation(
    customer_id: CustomerId, model: Model, release: CurrentRelease, sees_personal: SeesPersonal
) -> Response:
    """How much each feature of a customer moves a prediction of them. Values that are personal need the scope `pii`.

    Without such a prediction there is none: of who has not bought in 180 days there is no churn probability, and no
    lifetime value of who has not ordered. Of the next best action it is the margin that the action adds, or of the
    best one that was turned down. Of `behaviour` it is by how much the customer is nearer to their segment than to the
    next one.
    """
    release_id = release.manifest.release_id
    row = release.customers.find(customer_id)
    if row is None:
        raise ProblemError(404, "unknown-customer", f"Release {release_id} has no customer {customer_id}.")
    asked = _asked(release, row, model)
    if asked is None:
        raise ProblemError(
            404,
            "no-prediction",
            f"Release {release_id} has no prediction of {model[:100]} for customer {customer_id}. "
            f"GET /v1/customers/{customer_id} shows those that it has.",
        )
    given = [row.features.get(feature.name) for feature in asked.card.features]
    features = np.array([np.nan if value is None else float(value) for value in given])
    explainer = require_explainer(asked.explainer, asked.card, release)
    found = await asyncio.to_thread(explained, explainer, asked.card, features, asked.unit)
    hidden = () if sees_personal else [one.name for one in asked.card.features if one.name in release.personal]
    answer = {
        "customer_id": customer_id,
        "model": model,
        "score": found["prediction"] if asked.score is None else asked.score,
        "explanation": without_values(found, hidden),
        "masked": hidden,
        **release.made_by(asked.card.version),
    }
    return answered(answer)


class _Asked(NamedTuple):
    """A model and what explains it; `score` is what it says of the customer, None for what is no number."""

    card: ModelCard
    explainer: ReleasedExplainer | None
    score: float | None
    unit: str


def _asked(release: LoadedRelease, row: CustomerRow, model: str) -> _Asked | None:
    """What is explained of the customer; None where the release has no such prediction of them."""
    if model == "behaviour":
        segments, number = release.segments, row.segment_number
        if segments is None or number is None:
            return None
        return _Asked(segments.card, segments.explainer(number), None, "squared_deviations")
    amounts = {
        "lifetime_value": (release.lifetime_values, row.lifetime_value_amount),
        "next_best_action": (release.actions, row.added_margin_amount),
    }
    probabilities = {
        "churn": (release.churn, row.churn_probability),
        "propensity": (release.propensity, row.purchase_probability),
        **{one.model: (release.own.models.get(one.model), one.probability) for one in release.own.of(row.customer_id)},
    }
    found, score = (amounts | probabilities).get(model, (None, None))
    if found is None or score is None:
        return None
    return _Asked(found.card, found.explainer, score, release.shop.currency if model in amounts else LOG_ODDS)
