"""What the recommender shows: the products listed for each customer and for each product, and their tables' contracts.

Training is `training`; what the API makes of the lists is the release's business (`ml_assets.defs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cartograph.contracts import Column, Contract
from cartograph.releases.contents.tables import LISTED
from ml_assets.core.models.recommendation.histories import Histories
from ml_assets.core.models.recommendation.product_recommender import NAME, ProductRecommender
from ml_assets.core.models.recommendation.purchases import catalogue, purchases
from ml_assets.core.models.recommendation.recommender import NOTHING, SOURCES, Recommended
from ml_assets.core.registry import NoModel, Registered

SIMILAR, BOUGHT_TOGETHER = "similar", "bought_together"
BASKET = "basket"

_AS_OF = Column(name="as_of_date", type="date", description="Rests on what was known before this day (UTC).")
_RANK = Column(name="rank", type="bigint", description=f"Place in the list, from 1 to at most {LISTED}.")
_SCORE = Column(name="score", type="double", description="The larger, the better; to be compared within a list only.")
_VERSION = Column(name="recommender_version", type="string", description=f"The version of models/{NAME}.")

RECOMMENDATIONS = Contract(
    dataset="product_recommendations",
    grain="A product that is recommended to a customer on an as-of date.",
    key=("customer_id", "as_of_date", "rank"),
    event_time="as_of_date",
    columns=(
        Column(name="customer_id", type="string", description="The customer, who may have bought nothing yet."),
        _AS_OF,
        _RANK,
        Column(name="product_id", type="string", description="The recommended product."),
        _SCORE,
        Column(
            name="source",
            type="string",
            description="What speaks for it: what the customer bought, a category of theirs, or everybody's purchases.",
            accepted=SOURCES,
        ),
        Column(
            name="because_product_id",
            type="string",
            nullable=True,
            description="The purchase that spoke most for it; null where the source is not history.",
        ),
        _VERSION,
    ),
)

SIMILAR_PRODUCTS = Contract(
    dataset="similar_products",
    grain="A product that goes with another one in a relation, on an as-of date.",
    key=("product_id", "as_of_date", "relation", "rank"),
    event_time="as_of_date",
    columns=(
        Column(name="product_id", type="string", description="The product, which may be sold no longer."),
        _AS_OF,
        Column(
            name="relation",
            type="string",
            description="similar: what its purchase leads to. bought_together: what often stands in the same order.",
            accepted=(SIMILAR, BOUGHT_TOGETHER),
        ),
        _RANK,
        Column(name="similar_product_id", type="string", description="The product that goes with it."),
        _SCORE,
        Column(
            name="source",
            type="string",
            description="What speaks for it: purchases of both, the common category, everybody's purchases, or orders.",
            accepted=(*SOURCES, BASKET),
        ),
        _VERSION,
    ),
)


def product_recommendations(
    con: duckdb.DuckDBPyConnection, selects: Mapping[str, str], model: Registered | None, as_of: date
) -> pa.Table:
    """The first `LISTED` products of each customer of the feature table's `as_of`, by customer and rank.

    Who has bought nothing is shown what is popular, and who has had all, the best of that. `selects` has DuckDB SELECTs
    of `customer_features`, `fct_order_items` and `dim_products`. Without a model there are no recommendations.

    Raises:
        NoModel: the model's file is not one.
    """
    schema = RECOMMENDATIONS.arrow_schema()
    if model is None:
        return schema.empty_table()
    ours = opened(model).on(catalogue(con, selects["dim_products"]))
    bought = purchases(con, selects["fct_order_items"], ours.catalogue, as_of)
    customers = con.execute(
        f"SELECT customer_id FROM ({selects['customer_features']}) WHERE as_of_date = $as_of ORDER BY customer_id",
        {"as_of": as_of},
    ).to_arrow_table()["customer_id"]
    histories = _histories_of(customers.to_pylist(), bought.customers, bought.histories)
    found = ours.recommender.recommend(histories, LISTED, exclude_seen=ours.exclude_seen)
    had_all = np.flatnonzero(np.all(found.items == NOTHING, axis=1))
    again = ours.recommender.recommend(histories.chosen(had_all), LISTED, exclude_seen=False)
    found.items[had_all], found.scores[had_all] = again.items, again.scores
    found.sources[had_all], found.because[had_all] = again.sources, again.because
    rows, listed = _listed(found, ours)
    columns = [customers.to_numpy()[rows], _dates(as_of, rows), *listed, _versions(model, rows)]
    return pa.table(columns, names=schema.names).cast(schema)


def similar_products(
    con: duckdb.DuckDBPyConnection, selects: Mapping[str, str], model: Registered | None, as_of: date
) -> pa.Table:
    """For each product the first `LISTED` similar ones, and those often bought with it, which may be fewer or none.

    `selects` has DuckDB SELECTs of `dim_products` and `market_basket_rules`. Of two products, the cosine of their
    orders decides: lift alone prefers the rare ones, and confidence those that everybody buys.

    Raises:
        NoModel: the model's file is not one.
    """
    schema = SIMILAR_PRODUCTS.arrow_schema()
    if model is None:
        return schema.empty_table()
    ours = opened(model).on(catalogue(con, selects["dim_products"]))
    rows, (ranks, items, scores, sources, _) = _listed(ours.recommender.similar(LISTED), ours)
    products = pa.array(np.array(ours.catalogue.products, dtype=object)[rows], pa.string())
    relation = pa.repeat(pa.scalar(SIMILAR), len(rows))
    similar = pa.table(
        [products, _dates(as_of, rows), relation, ranks, items, scores, sources, _versions(model, rows)],
        names=schema.names,
    ).cast(schema)
    together = con.execute(
        f"""
        WITH scored AS (
            SELECT antecedent_product_id AS product_id, consequent_product_id AS similar_product_id,
                orders_count / sqrt(antecedent_orders_count * consequent_orders_count) AS score
            FROM ({selects["market_basket_rules"]}) JOIN ({selects["dim_products"]}) AS offered
                ON offered.product_id = consequent_product_id AND is_current AND coalesce(is_active, true)
        ), ranked AS (
            SELECT *, row_number() OVER (PARTITION BY product_id ORDER BY score DESC, similar_product_id) AS rank
            FROM scored
        )
        SELECT product_id, CAST($as_of AS DATE) AS as_of_date, $relation AS relation, rank, similar_product_id, score,
            $source AS source, $version AS recommender_version
        FROM ranked WHERE rank <= $listed ORDER BY product_id, rank""",
        {
            "as_of": as_of,
            "relation": BOUGHT_TOGETHER,
            "source": BASKET,
            "version": model.version,
            "listed": LISTED,
        },
    ).to_arrow_table()
    return pa.concat_tables([similar, together.cast(schema)])


def opened(model: Registered) -> ProductRecommender:
    """The recommender in the bytes of a registered version.

    Raises:
        NoModel: its file is not one.
    """
    try:
        return ProductRecommender.from_bytes(model.content)
    except (ValueError, pa.ArrowException) as error:
        raise NoModel(
            f"Version {model.version} of {NAME} cannot be read: {error}. Train it again: materialize models/{NAME}."
        ) from None


def _histories_of(customers: list[str], known: tuple[str, ...], histories: Histories) -> Histories:
    """The histories of `customers`, empty for those who have none."""
    place = {customer: at for at, customer in enumerate(known)}
    rows = np.array([place.get(customer, len(known)) for customer in customers], dtype=np.int64)
    with_nobody = histories._replace(starts=np.append(histories.starts, histories.starts[-1]))
    return with_nobody.chosen(rows)


def _listed(found: Recommended, ours: ProductRecommender) -> tuple[npt.NDArray[np.int64], list[pa.Array]]:
    """For each place that has an item: its row, and its rank, product, score, source and reason."""
    rows, places = np.nonzero(found.items != NOTHING)
    names = np.array([*ours.catalogue.products, None], dtype=object)  # NOTHING is the last place
    return rows, [
        pa.array(places + 1, pa.int64()),
        pa.array(names[found.items[rows, places]], pa.string()),
        pa.array(found.scores[rows, places], pa.float64()),
        pa.array(np.array(SOURCES, dtype=object)[found.sources[rows, places]], pa.string()),
        pa.array(names[found.because[rows, places]], pa.string()),
    ]


def _dates(as_of: date, rows: npt.NDArray[np.int64]) -> pa.Array:
    return pa.repeat(pa.scalar(as_of, pa.date32()), len(rows))


def _versions(model: Registered, rows: npt.NDArray[np.int64]) -> pa.Array:
    return pa.repeat(pa.scalar(model.version, pa.string()), len(rows))
