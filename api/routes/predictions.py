"""Predictions from given features."""

from fastapi import APIRouter

from api.dependencies import CurrentRelease
from api.problems import ProblemError, documented, invalid_request, pointer
from api.schemas.predictions import ChurnPrediction, ChurnRequest
from api.schemas.problem import InvalidPart
from api.services.churn import FeaturesError

router = APIRouter(prefix="/v1/predict", tags=["predictions"])


@router.post("/churn", responses=documented(404, 413, 422, 503))
async def predict_churn(request: ChurnRequest, release: CurrentRelease) -> ChurnPrediction:
    """The probability that a customer with these features is lost. Every feature of the model must be given."""
    model = release.churn
    if model is None:
        raise ProblemError(
            404,
            "no-model",
            f"Release {release.manifest.release_id} has no churn model: the shop's history was too short to train one. "
            "The check has_enough_data of models/churn_classifier says what is needed.",
        )
    try:
        probability = model.probability(model.row(request.features))
    except FeaturesError as error:
        parts = [
            InvalidPart(detail=found.message, pointer=pointer(["features", *([found.name] if found.name else [])]))
            for found in error.problems
        ]
        raise invalid_request(parts, " GET /v1/release lists the model's features.") from None
    return ChurnPrediction(
        probability=probability,
        model_version=model.card.version,
        release_id=release.manifest.release_id,
        as_of=release.manifest.inputs.as_of,
    )
