"""The recommender of a release: lists that were written for its customers and products, and what a session leads to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from api.services.lookup import Rows, open_rows
from api.services.online import Recent
from cartograph.releases.contents.base import ContentError, read_form
from cartograph.releases.contents.files import RECOMMENDATIONS, RECOMMENDER, RECOMMENDER_CARD, SIMILAR
from cartograph.releases.contents.models import ModelCard
from cartograph.releases.contents.tables import LISTED, RECOMMENDATION_COLUMNS, SIMILAR_COLUMNS, open_lists
from ml_assets.core.models.recommendation.lists import BASKET
from ml_assets.core.models.recommendation.product_recommender import ProductRecommender, Suggestion
from ml_assets.core.models.recommendation.recommender import NOTHING

_DAMPING = 60
"""What keeps a first place from being worth much more than a second (the paper's own choice)."""


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
        card = read_form(folder, RECOMMENDER_CARD, ModelCard)
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

    def unknown(self, products: Sequence[str]) -> list[str]:
        """Those of the `products` that the release does not know."""
        places = self.recommender.catalogue.find(products)
        return [product for product, place in zip(products, places, strict=True) if place == NOTHING]

    def just_now(self, row: Mapping[str, Any], recent: Recent) -> list[Suggestion]:
        """The list of a customer's `row`, held against what they have done since: the best `LISTED`.

        What they bought is left out. What they saw makes a list of its own, and the two are merged by reciprocal rank:
        a product's score is the sum of 1 / (60 + rank) over the lists that it is in (Cormack, Clarke and Büttcher,
        SIGIR 2009), so neither list needs scores on the other's scale. Source and reason are of the list that has it
        further up.
        """
        columns = (row["product_ids"], row["scores"], row["sources"], row["because_product_ids"])
        lists = [
            [Suggestion(*values) for values in zip(*columns, strict=True)],
            self.recommender.session(recent.viewed, LISTED) if recent.viewed else [],
        ]
        found: dict[str, Suggestion] = {}
        for rank in range(max(map(len, lists))):
            for one in (listed[rank] for listed in lists if rank < len(listed)):
                known = found.get(one.product_id, one._replace(score=0.0))
                found[one.product_id] = known._replace(score=known.score + 1 / (_DAMPING + rank + 1))
        left = [one for product, one in found.items() if product not in recent.bought]
        return sorted(left, key=lambda one: -one.score)[:LISTED]

    def of_basket(self, products: Sequence[str], limit: int) -> list[Suggestion]:
        """What goes with a basket: first what often stands in one order with its products, then what they lead to.

        The score of the first is the sum of the cosines with the products; all products of a basket count the same.
        """
        together: dict[str, float] = {}
        reason: dict[str, tuple[float, str]] = {}
        for product in dict.fromkeys(products):
            row = self.of_product(product) or {"bought_together_product_ids": (), "bought_together_scores": ()}
            for other, score in zip(row["bought_together_product_ids"], row["bought_together_scores"], strict=True):
                together[other] = together.get(other, 0.0) + score
                reason[other] = max(reason.get(other, (0.0, "")), (score, product))
        first = [
            Suggestion(other, score, BASKET, reason[other][1])
            for other, score in sorted(together.items(), key=lambda one: (-one[1], one[0]))
            if other not in products
        ]
        listed = {one.product_id for one in first}
        alike = self.recommender._replace(recommender=self.recommender.recommender._replace(half_life=math.inf))
        then = alike.session(products, min(limit + len(first), len(alike.catalogue.products)))
        return [*first, *(one for one in then if one.product_id not in listed)][:limit]

    def of_session(self, products: Sequence[str], limit: int) -> list[Suggestion]:
        """What suits a session in which these products were just seen, the latest last."""
        return self.recommender.session(products, limit)


def _rows(path: Path, columns: Mapping[str, pa.DataType]) -> Rows:
    return open_rows(path, open_lists(path, columns), next(iter(columns)))
