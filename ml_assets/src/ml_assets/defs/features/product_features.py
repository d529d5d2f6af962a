"""Product features as an asset: one row for each product and as-of date, which knows nothing of the future."""

import dagster as dg

from ml_assets.core.features import products
from ml_assets.defs.features.steps import GUARDED, guard, materialize
from ml_assets.defs.marts import PRODUCT_FEATURES, delivered, depends_on
from ml_assets.defs.partitions import as_of_partitions

KEY = dg.AssetKey(["features", "product_features"])


def marts() -> tuple[str, ...]:
    """The marts that the shop has of those that these features are made of."""
    return delivered((*products.REQUIRED_MARTS, *products.OPTIONAL_MARTS))


@dg.asset(
    key=KEY,
    deps=depends_on(marts(), as_of=True),
    partitions_def=as_of_partitions(),
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={"duckdb", "iceberg"},
    tags={"domain": "product"},
    description=(
        "What was known of each product on each as-of date: price level, margin, velocity, season, returns, demand and "
        "stock, strictly before that date. A partition is an as-of date; the features are described in "
        "`ml_assets.core.features.products`."
    ),
)
def product_features(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Compute the features of the run's as-of dates and replace these dates in the lake."""
    return materialize(
        context, PRODUCT_FEATURES, products.PRODUCT_FEATURES.of(marts()), marts(), products.product_features
    )


@dg.asset_check(asset=KEY, blocking=True, description=GUARDED)
def nothing_from_the_future() -> dg.AssetCheckResult:
    """Hold two as-of dates against what was known then."""
    return guard(PRODUCT_FEATURES, marts(), products.product_table)
