"""The checks of tables that list products by rank: what each list may hold, and that there is one for everybody."""

from __future__ import annotations

import dagster as dg

from cartograph.trust.evidence import SAMPLES, checked
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.models.recommendation.product_recommender import NAME
from ml_assets.core.registry import ModelRegistry
from ml_assets.defs.marts import FEATURES, open_lake, pin, plain_failures
from ml_assets.defs.partitions import scoring_date
from ml_assets.defs.tracking import MlflowTracking

OFFERED = "only_offered_products"
WHOLE = "ranks_are_whole"
COVERED = "all_are_covered"


def only_offered(identifier: str, product: str) -> dg.AssetCheckResult:
    """A check that the column `product` of the latest as-of date has products only that are on sale."""
    rows, wrong, samples = _latest(
        identifier,
        f"""
        SELECT count(*), count(*) FILTER (o.product_id IS NULL),
            (array_agg(DISTINCT l.{product}) FILTER (o.product_id IS NULL))[:{SAMPLES}]
        FROM latest l LEFT JOIN offered o ON o.product_id = l.{product}""",
    )
    return checked(
        OFFERED,
        not wrong,
        expected=f"{rows:,} listed products that are on sale",
        found=f"{wrong:,} that are not",
        samples=samples or [],
    )


def ranks_whole(identifier: str, owner: str, product: str) -> dg.AssetCheckResult:
    """A check that each `owner`'s list (a SQL expression) is ranked from 1 on without a gap, no `product` twice."""
    lists, wrong, samples = _latest(
        identifier,
        f"""
        WITH lists AS (
            SELECT {owner} AS owner, min(rank) <> 1 OR max(rank) <> count(*) OR count(DISTINCT rank) <> count(*)
                OR count(DISTINCT {product}) <> count(*) AS is_wrong
            FROM latest GROUP BY ALL
        )
        SELECT count(*), count(*) FILTER (is_wrong), (array_agg(owner ORDER BY owner) FILTER (is_wrong))[:{SAMPLES}]
        FROM lists""",
    )
    return checked(
        WHOLE,
        not wrong,
        expected=f"{lists:,} lists, ranked from 1 on without a gap and each product once",
        found=f"{wrong:,} that are not",
        samples=samples or [],
    )


def all_covered(tracking: MlflowTracking, identifier: str, owners: str, owner: str) -> dg.AssetCheckResult:
    """A check that each of `owners` has a list; nobody has one while no model was promoted.

    `owners` is a SQL query for the ids that should be in the column `owner` of the latest as-of date; it may read
    `customers` of that date, and `products` and `offered`.
    """
    if ModelRegistry(tracking.uri).champion(NAME) is None:
        return checked(COVERED, True, expected="no lists while there is no model", found="no model yet")
    number, missing, samples = _latest(
        identifier,
        f"""
        WITH owners AS ({owners}), missing AS (SELECT id FROM owners EXCEPT SELECT {owner} FROM latest)
        SELECT (SELECT count(*) FROM owners), count(*), (array_agg(id ORDER BY id))[:{SAMPLES}] FROM missing""",
    )
    return checked(
        COVERED,
        not missing,
        expected=f"a list for each of {number:,}",
        found=f"{missing:,} without one",
        samples=samples or [],
    )


def _latest(identifier: str, query: str) -> tuple[int, int, list[str] | None]:
    """The row of a query that reads `latest`, the table's rows of the latest as-of date of the features."""
    lake = open_lake()
    with plain_failures(), lake.connect() as con:
        selects = pin(lake, [identifier, FEATURES, "published.dim_products"]).selects
        features = selects["customer_features"]
        rows: list[tuple[int, int, list[str] | None]] = con.execute(
            f"""
            WITH latest AS (FROM ({selects[identifier.split(".", 1)[1]]}) WHERE as_of_date = $as_of),
            customers AS (SELECT customer_id FROM ({features}) WHERE as_of_date = $as_of),
            products AS (SELECT * FROM ({selects["dim_products"]}) WHERE is_current),
            offered AS (SELECT product_id FROM products WHERE coalesce(is_active, true))
            SELECT * FROM ({query})""",
            {"as_of": scoring_date(as_of_dates(con, features))},
        ).fetchall()
    return rows[0]
