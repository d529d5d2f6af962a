"""Products of a release: catalogue and features, and forecasts and reorder advice from its memory-mapped tables."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

import pyarrow as pa

from api.services.lookup import Rows
from api.services.recommendations import Recommendations
from cartograph.releases.contents.tables import PRODUCT_COLUMNS

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

    def ids_after(self, product_id: str, limit: int) -> list[str]:
        """The first `limit` products that come after `product_id`, which need not be there itself."""
        found: list[str] = []
        while len(found) < limit:
            place = bisect_right(range(len(self._ids)), found[-1] if found else product_id, key=self._id)
            if place == len(self._ids):
                break
            found.append(self._id(place))
        return found

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


def listed_without_catalogue(products: Rows | None, forecasts: Products | None, after: str, limit: int) -> list[Row]:
    """The first `limit` products after the id `after` that have features or a forecast."""
    sold = set(forecasts.ids_after(after, limit)) if forecasts is not None else set()
    known = sold.union(products.after(after, limit) if products is not None else ())
    return [_outside_catalogue(product, has_forecast=product in sold) for product in sorted(known)[:limit]]


def profile(known: Recommendations | None, product_id: str, *, has_forecast: bool) -> Row:
    """What the catalogue has of a product; of one that is not in it, that it is sold where it has a forecast."""
    if known is None or product_id not in known.places:
        return {**_outside_catalogue(product_id, has_forecast=has_forecast), "in_its_place": []}
    found = _listed(known, product_id)
    similar = None if found["is_available"] else known.of_product(product_id)
    others = similar["similar_product_ids"] if similar else []
    return {**found, "in_its_place": [other for other in others if known.is_available(other)]}


def features(products: Rows | None, product_id: str) -> Row:
    """The features of a product by name, and as of when; None where there are none of it, or none in the release."""
    row = products.find(product_id) if products is not None else None
    if row is None:
        return {"features": None}
    found = {name: value for name, value in row.items() if name not in PRODUCT_COLUMNS}
    return {"as_of": row["as_of"], "features": found}


def explained(row: Row) -> Row:
    """Why a product's demand is expected to be what it is, of its `row` in `demand_explanations.arrow`."""
    parts = zip(row["features"], row["values"], row["contributions"], strict=True)
    contributions = [
        {"feature": feature, "value": value, "contribution": part}
        for feature, value, part in sorted(parts, key=lambda one: -abs(one[2]))
    ]
    return {
        "method": "trees",
        "unit": "log_units",
        "base_value": row["base_value"],
        "prediction": row["base_value"] + sum(row["contributions"]),
        "contributions": contributions,
    }


def _outside_catalogue(product_id: str, *, has_forecast: bool) -> Row:
    return {"product_id": product_id, "category": None, "is_available": True if has_forecast else None}


def _listed(known: Recommendations, product_id: str) -> Row:
    return {
        "product_id": product_id,
        "category": known.category(product_id),
        "is_available": known.is_available(product_id),
    }
