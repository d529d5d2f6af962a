"""Products by id: the demand that is forecast, and what to order."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from api.dependencies import CurrentRelease
from api.problems import ProblemError, documented
from api.schemas.products import Advice, DemandDay, DemandForecast, ReorderAdvice, ReorderList
from api.services.products import Products
from api.services.release import LoadedRelease, ReleasedDemand

router = APIRouter(prefix="/v1", tags=["products"])
ProductId = Annotated[str, Path(min_length=1, max_length=128, description="The shop's own id of the product.")]
MOST = 1000


@router.get("/products/{product_id}/demand", responses=documented(404, 422, 503))
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


@router.get("/products/{product_id}/reorder", responses=documented(404, 422, 503))
async def get_reorder(product_id: ProductId, release: CurrentRelease) -> ReorderAdvice:
    """What to order of the product now."""
    rows = _advice(release).rows(product_id)
    if not rows:
        raise _unknown(release, product_id, "reorder advice", "It is not on offer, or its stock is not counted.")
    return ReorderAdvice(release_id=release.manifest.release_id, **rows[0])


@router.get("/reorder-advice", responses=documented(404, 422, 503))
async def get_reorder_advice(
    release: CurrentRelease,
    limit: Annotated[int, Query(ge=1, le=MOST, description="Products on a page.")] = 100,
    after: Annotated[str, Query(max_length=128, description="`next` of the page before; empty for the first.")] = "",
) -> ReorderList:
    """What to order now of all products whose stock is known, page by page, by product."""
    rows, demand = _advice(release).after(after, limit + 1), _demand(release)
    page = rows[:limit]
    return ReorderList(
        model_version=demand.card.version,
        release_id=release.manifest.release_id,
        as_of=demand.as_of,
        next=page[-1]["product_id"] if len(rows) > limit else None,
        advice=[Advice.model_validate(row) for row in page],
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
    return ProblemError(404, "unknown-product", detail)
