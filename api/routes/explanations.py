"""Why a released customer has the predictions that the release has of them."""

from __future__ import annotations

import asyncio
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Path, Response

from api.answers import CachedRoute, answered
from api.dependencies import CurrentRelease, SeesPersonal
from api.problems import ProblemError, documented
from api.routes.customers import CustomerId
from api.routes.predictions import explainer_of
from api.schemas.predictions import CustomerExplanation
from api.services.customers import CustomerRow
from api.services.explained import LOG_ODDS, explained, without_values
from api.services.lifetime_values import LifetimeValues
from api.services.model import ReleasedModel
from api.services.next_best_actions import NextBestActions
from api.services.release import LoadedRelease

router = APIRouter(prefix="/v1/customers", tags=["customers"], route_class=CachedRoute)
Model = Annotated[
    str,
    Path(
        max_length=128,
        description="`churn`, `propensity`, `lifetime_value`, `next_best_action` or the name of one of the shop's own "
        "models.",
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
    best one that was turned down.
    """
    release_id = release.manifest.release_id
    row = release.customers.find(customer_id)
    if row is None:
        raise ProblemError(404, "unknown-customer", f"Release {release_id} has no customer {customer_id}.")
    asked, score = _scored(release, row, model)
    if asked is None or score is None:
        raise ProblemError(
            404,
            "no-prediction",
            f"Release {release_id} has no prediction of {model[:100]} for customer {customer_id}. "
            f"GET /v1/customers/{customer_id} shows those that it has.",
        )
    given = [row.features.get(feature.name) for feature in asked.card.features]
    features = np.array([np.nan if value is None else float(value) for value in given])
    unit = LOG_ODDS if isinstance(asked, ReleasedModel) else release.shop.currency
    found = await asyncio.to_thread(explained, explainer_of(asked, release), asked.card, features, unit)
    hidden = () if sees_personal else [one.name for one in asked.card.features if one.name in release.personal]
    answer = {
        "customer_id": customer_id,
        "model": model,
        "score": score,
        "explanation": without_values(found, hidden),
        "masked": hidden,
        **release.made_by(asked.card.version),
    }
    return answered(answer)


def _scored(
    release: LoadedRelease, row: CustomerRow, model: str
) -> tuple[ReleasedModel | LifetimeValues | NextBestActions | None, float | None]:
    """The model of that name, and what it predicts of the customer."""
    if model == "churn":
        return release.churn, row.churn_probability
    if model == "propensity":
        return release.propensity, row.purchase_probability
    if model == "lifetime_value":
        return release.lifetime_values, row.lifetime_value_amount
    if model == "next_best_action":
        return release.actions, row.added_margin_amount
    scores = {one.model: one.probability for one in release.own.of(row.customer_id)}
    return release.own.models.get(model), scores.get(model)
