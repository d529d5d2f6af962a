"""Features of customers with products as an asset: a row for each pair that met, which knows nothing of the future."""

import dagster as dg

from ml_assets.core.features import interactions
from ml_assets.defs.features.steps import GUARDED, guard, materialize
from ml_assets.defs.marts import INTERACTIONS, delivered, depends_on
from ml_assets.defs.partitions import as_of_partitions

KEY = dg.AssetKey(["features", "customer_product_interactions"])


def marts() -> tuple[str, ...]:
    """The marts that the shop has of those that these features are made of."""
    return delivered((*interactions.REQUIRED_MARTS, *interactions.OPTIONAL_MARTS))


@dg.asset(
    key=KEY,
    deps=depends_on(marts(), as_of=True),
    partitions_def=as_of_partitions(),
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={"duckdb", "iceberg"},
    tags={"domain": "customer"},
    description=(
        "What was known of each customer with each product that they met in the 90 days before an as-of date: views, "
        "carts and orders in 7, 30 and 90 days, affinity to product and category, popularity. A partition is an as-of "
        "date; the features are described in `ml_assets.core.features.interactions`."
    ),
)
def customer_product_interactions(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Compute the features of the run's as-of dates and replace these dates in the lake."""
    return materialize(context, INTERACTIONS, interactions.INTERACTIONS.of(marts()), marts(), interactions.interactions)


@dg.asset_check(asset=KEY, blocking=True, description=GUARDED)
def nothing_from_the_future() -> dg.AssetCheckResult:
    """Hold two as-of dates against what was known then."""
    return guard(INTERACTIONS, marts(), interactions.interaction_table)
