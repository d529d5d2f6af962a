"""Customers by id."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from api.answers import CachedRoute, Cursor, answered, page_after
from api.dependencies import CurrentRelease, SeesPersonal
from api.problems import ProblemError, documented
from api.schemas.customers import Customer, CustomerList
from api.schemas.numbers import WRITTEN
from api.services.cursors import cursor as cursor_after
from api.services.customers import answer
from api.services.release import LoadedRelease

router = APIRouter(prefix="/v1/customers", tags=["customers"], route_class=CachedRoute)
CustomerId = Annotated[
    str, Path(min_length=1, max_length=128, description="The shop's own id of the customer.", examples=["C00000008"])
]


@router.get("", response_model=CustomerList, responses=documented(503))
async def list_customers(
    release: CurrentRelease,
    limit: Annotated[int, Query(ge=1, le=1000, description="Customers on a page.", examples=[50]), WRITTEN] = 100,
    cursor: Cursor = "",
) -> Response:
    """The ids of all customers, page by page."""
    (after,) = page_after(cursor, "customers")
    found = release.customers.after(after, limit + 1)
    manifest = release.manifest
    content = {
        "release_id": manifest.release_id,
        "as_of": manifest.inputs.as_of,
        "next": cursor_after("customers", found[limit - 1]) if len(found) > limit else None,
        "customer_ids": found[:limit],
    }
    return answered(content)


@router.get("/{customer_id}", response_model=Customer, responses=documented(404, 503))
async def get_customer(customer_id: CustomerId, release: CurrentRelease, sees_personal: SeesPersonal) -> Response:
    """A customer's features, segments and predictions, as of the release's date. Personal data need the scope `pii`."""
    found = look_up(release, customer_id, sees_personal=sees_personal)
    if found is None:
        release_id = release.manifest.release_id
        raise ProblemError(404, "unknown-customer", f"Release {release_id} has no customer {customer_id}.")
    return answered(found)


def look_up(release: LoadedRelease, customer_id: str, *, sees_personal: bool) -> dict[str, Any] | None:
    """The answer of `get_customer`, None for an unknown customer."""
    row = release.customers.find(customer_id)
    if row is None:
        return None
    shown = row if sees_personal else row.without(release.personal)
    return answer(shown, release.own.of(customer_id), release.manifest.release_id)
