"""The recommender of a release: lists that were written for its customers and products, and what a session leads to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from api.services.lookup import Rows, open_rows
from cartograph.releases.contents import (
    RECOMMENDATION_COLUMNS,
    RECOMMENDATIONS,
    RECOMMENDER,
    RECOMMENDER_CARD,
    SIMILAR,
    SIMILAR_COLUMNS,
    ContentError,
    ModelCard,
    open_lists,
)
from ml_assets.core.models.recommendation.product_recommender import ProductRecommender, Suggestion
from ml_assets.core.models.recommendation.recommender import NOTHING


@dataclass(frozen=True)
class Recommendations:
    """All that a release recommends. Its methods may be called from several threads."""

    card: ModelCard
    recommender: ProductRecommender
    places: Mapping[str, int]
    customers: Rows
    products: Rows

    @classmethod
    def load(cls, folder: Path) -> Recommendations:
        """Load the recommender of the release in `folder`, and open its lists.

        Raises:
            ContentError: a file cannot be read.
        """
        try:
            card = ModelCard.model_validate_json((folder / RECOMMENDER_CARD).read_bytes())
        except ValidationError as error:
            raise ContentError(f"{RECOMMENDER_CARD} cannot be used: {error}") from None
        try:
            recommender = ProductRecommender.from_bytes((folder / RECOMMENDER).read_bytes())
        except (ValueError, pa.ArrowException) as error:
            raise ContentError(f"{RECOMMENDER} cannot be used: {error}") from None
        customers = _rows(folder / RECOMMENDATIONS, RECOMMENDATION_COLUMNS)
        places = {product: at for at, product in enumerate(recommender.catalogue.products)}
        return cls(card, recommender, places, customers, _rows(folder / SIMILAR, SIMILAR_COLUMNS))

    def of_customer(self, customer_id: str) -> dict[str, Any] | None:
        """The row of a customer, None for an unknown one."""
        return self.customers.find(customer_id)

    def of_stranger(self, limit: int) -> dict[str, Any]:
        """A row as `of_customer` has them, of whom nothing is known: what is popular of late."""
        found = self.of_session([], limit)
        return {
            "model_version": self.card.version,
            "product_ids": [one.product_id for one in found],
            "scores": [one.score for one in found],
            "sources": [one.source for one in found],
            "because_product_ids": [one.because_product_id for one in found],
        }

    def is_available(self, product_id: str) -> bool:
        """Whether the shop sells the product; no for one that the release does not know."""
        place = self.places.get(product_id)
        return place is not None and bool(self.recommender.catalogue.offered[place])

    def category(self, product_id: str) -> str | None:
        """The product's category, None for an unknown product and for one without a category."""
        place = self.places.get(product_id)
        return None if place is None else self.recommender.catalogue.categories[place] or None

    def of_product(self, product_id: str) -> dict[str, Any] | None:
        """The row of a product, None for an unknown one."""
        return self.products.find(product_id)

    def unknown(self, products: Sequence[str]) -> list[int]:
        """The places in `products` of those that the release does not know."""
        places = self.recommender.catalogue.find(products)
        return [at for at, place in enumerate(places) if place == NOTHING]

    def of_session(self, products: Sequence[str], limit: int) -> list[Suggestion]:
        """What suits a session in which these products were just seen, the latest last."""
        return self.recommender.session(products, limit)


def _rows(path: Path, columns: Mapping[str, pa.DataType]) -> Rows:
    return open_rows(path, open_lists(path, columns), next(iter(columns)))
