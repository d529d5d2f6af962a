"""The figures that a shop is steered by."""

from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api.answers import CachedRoute, Cursor, answered, page_after
from api.dependencies import CurrentRelease
from api.problems import ProblemError, documented, invalid_request
from api.schemas.kpis import KpiFigures, KpiList
from api.schemas.moments import Day
from api.schemas.numbers import WRITTEN
from api.schemas.problem import InvalidPart
from api.services.cursors import cursor as cursor_after
from api.services.kpis import TOTAL, Asked, Grain, Kpis
from api.services.release import LoadedRelease
from cartograph.releases.contents.kpis import Kpi

router = APIRouter(prefix="/v1/kpis", tags=["kpis"], route_class=CachedRoute)
DEFAULT_DAYS = 30
Name = Annotated[
    str,
    Path(min_length=1, max_length=100, description="The figure, as `GET /v1/kpis` lists it.", examples=["net_revenue"]),
]


@router.get("", response_model=KpiList, responses=documented(404, 503))
async def list_kpis(release: CurrentRelease) -> Response:
    """The figures that there are, what each can be split by, and the days they are known of."""
    kpis, manifest = _kpis(release), release.manifest
    listed = [
        {
            "name": kpi.name,
            "description": kpi.description,
            "unit": _unit(kpi, release),
            "dimensions": _dimensions(kpi),
        }
        for kpi in kpis.kpis.values()
    ]
    about = {"release_id": manifest.release_id, "as_of": manifest.inputs.as_of}
    return answered({**about, "first": kpis.first, "last": kpis.last, "kpis": listed})


@router.get("/{name}", response_model=KpiFigures, responses=documented(404, 503))
def get_kpi(  # in a thread of its own: years by day and value take milliseconds, in which others are answered
    name: Name,
    release: CurrentRelease,
    first: Annotated[
        Day | None,
        Query(
            alias="from",
            description=f"The first day; without it, {DEFAULT_DAYS} days to `to`.",
            examples=["2025-12-01"],
        ),
    ] = None,
    last: Annotated[
        Day | None,
        Query(
            alias="to", description="The last day, which counts; without it, the last known.", examples=["2025-12-31"]
        ),
    ] = None,
    by: Annotated[
        str | None, Query(max_length=50, description="A dimension of the figure to split it by.", examples=["country"])
    ] = None,
    grain: Annotated[Grain, Query(description="How the days are put together; `total` is the whole range.")] = "day",
    limit: Annotated[int, Query(ge=1, le=1000, description="Figures on a page.", examples=[50]), WRITTEN] = 100,
    cursor: Cursor = "",
) -> Response:
    """A figure for a range of days, by period and dimension.

    Days that the release knows nothing of are left out: the answer's `first` and `last` are what is told of. Where none
    is left, that is a 404 problem. Customers
    are counted anew in each period, so those of a month are fewer than the sum of its days.
    """
    kpis = _kpis(release)
    kpi = kpis.kpis.get(name)
    if kpi is None:
        detail = f"Release {release.manifest.release_id} has no figure {name}; it has {', '.join(kpis.kpis)}."
        raise ProblemError(404, "unknown-kpi", detail)
    if by is not None and by not in _dimensions(kpi):
        has = ", ".join(_dimensions(kpi)) or "none"
        wrong = InvalidPart(detail=f"{name} has no such dimension; it has {has}", parameter="by")
        raise invalid_request([wrong], _SUITING)
    end = min(last or kpis.last, kpis.last)
    start = max(first or _before(end), kpis.first)
    if first is not None and last is not None and first > last:
        raise invalid_request([InvalidPart(detail="it comes after `to`", parameter="from")])
    if start > end:
        told = f"Release {release.manifest.release_id} knows figures of the days from {kpis.first} to {kpis.last}."
        raise ProblemError(404, "no-days", f"{told} None of them is asked for.")
    asked = Asked(start, end, grain, by or TOTAL)
    listed = f"{name} by {by} and {grain}"
    after = tuple(page_after(cursor, listed, 2))
    found = [one for one in kpis.figures(kpi, asked) if (one.first.isoformat(), one.value) > after]
    page = found[:limit]
    return answered(
        {
            "name": name,
            "unit": _unit(kpi, release),
            "release_id": release.manifest.release_id,
            "as_of": release.manifest.inputs.as_of,
            "first": start,
            "last": end,
            "grain": grain,
            "by": by,
            "next": cursor_after(listed, page[-1].first.isoformat(), page[-1].value) if len(found) > limit else None,
            "figures": [
                {"first": one.first, "last": one.last, "value": one.value if by else None, "figure": one.figure}
                for one in page
            ],
        }
    )


_SUITING = " GET /v1/kpis lists the figures with their dimensions; by category, take sales for revenue."


def _before(end: date) -> date:
    return end - timedelta(days=min(DEFAULT_DAYS - 1, (end - date.min).days))


def _kpis(release: LoadedRelease) -> Kpis:
    if release.kpis is None:
        raise ProblemError(
            404,
            "no-kpis",
            f"Release {release.manifest.release_id} has no figures: it was made by an older Cartograph, or of a shop "
            "without an order. `cartograph run` makes a new one.",
        )
    return release.kpis


def _dimensions(kpi: Kpi) -> list[str]:
    return [dimension for dimension in kpi.dimensions if dimension != TOTAL]


def _unit(kpi: Kpi, release: LoadedRelease) -> str:
    return release.shop.currency if kpi.unit == "amount" else kpi.unit
