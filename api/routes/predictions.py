"""Predictions from given features, of one customer or order and of many.

The body of such a request is read from its bytes and the answer written from plain values: to make objects of both
would take longer than the prediction. What the document says of either is held by tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from api.answers import answered
from api.dependencies import CurrentRelease
from api.direct import DirectRoute
from api.problems import ProblemError, documented, invalid_request, pointer
from api.schemas.predictions import (
    BatchPrediction,
    BatchRequest,
    ChurnPrediction,
    LifetimeValueBatch,
    LifetimeValuePrediction,
    OrderFraudPrediction,
    OwnPrediction,
    PredictionRequest,
    PropensityPrediction,
)
from api.schemas.problem import InvalidPart
from api.services.explained import LOG_ODDS, all_explained, explained
from api.services.explanations import MOST_EXPLAINED, ReleasedExplainer
from api.services.features import FeatureProblem, FeaturesError, Matrix
from api.services.lifetime_values import LifetimeValues
from api.services.model import ReleasedModel
from api.services.prediction_log import PredictionLog
from api.services.release import LoadedRelease
from cartograph.releases.contents.models import ModelCard

router = APIRouter(prefix="/v1", tags=["predictions"], route_class=DirectRoute)

Explain = Annotated[bool, Query(description="Whether to say how much each feature moves the prediction.")]
ModelName = Annotated[
    str, Path(max_length=128, description="The name of one of the shop's own models.", examples=["refund_soon"])
]
BatchModel = Annotated[
    str,
    Path(
        max_length=128,
        description="`churn`, `propensity`, `order_fraud` or the name of one of the shop's own models.",
        examples=["churn"],
    ),
]
ERRORS = documented(404, 413, 503)
_ABSENT = {
    "churn": "churn model: the shop's history was too short to train one. The check has_enough_data of "
    "models/churn_classifier says what is needed.",
    "propensity": "purchase propensity: the shop's history was too short to train one, or the release was made before "
    "it was served. The check has_enough_data of models/purchase_propensity says what is needed.",
    "order_fraud": "fraud model: the shop delivers no payments or no refunds, or has too few chargebacks to learn "
    "from. The check has_enough_data of models/order_fraud says what is needed.",
    "lifetime_value": "lifetime values: the shop's history was too short to fit them, or the release was made before "
    "they were served. The check has_enough_data of models/customer_lifetime_value says what is needed.",
}


def _body_of(schema: type[PredictionRequest | BatchRequest]) -> dict[str, Any]:
    """What the document says of a body that a route reads itself."""
    content = {"application/json": {"schema": schema.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


ONE, MANY = _body_of(PredictionRequest), _body_of(BatchRequest)


@router.post("/predict/churn", response_model=ChurnPrediction, responses=ERRORS, openapi_extra=ONE)
async def predict_churn(request: Request, release: CurrentRelease, explain: Explain = False) -> Response:
    """The probability that a customer with these features is lost. Every feature of the model must be given."""
    return await _probability(request, release, "churn", explain=explain)


@router.post("/predict/propensity", response_model=PropensityPrediction, responses=ERRORS, openapi_extra=ONE)
async def predict_propensity(request: Request, release: CurrentRelease, explain: Explain = False) -> Response:
    """The probability that a customer with these features orders in the next 30 days. Every feature must be given."""
    return await _probability(request, release, "propensity", explain=explain)


@router.post("/predict/order_fraud", response_model=OrderFraudPrediction, responses=ERRORS, openapi_extra=ONE)
async def predict_order_fraud(request: Request, release: CurrentRelease, explain: Explain = False) -> Response:
    """The probability that an order with these features will be charged back, and whether it is worth a look.

    Every feature must be given; `POST /v1/orders/risk` takes the order itself, and knows its features.
    """
    return await _probability(request, release, "order_fraud", explain=explain)


@router.post("/predict/lifetime_value", response_model=LifetimeValuePrediction, responses=ERRORS, openapi_extra=ONE)
async def predict_lifetime_value(request: Request, release: CurrentRelease, explain: Explain = False) -> Response:
    """What a customer with these features will bring in the next 365 days; one who has ordered already.

    The same features give the same answer with each release of the same id: the request may be repeated.
    """
    model = _lifetime_values(release)
    try:
        row = model.given.one(await request.body())
        values = model.values(row)
    except FeaturesError as error:
        raise _invalid(error) from None
    record(request, model.card, release, values.value.tolist())
    answer = {
        "amount": float(values.value[0]),
        "expected_orders": float(values.orders_365d[0]),
        "expected_revenue": float(values.revenue[0]),
        "alive_probability": float(values.alive[0]),
        "currency": release.shop.currency,
        **release.made_by(model.card.version),
    }
    if explain:
        answer["explanation"] = await _explained(model, release, row[0], release.shop.currency, explained)
    return answered(answer)


@router.post("/predict/lifetime_value/batch", response_model=LifetimeValueBatch, responses=ERRORS, openapi_extra=MANY)
async def predict_lifetime_values(request: Request, release: CurrentRelease, explain: Explain = False) -> Response:
    """What up to 1,000 customers will bring; with `explain` up to 100."""
    model = _lifetime_values(release)
    try:
        rows = model.given.many(await request.body())
        if explain:
            _require_few(rows)
        values = model.values(rows)
    except FeaturesError as error:
        raise _invalid(error) from None
    record(request, model.card, release, values.value.tolist())
    answer = {
        "amounts": values.value.tolist(),
        "expected_orders": values.orders_365d.tolist(),
        "expected_revenues": values.revenue.tolist(),
        "alive_probabilities": values.alive.tolist(),
        "currency": release.shop.currency,
        **release.made_by(model.card.version),
    }
    if explain:
        answer["explanation"] = await _explained(model, release, rows, release.shop.currency, all_explained)
    return answered(answer)


@router.post("/predict/{model}/batch", response_model=BatchPrediction, responses=ERRORS, openapi_extra=MANY)
async def predict_many(
    model: BatchModel, request: Request, release: CurrentRelease, explain: Explain = False
) -> Response:
    """The probabilities for up to 1,000 customers or orders; with `explain` for up to 100.

    Of each feature of the model a list is given, with a value for each row. One wrong value refuses the request.
    """
    asked = classifier_of(release, model)
    try:
        rows = asked.given.many(await request.body())
        if explain:
            _require_few(rows)
        probabilities = await asyncio.to_thread(asked.probabilities, rows)  # meanwhile the next request is read
    except FeaturesError as error:
        raise _invalid(error) from None
    record(request, asked.card, release, probabilities.tolist())
    answer = {"model": model, "probabilities": probabilities.tolist(), **release.made_by(asked.card.version)}
    if explain:
        answer["explanation"] = await _explained(asked, release, rows, LOG_ODDS, all_explained)
    return answered(answer)


@router.post("/predict/{model}", response_model=OwnPrediction, responses=ERRORS, openapi_extra=ONE)
async def predict_own(
    model: ModelName, request: Request, release: CurrentRelease, explain: Explain = False
) -> Response:
    """What one of the shop's own models predicts of a customer with these features. Every feature must be given."""
    return await _probability(request, release, model, explain=explain, named={"model": model})


async def _probability(
    request: Request,
    release: LoadedRelease,
    name: str,
    *,
    explain: bool,
    named: dict[str, str] | None = None,
) -> Response:
    model = classifier_of(release, name)
    row, probability = predicted(model, await request.body())
    record(request, model.card, release, [probability])
    answer: dict[str, Any] = {**(named or {}), "probability": probability, **release.made_by(model.card.version)}
    if model.card.review is not None:
        answer["decision"] = "review" if model.is_review(row, probability) else "accept"
    if explain:
        answer["explanation"] = await _explained(model, release, row[0], LOG_ODDS, explained)
    return answered(answer)


def record(request: Request, card: ModelCard, release: LoadedRelease, scores: Sequence[float]) -> None:
    """Record scores that are answered with: probabilities, or of lifetime values the amounts."""
    log: PredictionLog = request.app.state.predictions
    log.record(card.name, card.version, release.manifest.release_id, scores)


def predicted(model: ReleasedModel, body: bytes) -> tuple[Matrix, float]:
    """The model's input and its probability; what is wrong with the features becomes a 422."""
    try:
        row = model.given.one(body)
    except FeaturesError as error:
        raise _invalid(error) from None
    return row, probability_of(model, row)


def probability_of(model: ReleasedModel, row: Matrix) -> float:
    """The probability of a row of features; where the model has no answer, that becomes a 422."""
    try:
        return model.probability(row)
    except FeaturesError as error:
        raise _invalid(error) from None


async def _explained(
    model: ReleasedModel | LifetimeValues,
    release: LoadedRelease,
    rows: Matrix,
    unit: str,
    explain: Callable[[ReleasedExplainer, ModelCard, Matrix, str], dict[str, Any]],
) -> dict[str, Any]:
    explainer = require_explainer(model.explainer, model.card, release)
    return await asyncio.to_thread(explain, explainer, model.card, rows, unit)


def require_explainer(
    explainer: ReleasedExplainer | None, card: ModelCard, release: LoadedRelease
) -> ReleasedExplainer:
    """What explains the model of the card; a 404 problem in a release that was made before there was such."""
    if explainer is None:
        raise ProblemError(
            404,
            "no-explanation",
            f"Release {release.manifest.release_id} does not explain {card.name}: it was made before explanations "
            "were, or there was no customer or order to explain it by. `cartograph run` makes a new one.",
        )
    return explainer


def classifier_of(release: LoadedRelease, name: str) -> ReleasedModel:
    """The model of that name; a 404 problem in a release that has none."""
    found = release.classifier(name)
    if found is not None:
        return found
    if name in _ABSENT:
        raise ProblemError(404, "no-model", f"Release {release.manifest.release_id} has no {_ABSENT[name]}")
    known = ", ".join(sorted(release.own.models)) or "none"
    raise ProblemError(
        404,
        "no-model",
        f"Release {release.manifest.release_id} has no model {name} of the shop's own; it has {known}. The "
        f"checks of models/{name} say why one that the shop brings is missing.",
    )


def _lifetime_values(release: LoadedRelease) -> LifetimeValues:
    if release.lifetime_values is None:
        raise ProblemError(404, "no-model", f"Release {release.manifest.release_id} has no {_ABSENT['lifetime_value']}")
    return release.lifetime_values


def _require_few(rows: Matrix) -> None:
    if len(rows) > MOST_EXPLAINED:
        raise FeaturesError(
            [
                FeatureProblem(
                    ["features"],
                    f"up to {MOST_EXPLAINED} rows are explained at a time, got {len(rows)}: send them in parts",
                )
            ]
        )


def _invalid(error: FeaturesError) -> ProblemError:
    parts = [InvalidPart(detail=found.message, pointer=pointer(found.path)) for found in error.problems]
    return invalid_request(parts, " GET /v1/release lists the model's features.")
