"""The recommender of a shop's products by their ids: the form in which it is registered, released and served.

An Arrow file, which holds numbers and names and cannot execute code: a row for each product, and nothing of any
customer. How the matrix is learned is `training`; what is written of it for customers and products is `lists`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ml_assets.core.models.recommendation.histories import Histories, Integers
from ml_assets.core.models.recommendation.recommender import NOTHING, SOURCES, Recommended, Recommender

NAME = "product_recommender"

_SCHEMA = pa.schema(
    [
        pa.field("product_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("is_offered", pa.bool_(), nullable=False),
        pa.field("popularity", pa.float32(), nullable=False),
        pa.field("leads_to", pa.list_(pa.field("item", pa.int32(), nullable=False)), nullable=False),
        pa.field("weight", pa.list_(pa.field("item", pa.float32(), nullable=False)), nullable=False),
    ]
)
_SETTINGS = b"recommender"


class Catalogue(NamedTuple):
    """The products that a shop knows, sorted by id, with the name of each one's category ('' for none)."""

    products: tuple[str, ...]
    categories: tuple[str, ...]
    offered: npt.NDArray[np.bool_]

    @property
    def category_numbers(self) -> Integers:
        """Each product's category, as numbers from 0 on."""
        return np.unique(np.array(self.categories, dtype=str), return_inverse=True)[1]

    def find(self, products: Sequence[str] | pa.ChunkedArray) -> Integers:
        """The place of each of `products`, `NOTHING` for one that the catalogue does not have."""
        wanted = products if isinstance(products, pa.ChunkedArray) else pa.array(products, pa.string())
        places = pc.index_in(wanted, value_set=pa.array(self.products, pa.string()))
        return np.asarray(places.fill_null(NOTHING), dtype=np.int64)


class Suggestion(NamedTuple):
    """A recommended product: its score, one of `SOURCES`, and the product that spoke most for it, where one did."""

    product_id: str
    score: float
    source: str
    because_product_id: str | None


class ProductRecommender(NamedTuple):
    """`recommender` numbers the products as `catalogue` does; it knows what was bought before the day `as_of`.

    With `exclude_seen`, customers are not shown what they have had.
    """

    as_of: date
    exclude_seen: bool
    catalogue: Catalogue
    recommender: Recommender

    def to_bytes(self) -> bytes:
        """The Arrow file; the same recommender gives the same bytes."""
        model, weights = self.recommender, self.recommender.weights.sorted_indices()
        settings = {
            "as_of": self.as_of.isoformat(),
            "exclude_seen": self.exclude_seen,
            "half_life": model.half_life,
        }
        starts = pa.array(weights.indptr, pa.int32())
        columns = [
            pa.array(self.catalogue.products, pa.string()),
            pa.array(self.catalogue.categories, pa.string()),
            pa.array(self.catalogue.offered, pa.bool_()),
            pa.array(model.popular, pa.float32()),
            pa.ListArray.from_arrays(starts, pa.array(weights.indices, pa.int32()), type=_SCHEMA.field(4).type),
            pa.ListArray.from_arrays(starts, pa.array(weights.data, pa.float32()), type=_SCHEMA.field(5).type),
        ]
        schema = _SCHEMA.with_metadata({_SETTINGS: json.dumps(settings).encode()})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(pa.record_batch(columns, schema=schema))
        return bytes(sink.getvalue().to_pybytes())

    @classmethod
    def from_bytes(cls, content: bytes) -> ProductRecommender:
        """The recommender that `to_bytes` wrote.

        Raises:
            ValueError: it is no such file, or does not hold together.
        """
        from scipy.sparse import csr_array

        file = pa.ipc.open_file(content)
        if not file.schema.equals(_SCHEMA) or file.num_record_batches != 1:
            raise ValueError(f"it is not the file of a recommender: {file.schema}")
        rows = file.get_batch(0)
        rows.validate(full=True)
        settings = json.loads((file.schema.metadata or {}).get(_SETTINGS, b"{}"))
        if settings.keys() != {"as_of", "exclude_seen", "half_life"}:
            raise ValueError(f"it has the settings {sorted(settings)}")
        products, leads, weights = rows["product_id"].to_pylist(), rows["leads_to"], rows["weight"]
        if products != sorted(set(products)) or not leads.offsets.equals(weights.offsets):
            raise ValueError("its products are not sorted, or its lists are not of the same length")
        targets = leads.values.to_numpy()
        if len(targets) and not 0 <= targets.min() <= targets.max() < len(products):
            raise ValueError("a product leads to one that is not there")
        catalogue = Catalogue(
            tuple(products), tuple(rows["category"].to_pylist()), rows["is_offered"].to_numpy(zero_copy_only=False)
        )
        size = (len(products), len(products))
        recommender = Recommender(
            weights=csr_array((weights.values.to_numpy(), targets, leads.offsets.to_numpy()), shape=size),
            half_life=float(settings["half_life"]),
            popular=rows["popularity"].to_numpy(),
            categories=catalogue.category_numbers,
            offered=catalogue.offered,
        )
        return cls(date.fromisoformat(settings["as_of"]), bool(settings["exclude_seen"]), catalogue, recommender)

    def on(self, catalogue: Catalogue) -> ProductRecommender:
        """The same recommender on another catalogue, as that of today: a new product has no past, a lost one is gone.

        On the catalogue that it was learned on, it is itself.
        """
        from scipy.sparse import csr_array

        places = self.catalogue.find(catalogue.products)
        new = np.flatnonzero(places != NOTHING)
        old = places[new]
        known = self.recommender.weights[old][:, old].tocoo()
        size = (len(catalogue.products), len(catalogue.products))
        weights = csr_array((known.data, (new[known.row], new[known.col])), shape=size)
        popular = np.zeros(len(places), np.float32)
        popular[new] = self.recommender.popular[old]
        recommender = self.recommender._replace(
            weights=weights, popular=popular, categories=catalogue.category_numbers, offered=catalogue.offered
        )
        return self._replace(catalogue=catalogue, recommender=recommender)

    def session(self, products: Sequence[str], count: int) -> list[Suggestion]:
        """What to show to whom has just seen `products`, the latest last, but these; to a stranger where it is empty.

        Products that the catalogue does not have are passed over.
        """
        places = self.catalogue.find(products)
        seen = Histories.of([places[places != NOTHING].tolist()], len(self.catalogue.products))
        return self.suggestions(self.recommender.recommend(seen, count, exclude_seen=True), 0)

    def suggestions(self, found: Recommended, row: int) -> list[Suggestion]:
        """A row of what was recommended, by the products' ids."""
        names = (*self.catalogue.products, None)  # NOTHING is the last place
        return [
            Suggestion(str(names[item]), float(score), SOURCES[source], names[because])
            for item, score, source, because in zip(*(column[row] for column in found), strict=True)
            if item != NOTHING
        ]
