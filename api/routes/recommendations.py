"""Recommended products."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from api.answers import CachedRoute, answered
from api.dependencies import CurrentOnline, CurrentRelease
from api.problems import ProblemError, documented
from api.routes.customers import CustomerId
from api.routes.products import ProductId
from api.schemas.numbers import WRITTEN
from api.schemas.recommendations import (
    BasketRecommendations,
    BasketRequest,
    CustomerRecommendations,
    SessionRecommendations,
    SessionRequest,
    SimilarProducts,
)
from api.services.online import OnlineState, moment_of
from api.services.recommendations import Recommendations
from api.services.release import LoadedRelease
from cartograph.releases.contents.tables import LISTED
from cartograph.windows import at_midnight

router = APIRouter(prefix="/v1", tags=["recommendations"], route_class=CachedRoute)
LIMIT = 10
OF_LATE = timedelta(days=1)
"""Events from so long before the as-of date on count: the release may have been made before its last day was loaded."""
Limit = Annotated[int, Query(ge=1, le=LISTED, description="How many products at most.", examples=[5]), WRITTEN]
Fallback = Annotated[
    Literal["popular"] | None,
    Query(
        description="For a customer that the release does not know: what is popular of late, in place of a 404. In a "
        "release without a recommender, for every customer: what is expected to sell most.",
        examples=["popular"],
    ),
]


@router.get(
    "/customers/{customer_id}/recommendations",
    response_model=CustomerRecommendations,
    responses=documented(404, 503),
)
async def get_customer_recommendations(
    customer_id: CustomerId,
    release: CurrentRelease,
    online: CurrentOnline,
    limit: Limit = LIMIT,
    fallback: Fallback = None,
) -> Response:
    """The products that suit a customer best, as they were listed for the release. None of them is off sale.

    Of whom events have come from the day before the release's as-of date on, the list is held against them: what they
    bought is left out, and what they looked at in their latest session counts as much as all before. A customer who has
    bought nothing yet gets what is popular of late.
    """
    answer = recommended(release, online, customer_id, limit)
    if answer is None and fallback:
        answer = _held(release, online, customer_id, _popular(release), limit)
    if answer is None:
        _recommendations(release)
        release_id = release.manifest.release_id
        raise ProblemError(404, "unknown-customer", f"Release {release_id} has no customer {customer_id}.")
    return answered(answer)


def recommended(
    release: LoadedRelease, online: OnlineState, customer_id: str, limit: int = LIMIT
) -> dict[str, Any] | None:
    """The answer of `get_customer_recommendations`; None for an unknown customer, and without a recommender."""
    known = release.recommendations
    row = known.of_customer(customer_id) if known else None
    if known is None or row is None:
        return None
    return _held(release, online, customer_id, row, limit)


@router.get("/products/{product_id}/similar", response_model=SimilarProducts, responses=documented(404, 503))
async def get_similar_products(product_id: ProductId, release: CurrentRelease, limit: Limit = LIMIT) -> Response:
    """What the purchase of a product leads to, and what often stands in the same order. None of it is off sale.

    It is told of a product that is off sale itself, too: what to show in its place.
    """
    recommendations = _recommendations(release)
    row = recommendations.of_product(product_id)
    if row is None:
        raise _unknown_product(release, product_id)
    similar = {
        "product_id": row["similar_product_ids"],
        "score": row["similar_scores"],
        "source": row["similar_sources"],
    }
    together = {"product_id": row["bought_together_product_ids"], "score": row["bought_together_scores"]}
    return answered(
        {
            **release.made_by(row["model_version"]),
            "product_id": product_id,
            "is_available": recommendations.is_available(product_id),
            "similar": _ranked(similar, limit),
            "bought_together": _ranked(together, limit),
        }
    )


@router.post("/recommendations/session", responses=documented(404, 413, 503))
async def recommend_for_session(
    request: SessionRequest, release: CurrentRelease, online: CurrentOnline
) -> SessionRecommendations:
    """What suits somebody who has just seen these products; what is popular of late where there are none.

    Products that the release does not know, as what is new in the shop, are passed over.
    """
    recommendations = _recommendations(release)
    seen = online.session(request.visitor_id) if request.visitor_id else ()
    found = recommendations.of_session([*seen, *request.products], request.limit)
    ranked = [{"rank": at, **suggestion._asdict()} for at, suggestion in enumerate(found, 1)]
    version = recommendations.card.version
    return SessionRecommendations.model_validate(
        {
            **release.made_by(version),
            "recommendations": ranked,
            "unknown_products": recommendations.unknown(request.products),
        }
    )


@router.post("/recommendations/basket", responses=documented(404, 413, 503))
async def recommend_for_basket(request: BasketRequest, release: CurrentRelease) -> BasketRecommendations:
    """What goes with a basket: what often stands in one order with its products, then what they lead to.

    Products that the release does not know, as what is new in the shop, are passed over.
    """
    recommendations = _recommendations(release)
    found = recommendations.of_basket(request.products, request.limit)
    ranked = [{"rank": at, **suggestion._asdict()} for at, suggestion in enumerate(found, 1)]
    version = recommendations.card.version
    return BasketRecommendations.model_validate(
        {
            **release.made_by(version),
            "recommendations": ranked,
            "unknown_products": recommendations.unknown(request.products),
        }
    )


def _held(
    release: LoadedRelease, online: OnlineState, customer_id: str, row: dict[str, Any], limit: int
) -> dict[str, Any]:
    """The answer of a list, held against what the customer has done of late where there is a recommender."""
    since = at_midnight(release.manifest.inputs.as_of) - OF_LATE
    recent = online.customer(customer_id, moment_of(since))
    if recent is None or release.recommendations is None:
        return _customer_answer(release, customer_id, row, limit)
    found = release.recommendations.just_now(row, recent)[:limit]
    made_by = release.made_by(row["model_version"])
    ranked = [{"rank": at, **one._asdict()} for at, one in enumerate(found, 1)]
    return {**made_by, "customer_id": customer_id, "recommendations": ranked}


def _popular(release: LoadedRelease) -> dict[str, Any]:
    """What to show to whom nothing is known of, as a customer's row."""
    if release.recommendations is not None:
        return release.recommendations.of_stranger(LISTED)
    if release.demand is None:
        raise _no_recommender(release, ", nor a demand forecast to tell what is popular")
    most = release.demand.most
    return {
        "model_version": release.demand.card.version,
        "product_ids": list(most),
        "scores": list(most.values()),
        "sources": ["popularity"] * len(most),
        "because_product_ids": [None] * len(most),
    }


def _recommendations(release: LoadedRelease) -> Recommendations:
    if release.recommendations is None:
        raise _no_recommender(release)
    return release.recommendations


def _no_recommender(release: LoadedRelease, more: str = "") -> ProblemError:
    return ProblemError(
        404,
        "no-model",
        f"Release {release.manifest.release_id} has no recommender{more}: the shop's history was too short to train "
        "one. The check has_enough_data of models/product_recommender says what is needed.",
    )


def _unknown_product(release: LoadedRelease, product_id: str) -> ProblemError:
    return ProblemError(
        404, "unknown-product", f"Release {release.manifest.release_id} has no product {product_id[:100]}."
    )


def _customer_answer(release: LoadedRelease, customer_id: str, row: dict[str, Any], limit: int) -> dict[str, Any]:
    columns = {
        "product_id": row["product_ids"],
        "score": row["scores"],
        "source": row["sources"],
        "because_product_id": row["because_product_ids"],
    }
    made_by = release.made_by(row["model_version"])
    return {**made_by, "customer_id": customer_id, "recommendations": _ranked(columns, limit)}


def _ranked(columns: dict[str, list[Any]], limit: int) -> list[dict[str, Any]]:
    rows = zip(*(values[:limit] for values in columns.values()), strict=True)
    return [{"rank": at, **dict(zip(columns, row, strict=True))} for at, row in enumerate(rows, 1)]
