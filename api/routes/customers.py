"""Customers by id."""

from typing import Annotated

from fastapi import APIRouter, Path

from api.dependencies import CurrentRelease, SeesPersonal
from api.problems import ProblemError, documented
from api.schemas.customers import Customer
from api.services.customers import answer

router = APIRouter(prefix="/v1/customers", tags=["customers"])
CustomerId = Annotated[str, Path(min_length=1, max_length=128, description="The shop's own id of the customer.")]


@router.get("/{customer_id}", responses=documented(404, 422, 503))
async def get_customer(customer_id: CustomerId, release: CurrentRelease, sees_personal: SeesPersonal) -> Customer:
    """A customer's features, segments and predictions, as of the release's date. Personal data need the scope `pii`."""
    release_id = release.manifest.release_id
    row = release.customers.find(customer_id)
    if row is None:
        raise ProblemError(404, "unknown-customer", f"Release {release_id} has no customer {customer_id}.")
    if not sees_personal:
        row = row.without(release.personal)
    return answer(row, release.own.of(customer_id), release_id)
