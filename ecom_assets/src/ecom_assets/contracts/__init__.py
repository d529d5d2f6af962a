"""One contract for each raw dataset of the canonical shop: the shape in which every source delivers its rows.

A dataset's columns, key, rules and references belong here, one module for a subject. How rows are held against a
contract is in `validation`; the vocabulary is in `cartograph.contracts`.
"""

from cartograph.contracts import Contract
from ecom_assets.contracts.catalog import INVENTORY, PRODUCTS
from ecom_assets.contracts.customers import CUSTOMERS, REVIEWS
from ecom_assets.contracts.marketing import CAMPAIGNS, EXPERIMENT_ASSIGNMENTS, MARKETING_SPEND
from ecom_assets.contracts.orders import ORDER_ITEMS, ORDERS, PAYMENTS, REFUNDS
from ecom_assets.contracts.web import EVENTS

CONTRACTS: dict[str, Contract] = {
    contract.dataset: contract
    for contract in (
        CUSTOMERS,
        PRODUCTS,
        CAMPAIGNS,
        ORDERS,
        ORDER_ITEMS,
        PAYMENTS,
        REFUNDS,
        EVENTS,
        REVIEWS,
        INVENTORY,
        MARKETING_SPEND,
        EXPERIMENT_ASSIGNMENTS,
    )
}
"""All raw datasets by name, parents before children."""


def referred_columns(dataset: str) -> list[str]:
    """The columns of `dataset` that rows of other datasets are held against."""
    references = (r for child in CONTRACTS.values() for r in child.references if r.dataset == dataset)
    return sorted({name for reference in references for name in reference.parent_columns})


__all__ = ["CONTRACTS", "referred_columns"]
