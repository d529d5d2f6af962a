"""Products of a release: the catalogue, and forecasts and reorder advice from its memory-mapped tables."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

import pyarrow as pa

from api.services.recommendations import Recommendations

Row = dict[str, Any]


class Products:
    """Looks products up in a table that is sorted by `product_id` (`contents.open_products` makes sure of it)."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._ids = table["product_id"]

    def rows(self, product_id: str) -> list[Row]:
        """All rows of a product, in the table's order; none where it has none."""
        first = bisect_left(range(len(self._ids)), product_id, key=self._id)
        last = bisect_right(range(len(self._ids)), product_id, lo=first, key=self._id)
        return self._between(first, last)

    def after(self, product_id: str, limit: int) -> list[Row]:
        """The first `limit` rows of the products that come after `product_id`, which need not be there itself."""
        first = bisect_right(range(len(self._ids)), product_id, key=self._id)
        return self._between(first, first + limit)

    def _id(self, place: int) -> str:
        return str(self._ids[place].as_py())

    def _between(self, first: int, last: int) -> list[Row]:
        rows: list[Row] = self._table.slice(first, last - first).to_pylist()
        return rows


def listed(known: Recommendations, after: str, limit: int) -> list[Row]:
    """The first `limit` products of the catalogue that come after the id `after`."""
    products = known.recommender.catalogue.products
    first = bisect_right(products, after)
    return [_listed(known, product) for product in products[first : first + limit]]


def profile(known: Recommendations, product_id: str) -> Row | None:
    """What the catalogue has of a product, None for an unknown one."""
    if product_id not in known.places:
        return None
    found = _listed(known, product_id)
    similar = None if found["is_available"] else known.of_product(product_id)
    others = similar["similar_product_ids"] if similar else []
    return {**found, "in_its_place": [other for other in others if known.is_available(other)]}


def on_offer(product_id: str) -> Row:
    """As `profile`, of a product that has a forecast, and so is sold, in a release without a catalogue."""
    return {"product_id": product_id, "category": None, "is_available": True, "in_its_place": []}


def _listed(known: Recommendations, product_id: str) -> Row:
    return {
        "product_id": product_id,
        "category": known.category(product_id),
        "is_available": known.is_available(product_id),
    }
