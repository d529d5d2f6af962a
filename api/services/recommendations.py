"""The recommender of a release: lists that were written for its customers and products, and what a session leads to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from api.services.lookup import find_row
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
    customers: pa.Table
    products: pa.Table

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
        customers = open_lists(folder / RECOMMENDATIONS, RECOMMENDATION_COLUMNS)
        return cls(card, recommender, customers, open_lists(folder / SIMILAR, SIMILAR_COLUMNS))

    def of_customer(self, customer_id: str) -> dict[str, Any] | None:
        """The row of a customer, None for an unknown one."""
        return find_row(self.customers, "customer_id", customer_id)

    def of_product(self, product_id: str) -> dict[str, Any] | None:
        """The row of a product, None for an unknown one."""
        return find_row(self.products, "product_id", product_id)

    def unknown(self, products: Sequence[str]) -> list[int]:
        """The places in `products` of those that the release does not know."""
        places = self.recommender.catalogue.find(products)
        return [at for at, place in enumerate(places) if place == NOTHING]

    def of_session(self, products: Sequence[str], limit: int) -> list[Suggestion]:
        """What suits a session in which these products were just seen, the latest last."""
        return self.recommender.session(products, limit)
