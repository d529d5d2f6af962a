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


def check_outcomes(instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]) -> tuple[CheckOutcome, ...]:
    """The latest results of the checks of `keys` and of all that they were made from, by asset and name.

    `keys` may be assets of both code locations. Which checks there are is told by the runs that last materialised
    them: such a run holds the checks of what it made them from, too. A check that was run again since counts as it
    ended then.
    """
    results: dict[dg.AssetCheckKey, dg.AssetCheckEvaluation] = {}
    for run_id in sorted({run_id for key in keys if (run_id := _latest_run(instance, key)) is not None}):
        for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
            if (result := _evaluation(entry)) is not None:
                results[result.asset_check_key] = result
    again = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(results))
    for key, record in again.items():
        if (result := _evaluation(record.event)) is not None:
            results[key] = result
    return tuple(
        CheckOutcome(
            asset_key=key.asset_key.to_user_string(),
            name=key.name,
            passed=result.passed,
            severity=result.severity.value,
            blocking=bool(result.blocking),
        )
        for key, result in sorted(results.items(), key=lambda item: (item[0].asset_key.path, item[0].name))
    )


def _evaluation(entry: dg.EventLogEntry | None) -> dg.AssetCheckEvaluation | None:
    event = entry.dagster_event if entry is not None else None
    if event is None or event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return None
    return event.asset_check_evaluation_data


def _latest_run(instance: dg.DagsterInstance, key: dg.AssetKey) -> str | None:
    event = instance.get_latest_materialization_event(key)
    return event.run_id if event is not None else None
