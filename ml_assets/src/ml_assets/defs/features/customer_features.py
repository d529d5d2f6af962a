"""The feature table, one row for each customer and as-of date; the guards that it knows nothing of the future and lost
nothing of the past."""

import dagster as dg

from cartograph.settings import get_settings
from cartograph.trust.evidence import SAMPLES
from ml_assets.core.features import customers, leakage, reconciliation
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.defs.features.steps import future_result, reconciled_result
from ml_assets.defs.marts import FEATURES, depends_on, feature_marts, open_lake, pin, plain_failures, published
from ml_assets.defs.metadata import table_metadata
from ml_assets.defs.partitions import as_of_date, as_of_partitions, as_of_window

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
        "before that date. A partition is an as-of date; docs/features.md "
        "lists the features."
    ),
)
def customer_features(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Compute the features of the run's as-of dates and replace these dates in the lake, as one commit."""
    settings = get_settings()
    lake = open_lake()
    dates = sorted(as_of_date(key) for key in context.partition_keys)
    contract = CUSTOMER_FEATURES.of(feature_marts()).contract()
    rows = 0
    with plain_failures():
        marts = pin(lake, published(feature_marts()))
        lake.ensure(FEATURES, contract, settings.partition_grain)
        with lake.connect() as con, lake.overwriting(FEATURES, as_of_window(dates[0], dates[-1])) as writer:
            for table in customers.customer_features(con, marts.selects, dates):
                writer.write(table)
                rows += len(table)
    return dg.MaterializeResult(
        metadata=table_metadata(contract, rows, marts.snapshots)
        | {"as_of_dates": len(dates), "features": len(contract.columns) - len(CUSTOMER_FEATURES.key)}
    )


@dg.asset_check(
    asset=KEY,
    blocking=True,
    description=(
        "Features computed from marts that end at the as-of date are the same rows: those in the table on the latest "
        "as-of date, and those of a date in the middle, which has much to leak."
    ),
)
def nothing_from_the_future() -> dg.AssetCheckResult:
    """Hold two as-of dates against what was known then."""
    lake = open_lake()
    with plain_failures(), lake.connect() as con:
        marts = pin(lake, published(feature_marts())).selects
        found = leakage.guard(con, marts, lake.relation_sql(FEATURES))
    return future_result(found, "ml_assets.core.features.customers")


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
