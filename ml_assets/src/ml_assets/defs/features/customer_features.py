"""The feature table, one row for each customer and as-of date; the guards that it knows nothing of the future and lost
nothing of the past."""

import dagster as dg

from cartograph.trust.evidence import SAMPLES
from ml_assets.core.features import customers, reconciliation
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.defs.features.steps import GUARDED, guard, materialize, reconciled_result
from ml_assets.defs.marts import FEATURES, depends_on, feature_marts, open_lake, pin, plain_failures, published
from ml_assets.defs.partitions import as_of_partitions

KEY = dg.AssetKey(["features", "customer_features"])


@dg.asset(
    key=KEY,
    deps=depends_on(feature_marts(), as_of=True),
    partitions_def=as_of_partitions(),
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={"duckdb", "iceberg"},
    tags={"domain": "customer"},
    description=(
        "What was known of each registered customer on each as-of date: orders, spend, refunds and visits strictly "
        "before that date. A partition is an as-of date; the catalogue of features is "
        "`ml_assets.core.features.catalogue`."
    ),
)
def customer_features(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Compute the features of the run's as-of dates and replace these dates in the lake."""
    marts = feature_marts()
    made = materialize(context, FEATURES, CUSTOMER_FEATURES.of(marts), marts, customers.customer_features)
    lake = open_lake()
    with lake.connect() as con:
        if not customers.as_of_dates(con, lake.relation_sql(FEATURES)):
            raise dg.Failure(
                "There is no customer in the data, so there is nobody to learn from or to predict for. "
                "`cartograph shops check` tells what the sources deliver.",
                allow_retries=False,
            )
    return made


@dg.asset_check(asset=KEY, blocking=True, description=GUARDED)
def nothing_from_the_future() -> dg.AssetCheckResult:
    """Hold two as-of dates against what was known then."""
    return guard(FEATURES, feature_marts(), customers.feature_table)


@dg.asset_check(
    asset=KEY,
    blocking=True,
    description=(
        "On the latest as-of date, the features have each registered customer once, and of each the number and worth "
        "of the published orders before that date."
    ),
)
def features_reconcile() -> dg.AssetCheckResult:
    """Hold the latest as-of date's customers, orders and spend against the published marts."""
    lake = open_lake()
    with plain_failures(), lake.connect() as con:
        marts = pin(lake, published(feature_marts())).selects
        found = reconciliation.reconcile(con, marts, lake.relation_sql(FEATURES), SAMPLES)
    return reconciled_result(found, "before")
