"""Predictions from given features."""

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Path

from api.dependencies import CurrentRelease, Predictions
from api.problems import ProblemError, documented, invalid_request, pointer
from api.schemas.predictions import (
    ChurnPrediction,
    OrderRisk,
    OrderRiskRequest,
    OwnPrediction,
    PredictionRequest,
)
from api.schemas.problem import InvalidPart
from api.services.model import FeaturesError, ReleasedModel

router = APIRouter(prefix="/v1", tags=["predictions"])


@router.post("/predict/churn", responses=documented(404, 413, 422, 503))
async def predict_churn(request: PredictionRequest, release: CurrentRelease, log: Predictions) -> ChurnPrediction:
    """The probability that a customer with these features is lost. Every feature of the model must be given."""
    model = release.churn
    if model is None:
        raise ProblemError(
            404,
            "no-model",
            f"Release {release.manifest.release_id} has no churn model: the shop's history was too short to train one. "
            "The check has_enough_data of models/churn_classifier says what is needed.",
        )
    _, probability = _predicted(model, request.features)
    log.record(model.card.name, model.card.version, release.manifest.release_id, [probability])
    return ChurnPrediction(
        probability=probability,
        model_version=model.card.version,
        release_id=release.manifest.release_id,
        as_of=release.manifest.inputs.as_of,
    )


@router.post("/predict/{model}", responses=documented(404, 413, 422, 503))
async def predict_own(
    model: Annotated[str, Path(max_length=128, description="The name of one of the shop's own models.")],
    request: PredictionRequest,
    release: CurrentRelease,
    log: Predictions,
) -> OwnPrediction:
    """What one of the shop's own models predicts of a customer with these features. Every feature must be given."""
    found = release.own.models.get(model)
    if found is None:
        known = ", ".join(sorted(release.own.models)) or "none"
        raise ProblemError(
            404,
            "no-model",
            f"Release {release.manifest.release_id} has no model {model} of the shop's own; it has {known}. The "
            f"checks of models/{model} say why one that the shop brings is missing.",
        )
    _, probability = _predicted(found, request.features)
    log.record(found.card.name, found.card.version, release.manifest.release_id, [probability])
    return OwnPrediction(
        model=model,
        probability=probability,
        model_version=found.card.version,
        release_id=release.manifest.release_id,
        as_of=release.manifest.inputs.as_of,
    )


@router.post("/orders/risk", responses=documented(404, 413, 422, 503))
async def judge_order(request: OrderRiskRequest, release: CurrentRelease, log: Predictions) -> OrderRisk:
    """The probability that an order with these features is a fraud, and whether it is worth a look."""
    model = release.fraud
    if model is None:
        raise ProblemError(
            404,
            "no-model",
            f"Release {release.manifest.release_id} has no fraud model: the shop delivers no payments or no refunds, "
            "or has too few chargebacks to learn from. The check has_enough_data of models/order_fraud says what is "
            "needed.",
        )
    row, probability = _predicted(model, request.features)
    log.record(model.card.name, model.card.version, release.manifest.release_id, [probability])
    return OrderRisk(
        probability=probability,
        decision="review" if model.is_review(row, probability) else "accept",
        model_version=model.card.version,
        release_id=release.manifest.release_id,
        as_of=release.manifest.inputs.as_of,
    )


def _predicted(model: ReleasedModel, features: dict[str, Any]) -> tuple[npt.NDArray[np.float32], float]:
    """The model's input and its probability; what is wrong with the features becomes a 422."""
    try:
        row = model.row(features)
        return row, model.probability(row)
    except FeaturesError as error:
        parts = [
            InvalidPart(detail=found.message, pointer=pointer(["features", *([found.name] if found.name else [])]))
            for found in error.problems
        ]
        raise invalid_request(parts, " GET /v1/release lists the model's features.") from None
