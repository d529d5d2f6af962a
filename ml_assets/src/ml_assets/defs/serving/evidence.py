"""What a release can say of its making: check results and snapshots that the Dagster instance has on record."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from cartograph.releases import CheckOutcome
from ml_assets.defs.metadata import SNAPSHOTS


def upstream_snapshots(instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]) -> dict[str, int]:
    """The lake snapshots from which the latest materialisations of `keys` were made, by table."""
    found: dict[str, int] = {}
    for key in keys:
        event = instance.get_latest_materialization_event(key)
        materialization = event.asset_materialization if event is not None else None
        recorded = materialization.metadata.get(SNAPSHOTS) if materialization is not None else None
        if isinstance(recorded, dg.JsonMetadataValue) and isinstance(recorded.data, dict):
            found |= {table: int(snapshot) for table, snapshot in recorded.data.items()}
    return found


def check_outcomes(context: dg.AssetExecutionContext, key: dg.AssetKey) -> tuple[CheckOutcome, ...]:
    """The latest results of all checks upstream of the asset `key`, of both code locations, by asset and name.

    The checks of this location are known by name. Those of the other are taken from the runs that last made the
    published marts which this location reads: such a run holds the checks of all that it made them from.
    """
    instance, graph = context.instance, context.repository_def.asset_graph
    latest: dict[tuple[str, str], tuple[float, dg.AssetCheckEvaluation]] = {}
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(graph.asset_check_keys))
    entries = [record.event for record in records.values() if record.event is not None]
    for run_id in {_latest_run(instance, external) for external in graph.external_asset_keys} - {None}:
        entries += instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    for entry in entries:
        event = entry.dagster_event
        if event is None or event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            continue
        result = event.asset_check_evaluation_data
        name = (result.asset_key.to_user_string(), result.check_name)
        if result.asset_key != key and (name not in latest or latest[name][0] < entry.timestamp):
            latest[name] = (entry.timestamp, result)
    return tuple(
        CheckOutcome(
            asset_key=asset,
            name=check,
            passed=result.passed,
            severity=result.severity.value,
            blocking=bool(result.blocking),
        )
        for (asset, check), (_, result) in sorted(latest.items(), key=lambda item: item[0])
    )


def _latest_run(instance: dg.DagsterInstance, key: dg.AssetKey) -> str | None:
    event = instance.get_latest_materialization_event(key)
    return event.run_id if event is not None else None
