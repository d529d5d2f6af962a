"""The asset `raw/prediction_log`: what the API's models answered, sampled, as it comes back to the lake.

No source of a shop delivers it, and it has no partitions of the shop's time: it is of the days on which the API was
asked. How it is loaded is `ecom_assets.prediction_log`.
"""

from datetime import UTC, datetime

import dagster as dg

from cartograph.lake import Lake, LakeError
from cartograph.settings import get_settings
from cartograph.trust.evidence import checked
from cartograph.words import counted
from ecom_assets.components.source_component import OWNERS, column_schema, origin_asset, origin_key
from ecom_assets.contracts.serving import PREDICTION_LOG
from ecom_assets.ingestion import Batch
from ecom_assets.prediction_log import TABLE, LogReport, load_log

KEY = dg.AssetKey(["raw", PREDICTION_LOG.dataset])
ORIGIN = "service"
ACCOUNTED, READABLE = "rows_accounted_for", "everything_readable"

service_log = origin_asset(ORIGIN, "The log of predictions of the API, in the shop's folder.", "json")


@dg.asset(
    key=KEY,
    description=(
        f"{PREDICTION_LOG.grain} `CARTOGRAPH_PREDICTION_LOG_SHARE` says how many; nothing in it says whose they are."
    ),
    group_name="raw",
    kinds={"json", "iceberg"},
    owners=OWNERS,
    tags={"domain": "quality"},
    metadata={"dagster/column_schema": column_schema(PREDICTION_LOG), "dagster/table_name": TABLE},
    deps=[origin_key(ORIGIN)],
    check_specs=[
        dg.AssetCheckSpec(ACCOUNTED, asset=KEY, description="Each line of the log is in the lake once, or unreadable."),
        dg.AssetCheckSpec(READABLE, asset=KEY, description="Each line of the log is an entry."),
    ],
)
def prediction_log(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Load what the API has logged since the last load."""
    settings = get_settings()
    try:
        report = load_log(
            Lake.from_settings(settings),
            settings.prediction_log_dir,
            grain=settings.partition_grain,
            batch=Batch(ingested_at=datetime.now(UTC), batch_id=context.run_id),
        )
    except (LakeError, OSError) as mistake:
        raise dg.Failure(description=str(mistake), allow_retries=False) from mistake
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": report.added,
            "files": report.files,
            "deleted_files": report.deleted,
            "known_rows": report.known,
            "snapshot_id": str(report.snapshot_id),
        },
        check_results=judge(report),
    )


def judge(report: LogReport) -> list[dg.AssetCheckResult]:
    """The checks of a load. A line that cannot be read is lost, and of a sample that is no more than a warning."""
    return [
        checked(
            ACCOUNTED,
            report.is_accounted_for,
            expected=counted(report.delivered, "line"),
            found=(
                f"{report.added:,} added, {report.known:,} known before, {report.repeated:,} repeated, "
                f"{len(report.unreadable):,} unreadable; {report.stored:,} in the lake"
            ),
        ),
        checked(
            READABLE,
            not report.unreadable,
            expected="every line is an entry",
            found=f"{len(report.unreadable)} unreadable",
            samples=report.unreadable,
            severity="warning",
        ),
    ]
