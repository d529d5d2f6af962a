"""Products by id: what is known of each, the demand that is forecast, and what to order."""

import math
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from api.answers import CachedRoute, Cursor, answered, page_after
from api.dependencies import CurrentRelease
from api.problems import ProblemError, documented
from api.schemas.numbers import WRITTEN
from api.schemas.products import (
    Advice,
    DemandDay,
    DemandExplanation,
    DemandForecast,
    Product,
    ProductList,
    ReorderAdvice,
    ReorderList,
)
from api.services.cursors import cursor as cursor_after
from api.services.products import Products, explained, features, listed, listed_without_catalogue, profile
from api.services.release import LoadedRelease, ReleasedDemand

router = APIRouter(prefix="/v1", tags=["products"], route_class=CachedRoute)
ProductId = Annotated[
    str, Path(min_length=1, max_length=128, description="The shop's own id of the product.", examples=["P00000042"])
]
MOST = 1000
Limit = Annotated[int, Query(ge=1, le=MOST, description="Products on a page.", examples=[50]), WRITTEN]


@router.get("/products", response_model=ProductList, responses=documented(404, 503))
async def list_products(release: CurrentRelease, limit: Limit = 100, cursor: Cursor = "") -> Response:
    """All products that the shop knows, also those that it does not sell any more; page by page, by product.

    Of a release without a recommender, and so without a catalogue, those that have a forecast or features.
    """
    (after,) = page_after(cursor, "products")
    found = _listed(release, after, limit + 1)
    following = cursor_after("products", found[limit - 1]["product_id"]) if len(found) > limit else None
    return answered({**_of(release), "next": following, "products": found[:limit]})


@router.get("/products/{product_id}", response_model=Product, responses=documented(404, 503))
async def get_product(product_id: ProductId, release: CurrentRelease) -> Response:
    """A product's features, and whether it is sold still; or else what to show in its place.

    Of a release without a recommender, and so without a catalogue, the products are known that have a forecast or
    features.
    """
    if not release.knows_product(product_id):
        if release.recommendations is None:
            raise _without_catalogue(release)
        raise _unknown(release, product_id, "product", "The shop has never offered it.")
    found = profile(release.recommendations, product_id, has_forecast=release.has_forecast(product_id))
    return answered({**_of(release), **found, **features(release.products, product_id)})


@router.get("/products/{product_id}/demand", responses=documented(404, 503))
async def get_demand(product_id: ProductId, release: CurrentRelease) -> DemandForecast:
    """The units expected on each of the days from `as_of` on, with intervals."""
    rows = _demand(release).forecasts.rows(product_id)
    if not rows:
        raise _unknown(release, product_id, "forecast", "It is not on offer, or has never been sold.")
    return DemandForecast(
        product_id=product_id,
        model_version=rows[0]["model_version"],
        release_id=release.manifest.release_id,
        as_of=rows[0]["as_of"],
        days=[DemandDay.model_validate(row) for row in rows],
    )


@router.get(
    "/products/{product_id}/explanations/demand", response_model=DemandExplanation, responses=documented(404, 503)
)
async def get_demand_explanation(product_id: ProductId, release: CurrentRelease) -> Response:
    """Why the product is expected to sell what it is in the first seven days from `as_of` on.

    What moves the logarithm of the units expected on a day, averaged over these days, so that contributions multiply:
    one of 0.1 is 11 % more, one of -0.1 is 10 % less.
    """
    demand = _demand(release)
    if not demand.forecasts.rows(product_id):
        raise _unknown(release, product_id, "forecast", "It is not on offer, or has never been sold.")
    row = demand.reasons.find(product_id) if demand.reasons is not None else None
    if row is None:
        raise ProblemError(
            404,
            "no-explanation",
            f"Release {release.manifest.release_id} does not explain the forecast of {product_id}: it was made before "
            "explanations of demand were. `cartograph run` makes a new one.",
        )
    found = explained(row)
    answer = {"product_id": product_id, "units_a_day": math.exp(found["prediction"]), "explanation": found}
    return answered({**answer, **release.made_by(row["model_version"]), "as_of": demand.as_of})


@router.get("/products/{product_id}/reorder", responses=documented(404, 503))
async def get_reorder(product_id: ProductId, release: CurrentRelease) -> ReorderAdvice:
    """What to order of the product now."""
    rows = _advice(release).rows(product_id)
    if not rows:
        raise _unknown(release, product_id, "reorder advice", "It is not on offer, or its stock is not counted.")
    return ReorderAdvice(release_id=release.manifest.release_id, **rows[0])


@router.get("/reorder-advice", responses=documented(404, 503))
async def get_reorder_advice(
    release: CurrentRelease,
    limit: Limit = 100,
    cursor: Cursor = "",
) -> ReorderList:
    """What to order now of all products whose stock is known, page by page, by product."""
    (after,) = page_after(cursor, "reorder-advice")
    rows, demand = _advice(release).after(after, limit + 1), _demand(release)
    page = rows[:limit]
    return ReorderList(
        model_version=demand.card.version,
        release_id=release.manifest.release_id,
        as_of=demand.as_of,
        next=cursor_after("reorder-advice", page[-1]["product_id"]) if len(rows) > limit else None,
        advice=[Advice.model_validate(row) for row in page],
    )


def _of(release: LoadedRelease) -> dict[str, str]:
    manifest = release.manifest
    return {"release_id": manifest.release_id, "as_of": manifest.inputs.as_of.isoformat()}


def _listed(release: LoadedRelease, after: str, limit: int) -> list[dict[str, Any]]:
    if release.recommendations is not None:
        return listed(release.recommendations, after, limit)
    if release.products is None and release.demand is None:
        raise _without_catalogue(release)
    forecasts = release.demand.forecasts if release.demand else None
    return listed_without_catalogue(release.products, forecasts, after, limit)


def _without_catalogue(release: LoadedRelease) -> ProblemError:
    return ProblemError(
        404,
        "no-model",
        f"Release {release.manifest.release_id} has no catalogue of products, which comes with the recommender: "
        "the check has_enough_data of models/product_recommender says what is needed.",
    )


def _demand(release: LoadedRelease) -> ReleasedDemand:
    if release.demand is None:
        raise ProblemError(
            404,
            "no-model",
            f"Release {release.manifest.release_id} has no demand forecast: there was no model when it was made. "
            "The check has_enough_data of models/demand_forecaster says what is needed.",
        )
    return release.demand


def _advice(release: LoadedRelease) -> Products:
    advice = _demand(release).advice
    if advice is None:
        raise ProblemError(
            404,
            "no-stock",
            f"Release {release.manifest.release_id} has no reorder advice: the shop delivers no dataset `inventory`.",
        )
    return advice


def _unknown(release: LoadedRelease, product_id: str, what: str, why: str) -> ProblemError:
    detail = f"Release {release.manifest.release_id} has no {what} for {product_id}. {why}"
    if release.recommendations is None:
        detail += " The release has no catalogue of products, without a recommender: of others than it forecasts or "
        detail += "has features of it knows nothing."
    return ProblemError(404, "not-on-offer" if release.knows_product(product_id) else "unknown-product", detail)
