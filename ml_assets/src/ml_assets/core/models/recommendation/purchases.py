"""What is read of a shop's marts: the catalogue, and who bought what until an as-of date."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cartograph.windows import at_midnight
from ml_assets.core.models.recommendation.histories import Histories
from ml_assets.core.models.recommendation.product_recommender import Catalogue
from ml_assets.core.models.recommendation.recommender import NOTHING


class Purchases(NamedTuple):
    """Who bought what until an as-of date: rows of `histories` are `customers`, its items are the `catalogue`'s.

    `moments` has the time of each purchase.
    """

    customers: tuple[str, ...]
    catalogue: Catalogue
    histories: Histories
    moments: npt.NDArray[np.datetime64]


def catalogue(con: duckdb.DuckDBPyConnection, products: str) -> Catalogue:
    """All products that the shop knows, also those not bought yet; a DuckDB SELECT over `published.dim_products`."""
    known = con.execute(
        f"""
        SELECT product_id, coalesce(category, '') AS category, coalesce(is_active, true) AS is_active
        FROM ({products}) WHERE is_current ORDER BY product_id"""
    ).to_arrow_table()
    offered = np.array(known["is_active"].to_pylist(), dtype=bool)
    return Catalogue(tuple(known["product_id"].to_pylist()), tuple(known["category"].to_pylist()), offered)


def purchases(con: duckdb.DuckDBPyConnection, order_items: str, products: Catalogue, as_of: date) -> Purchases:
    """What known customers bought before the day `as_of`, each product once an order; cancelled orders are left out.

    `order_items` is a DuckDB SELECT over `published.fct_order_items`; lines of products that `products` lacks are left
    out, too.
    """
    bought = con.execute(
        f"""
        SELECT customer_id, product_id, ordered_at FROM ({order_items})
        WHERE customer_id IS NOT NULL AND NOT is_cancelled AND ordered_at < $as_of
        GROUP BY customer_id, ordered_at, order_id, product_id
        ORDER BY customer_id, ordered_at, order_id, product_id""",
        {"as_of": at_midnight(as_of)},
    ).to_arrow_table()
    items = products.find(bought["product_id"])
    ids, rows = np.unique(bought["customer_id"].to_numpy().astype(str), return_counts=True)
    histories = Histories(np.concatenate([[0], np.cumsum(rows)]), items, len(products.products))
    known = items != NOTHING
    moments = bought["ordered_at"].cast(pa.timestamp("us")).to_numpy()
    return Purchases(tuple(ids.tolist()), products, histories.kept(known), moments[known])
