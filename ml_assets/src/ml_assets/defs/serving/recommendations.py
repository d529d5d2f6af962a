"""What a release has of the recommender: it on the catalogue of today, its card, and the lists that it wrote."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from cartograph.releases.contents.files import RECOMMENDATIONS, RECOMMENDER, RECOMMENDER_CARD, SIMILAR
from cartograph.releases.contents.models import ModelCard
from cartograph.releases.contents.tables import RECOMMENDATION_COLUMNS, SIMILAR_COLUMNS, write_lists
from ml_assets.core.models.recommendation import lists
from ml_assets.core.models.recommendation.purchases import catalogue
from ml_assets.core.models.scoring import card_of
from ml_assets.core.registry import Registered
from ml_assets.defs.marts import Pinned
from ml_assets.defs.serving.lists import ordered_lists


class Recommended(NamedTuple):
    """The recommender's bytes and card, and the tables of `recommendations.arrow` and `similar_products.arrow`."""

    model: bytes
    card: ModelCard
    customers: pa.Table
    products: pa.Table


def released_recommendations(
    con: duckdb.DuckDBPyConnection, inputs: Pinned, recommender: Registered, as_of: date
) -> Recommended:
    """What is released of the recommender: a list for each customer of the as-of date and for each product."""
    selects = inputs.selects
    listed = {"product_ids": "product_id", "scores": "score", "sources": "source"}
    customers = con.execute(
        f"""
        SELECT customer_id, coalesce(any_value(recommender_version), $version) AS model_version,
            {ordered_lists(listed | {"because_product_ids": "because_product_id"}, "r.rank", "r.rank IS NOT NULL")}
        FROM ({selects["customer_features"]}) f
        LEFT JOIN ({selects["product_recommendations"]}) r USING (customer_id, as_of_date)
        WHERE as_of_date = $as_of GROUP BY customer_id""",
        {"as_of": as_of, "version": recommender.version},
    ).to_arrow_table()
    similar = {"similar_product_ids": "similar_product_id", "similar_scores": "score", "similar_sources": "source"}
    together = {"bought_together_product_ids": "similar_product_id", "bought_together_scores": "score"}
    products = con.execute(
        f"""
        SELECT product_id, any_value(recommender_version) AS model_version,
            {ordered_lists(similar, "rank", f"relation = '{lists.SIMILAR}'")},
            {ordered_lists(together, "rank", f"relation = '{lists.BOUGHT_TOGETHER}'")}
        FROM ({selects["similar_products"]}) WHERE as_of_date = $as_of GROUP BY product_id""",
        {"as_of": as_of},
    ).to_arrow_table()
    model = lists.opened(recommender).on(catalogue(con, selects["dim_products"])).to_bytes()
    return Recommended(
        model,
        card_of(recommender),
        customers.cast(pa.schema(list(RECOMMENDATION_COLUMNS.items()))),
        products.cast(pa.schema(list(SIMILAR_COLUMNS.items()))),
    )


def write_recommendations(folder: Path, recommended: Recommended) -> None:
    """Write the recommender, its card and its lists."""
    (folder / RECOMMENDER).parent.mkdir(exist_ok=True)
    (folder / RECOMMENDER).write_bytes(recommended.model)
    (folder / RECOMMENDER_CARD).write_text(recommended.card.model_dump_json(indent=2), encoding="utf-8")
    write_lists(folder / RECOMMENDATIONS, recommended.customers, RECOMMENDATION_COLUMNS)
    write_lists(folder / SIMILAR, recommended.products, SIMILAR_COLUMNS)
