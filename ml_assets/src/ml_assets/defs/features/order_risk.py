"""The order-risk table, one row for each order; the guards that it knows nothing of the future and lost nothing.

A shop that delivers no payments or no refunds has no such asset, and no fraud model.
"""

import dagster as dg

from cartograph.settings import get_settings
from cartograph.trust.evidence import SAMPLES
from ml_assets.core.features import order_leakage, order_risk
from ml_assets.core.features.order_catalogue import ORDER_RISK as TABLE
from ml_assets.core.features.reconciliation import reconcile_orders
from ml_assets.defs.features.steps import future_result, reconciled_result
from ml_assets.defs.marts import (
    ORDER_RISK,
    depends_on,
    open_lake,
    pin,
    plain_failures,
    published,
    risk_marts,
    tells_fraud,
)
from ml_assets.defs.metadata import table_metadata
from ml_assets.defs.partitions import as_of_date, as_of_partitions, window_before

KEY = dg.AssetKey(["features", "order_risk"])


@dg.definitions
def order_risk_definitions() -> dg.Definitions:
    """The asset and its checks, where the shop delivers what they need."""
    if not tells_fraud():
        return dg.Definitions()
    return dg.Definitions(assets=[risk], asset_checks=[no_future, reconciles])


@dg.asset(
    key=KEY,
    deps=depends_on(risk_marts(), as_of=True),
    partitions_def=as_of_partitions(),
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={"duckdb", "iceberg"},
    tags={"domain": "finance"},
    description=(
        "What was known of each order when it was placed: how fast its customer, card and device order, who else was "
        "seen with them, what was charged back before, how unusual the basket is, and what the customer has just done "
        "in the shop. A partition holds the orders of the window that ends on its date; docs/features.md lists the "
        "features."
    ),
)
def risk(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Compute the features of the orders of the run's windows and replace these in the lake, as one commit."""
    settings = get_settings()
    lake = open_lake()
    dates = sorted(as_of_date(key) for key in context.partition_keys)
    window, table = window_before(dates[0], dates[-1]), TABLE.of(risk_marts())
    contract = table.contract()
    rows = 0
    with plain_failures():
        marts = pin(lake, published(risk_marts()))
        lake.ensure(ORDER_RISK, contract, settings.partition_grain)
        with lake.connect() as con, lake.overwriting(ORDER_RISK, window) as writer:
            for part in order_risk.order_risk(con, marts.selects, window.start.date(), window.end.date()):
                writer.write(part)
                rows += len(part)
    return dg.MaterializeResult(
        metadata=table_metadata(contract, rows, marts.snapshots) | {"features": len(table.features)}
    )


@dg.asset_check(
    asset=KEY,
    name="nothing_from_the_future",
    blocking=True,
    description=(
        "Features computed from marts that end at an order's moment are the same rows: those in the table of the "
        "latest partition, and those of a month in the middle, which has much to leak."
    ),
)
def no_future() -> dg.AssetCheckResult:
    """Hold the orders up to two moments against what was known then."""
    lake = open_lake()
    with plain_failures(), lake.connect() as con:
        marts = pin(lake, published(risk_marts())).selects
        found = order_leakage.guard(con, marts, lake.relation_sql(ORDER_RISK), get_settings().partition_grain)
    return future_result(found, "ml_assets.core.features.order_risk")


@dg.asset_check(
    asset=KEY,
    name="features_reconcile",
    blocking=True,
    description="In the latest partition, the features have each published order once, with its customer and amount.",
)
def reconciles() -> dg.AssetCheckResult:
    """Hold the latest partition's orders against the published marts."""
    lake = open_lake()
    with plain_failures(), lake.connect() as con:
        stored = lake.relation_sql(ORDER_RISK)
        marts = pin(lake, published(["fct_orders"])).selects
        first = order_leakage.latest_partition(con, stored, get_settings().partition_grain)
        found = reconcile_orders(con, marts, stored, first, SAMPLES) if first else None
    return reconciled_result(found, "from")
