"""The recommender of a small shop, and the batch predictions of it that a release has."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from cartograph.releases.contents.files import RECOMMENDATIONS, RECOMMENDER, RECOMMENDER_CARD, SIMILAR
from ml_assets.core.models.recommendation.histories import popularity
from ml_assets.core.models.recommendation.item_item import transitions
from ml_assets.core.models.recommendation.lists import product_recommendations, similar_products
from ml_assets.core.models.recommendation.product_recommender import NAME, ProductRecommender
from ml_assets.core.models.recommendation.purchases import catalogue, purchases
from ml_assets.core.models.recommendation.recommender import Recommender
from ml_assets.core.registry import Registered
from ml_assets.defs.marts import Pinned
from ml_assets.defs.serving.recommendations import released_recommendations, write_recommendations

AS_OF = date(2026, 1, 1)
PRODUCTS, SHELVES, CUSTOMERS = 60, 3, 1000
FILES = (RECOMMENDER, RECOMMENDER_CARD, RECOMMENDATIONS, SIMILAR)
NEWCOMER = "C0999"
"""Who has bought nothing."""
WITHDRAWN = "P59"
"""What is sold no longer."""


class Batch(NamedTuple):
    """The model, and the rows that batch prediction wrote of it."""

    model: ProductRecommender
    recommendations: pa.Table
    similar: pa.Table
    files: Mapping[str, bytes]


@cache
def batch() -> Batch:
    """A model of customers who buy from one shelf each, and all that is released of it."""
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.register("items", _order_items())
    con.register("products", _products())
    con.register("rules", _rules())
    ids = [f"C{n:04d}" for n in range(CUSTOMERS)]
    con.register("features", pa.table({"customer_id": ids, "as_of_date": pa.array([AS_OF] * CUSTOMERS)}))
    names = {"customer_features": "features", "fct_order_items": "items", "dim_products": "products"}
    selects = {name: f"FROM {table}" for name, table in {**names, "market_basket_rules": "rules"}.items()}
    model = _model(con, selects)
    card = {"name": NAME, "as_of": AS_OF, "features": [], "metrics": {"ndcg@10": 0.3}, "baseline_metrics": {}}
    version = Registered(NAME, "5", model.to_bytes(), card)
    recommendations = product_recommendations(con, selects, version, AS_OF)
    similar = similar_products(con, selects, version, AS_OF)
    con.register("product_recommendations", recommendations)
    con.register("similar_products", similar)
    selects |= {name: f"FROM {name}" for name in ("product_recommendations", "similar_products")}
    with TemporaryDirectory() as folder:
        write_recommendations(Path(folder), released_recommendations(con, Pinned(selects, {}), version, AS_OF))
        files = {name: (Path(folder) / name).read_bytes() for name in FILES}
    return Batch(model, recommendations, similar, files)


def _model(con: duckdb.DuckDBPyConnection, selects: Mapping[str, str]) -> ProductRecommender:
    data = purchases(con, selects["fct_order_items"], catalogue(con, selects["dim_products"]), AS_OF)
    weights = transitions(data.histories, half_life=2, backward=0.3, damping=0.5)
    recommender = Recommender(
        weights, 2.0, popularity(data.histories), data.catalogue.category_numbers, data.catalogue.offered
    )
    return ProductRecommender(AS_OF, False, data.catalogue, recommender)


def _order_items() -> pa.Table:
    draw = np.random.default_rng(7)
    rows = [
        {
            "customer_id": f"C{customer:04d}",
            "order_id": f"O{customer}-{order}",
            "ordered_at": datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=float(draw.uniform(0, 360))),
            "product_id": f"P{int(draw.integers(PRODUCTS // SHELVES - 2)) * SHELVES + customer % SHELVES:02d}",
            "is_cancelled": False,
        }
        for customer in range(CUSTOMERS - 1)
        for order in range(3)
    ]
    return pa.Table.from_pylist(rows)


def _products() -> pa.Table:
    rows = [
        {"product_id": name, "category": f"shelf {n % SHELVES}", "is_current": True, "is_active": name != WITHDRAWN}
        for n, name in enumerate(f"P{n:02d}" for n in range(PRODUCTS))
    ]
    return pa.Table.from_pylist(rows)


def _rules() -> pa.Table:
    return pa.table(
        {
            "antecedent_product_id": ["P00", "P00", "P00"],
            "consequent_product_id": ["P01", "P02", WITHDRAWN],
            "orders_count": [8, 9, 9],
            "antecedent_orders_count": [64, 64, 64],
            "consequent_orders_count": [25, 100, 9],
        }
    )
