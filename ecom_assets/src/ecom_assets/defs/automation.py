"""When assets run: the job of this location and its schedule. Conditions are in `cartograph.trust.automation`."""

import dagster as dg

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.automation import automation_sensor, on_request
from ecom_assets.defs.partitions import window_partitions

conditions_sensor = automation_sensor()

warehouse_job = dg.define_asset_job(
    "warehouse_job",
    selection=dg.AssetSelection.all() - on_request(),
    partitions_def=window_partitions(),
    description="Everything of this location for some partitions: ingest, build the warehouse, publish its marts.",
    tags={"dagster/max_retries": "0"},
)

repair_job = dg.define_asset_job(
    "repair_job",
    selection=dg.AssetSelection.all() - (on_request() - dg.AssetSelection.assets(["quality", "rebuild"])),
    partitions_def=window_partitions(),
    description="Some partitions of some datasets, all that is made of them, and whether a full build gives the same.",
)


@dg.schedule(
    job=warehouse_job,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    description="Each night: load the newest partition that has ended, and rebuild what depends on it.",
)
def warehouse_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One run for the newest partition; skipped while the shop has none yet."""
    settings = get_settings()
    moment = context.scheduled_execution_time
    ended = [w for w in load_shop(settings).windows(settings.partition_grain, moment) if w.end <= moment]
    if not ended:
        return dg.SkipReason("No partition of the shop has ended yet.")
    return dg.RunRequest(run_key=f"{moment.date()}", partition_key=ended[-1].key)
