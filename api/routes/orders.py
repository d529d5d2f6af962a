"""Orders at the checkout: how likely a fraud is, and what became of them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Path, Request

from api.dependencies import CurrentOnline, CurrentRelease, LatestMoment
from api.observability.metrics import UNWRITTEN
from api.problems import ProblemError, documented, invalid_request, pointer
from api.routes.predictions import classifier_of, probability_of, record
from api.schemas.orders import CountedOutcome, OrderAtCheckout, OrderJudgement, OrderOutcome
from api.schemas.problem import InvalidPart
from api.services.journal import JournalUnavailableError
from api.services.online import moment_of
from api.services.orders import broken_rules, instruments, key, placed
from api.services.release import LoadedRelease
from api.strict import StrictRoute
from cartograph.releases.order_history import key_of
from ml_assets.core.features.order_catalogue import ORDER_RISK
from ml_assets.core.features.order_history import OrderHistory
from ml_assets.core.features.order_ledger import Outcome

RETRY_SECONDS = 1

router = APIRouter(prefix="/v1/orders", tags=["orders"], route_class=StrictRoute)
_KNOWN = frozenset(feature.name for feature in ORDER_RISK.features)


@router.post("/risk", responses=documented(404, 413, 503))
async def judge_order(
    request: OrderAtCheckout, release: CurrentRelease, online: CurrentOnline, latest: LatestMoment, call: Request
) -> OrderJudgement:
    """The probability that this order is a fraud, from what is known of who places it and with what.

    From then on it counts as placed, for the orders after it; asked again with the same `order_id`, it counts once.
    With another card, amount or customer it is a further attempt, which is judged as it is and counts for how often a
    customer, card, device, network or address orders.
    """
    model, history = classifier_of(release, "order_fraud"), _history(release)
    unknown = [feature.name for feature in model.card.features if feature.name not in _KNOWN]
    if unknown:
        raise ProblemError(
            404,
            "no-checkout-model",
            f"The fraud model of release {release.manifest.release_id} takes {', '.join(unknown)}, which no order has. "
            "POST /v1/predict/order_fraud takes its features as they are.",
        )
    order = placed(request, history)
    wrong = [*_to_come(request.placed_at, latest, "placed_at")]
    if request.customer and request.customer.registered_at:
        wrong += _to_come(request.customer.registered_at, latest, "customer", "registered_at")
    if order.us < history.as_of_us:
        wrong.append(_part(f"the release knows the orders before {release.manifest.inputs.as_of} (UTC)", "placed_at"))
    if order.total_cents < 0:
        wrong.append(_part("it is more than there is to pay", "discount_amount"))
    if wrong:
        raise invalid_request(wrong)
    products = [line.product_id for line in request.lines]
    with _kept():
        features, attempt = await asyncio.to_thread(online.judge, history, order, products)
    row = np.array([[features[feature.name] for feature in model.card.features]], dtype=np.float64)
    probability = probability_of(model, row)
    record(call, model.card, release, [probability])
    return OrderJudgement(
        order_id=request.order_id,
        attempt=attempt,
        probability=probability,
        decision="review" if model.is_review(row, probability) else "accept",
        rules=broken_rules(features),
        instruments=instruments(features),
        features=features,
        model_version=model.card.version,
        release_id=release.manifest.release_id,
        as_of=release.manifest.inputs.as_of,
    )


@router.post("/{order_id}/outcomes", responses=documented(404, 413, 503))
async def count_outcome(
    order_id: Annotated[
        str, Path(min_length=1, max_length=128, description="The shop's own id of the order.", examples=["O00004711"])
    ],
    request: OrderOutcome,
    release: CurrentRelease,
    online: CurrentOnline,
    latest: LatestMoment,
) -> CountedOutcome:
    """Tell what became of an order, so that the next one of the same customer, card or group knows it. Once is enough.

    What was before the release's `as_of` is known already.
    """
    if wrong := _to_come(request.at, latest, "at"):
        raise invalid_request(wrong)
    with _kept():
        outcome = Outcome(
            kind=request.outcome,
            order=key_of("order", order_id),
            customer=key("customer", request.customer_id),
            card=key("card", request.card),
            device=key("device", request.device),
            us=moment_of(request.at),
        )
        counted = await asyncio.to_thread(online.settle, _history(release), outcome)
    return CountedOutcome(order_id=order_id, counted=counted, release_id=release.manifest.release_id)


@contextmanager
def _kept() -> Iterator[None]:
    """Count and answer that an order cannot be kept now; what is wrong, and where, is the operator's to know."""
    try:
        yield
    except JournalUnavailableError:
        UNWRITTEN.inc()
        raise ProblemError(
            503,
            "order-journal-unavailable",
            "What is told of orders cannot be kept now; the service's log says why. Nothing of this request counts; "
            "send it again.",
            headers={"Retry-After": str(RETRY_SECONDS)},
        ) from None


def _history(release: LoadedRelease) -> OrderHistory:
    if release.orders is None:
        raise ProblemError(
            404,
            "no-order-history",
            f"Release {release.manifest.release_id} has no history of orders: it was made before there was one, or "
            "the shop has no fraud model. `cartograph run` makes a release that has; until then "
            "POST /v1/predict/order_fraud takes the features as they are.",
        )
    return release.orders


def _to_come(moment: datetime, latest: datetime, *where: str) -> list[InvalidPart]:
    return [_part(f"it is still to come: the latest that is taken is {latest}", *where)] if moment > latest else []


def _part(detail: str, *where: str) -> InvalidPart:
    return InvalidPart(detail=detail, pointer=pointer(where))
