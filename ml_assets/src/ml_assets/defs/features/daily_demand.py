"""The daily demand panel, one row for each product and day, and the check that no order line is lost in it."""

from datetime import timedelta

import dagster as dg

from cartograph.settings import get_settings
from cartograph.trust.evidence import SAMPLES, checked
from ml_assets.core.features import daily_demand
from ml_assets.defs.marts import DEMAND, demand_marts, depends_on, open_lake, pin, plain_failures, published
from ml_assets.defs.metadata import table_metadata
from ml_assets.defs.partitions import as_of_date, as_of_partitions, window_before

KEY = dg.AssetKey(["features", "daily_demand"])


@dg.asset(
    key=KEY,
    deps=depends_on(demand_marts(), as_of=True),
    partitions_def=as_of_partitions(),
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={"duckdb", "iceberg"},
    tags={"domain": "product"},
    description=(
        "What was asked for of each product on each day: units and orders, price, discount, and where the shop counts "
        "it, the stock. A day's row knows nothing but that day. A partition is an as-of date and holds the days "
        "before it, back to the one before; the columns are described in `ml_assets.core.features.daily_demand`."
    ),
)
def daily_demand_panel(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Count the demand of the run's windows and replace their days in the lake, as one commit."""
    lake = open_lake()
    dates = sorted(as_of_date(key) for key in context.partition_keys)
    window = window_before(dates[0], dates[-1])
    with plain_failures():
        marts = pin(lake, published(demand_marts()))
        lake.ensure(DEMAND, daily_demand.CONTRACT, get_settings().partition_grain)
        with lake.connect() as con:
            rows = daily_demand.daily_demand(con, marts.selects, window.start.date(), window.end.date())
        with lake.overwriting(DEMAND, window) as writer:
            writer.write(rows)
    last = window.end.date() - timedelta(days=1)
    return dg.MaterializeResult(
        metadata=table_metadata(daily_demand.CONTRACT, len(rows), marts.snapshots)
        | {"days": f"{window.start.date()} to {last}"}
    )


@dg.asset_check(
    asset=KEY,
    blocking=True,
    description="Each product has on each day the units, worth and discounts of that day's published order lines.",
)
def demand_reconciles() -> dg.AssetCheckResult:
    """Hold the units and amounts of each product and day against the published mart."""
    lake = open_lake()
    with plain_failures(), lake.connect() as con:
        items = pin(lake, published(["fct_order_items"])).selects["fct_order_items"]
        grain = get_settings().partition_grain
        kept, sold, samples = daily_demand.differing(con, items, lake.relation_sql(DEMAND), grain, SAMPLES)
    return checked(
        "demand_reconciles",
        not samples,
        expected=f"{sold:,} units, as in the order lines, with as many of each product on each day at the same price",
        found=f"{kept:,} units",
        samples=samples,
    )
