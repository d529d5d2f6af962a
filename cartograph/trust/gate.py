"""Whether what guards some assets holds: the latest result of each of their checks, and what it was found on."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as COMPLETED,
)

from cartograph.releases import CheckOutcome
from cartograph.trust.asset_graph import GuardedAsset


def check_outcomes(instance: dg.DagsterInstance, assets: Sequence[GuardedAsset]) -> tuple[CheckOutcome, ...]:
    """The outcome of each check of `assets`, by asset and name.

    A result counts for the asset's latest materialisation if it was found on it; a check that has no result is missing,
    one that was found on an earlier materialisation is outdated, and a blocking one of both forbids what is made of it.
    """
    keys = [dg.AssetKey.from_user_string(asset.key) for asset in assets]
    latest = {
        record.asset_entry.asset_key.to_user_string(): record.asset_entry.last_materialization_storage_id
        for record in instance.get_asset_records(keys)
    }
    checks = {
        dg.AssetCheckKey(dg.AssetKey.from_user_string(asset.key), name): blocking
        for asset in assets
        for name, blocking in asset.checks.items()
    }
    results = _latest_results(instance, list(checks))
    return tuple(
        _outcome(key, blocking, results.get(key), latest.get(key.asset_key.to_user_string()))
        for key, blocking in sorted(checks.items(), key=lambda item: (item[0].asset_key.path, item[0].name))
    )


def _outcome(
    key: dg.AssetCheckKey, blocking: bool, result: dg.AssetCheckEvaluation | None, materialization: int | None
) -> CheckOutcome:
    asset_key = key.asset_key.to_user_string()
    if result is None:
        return CheckOutcome(
            asset_key=asset_key, name=key.name, passed=False, severity="ERROR", blocking=blocking, basis="missing"
        )
    target = result.target_materialization_data
    is_current = target is not None and target.storage_id == materialization
    return CheckOutcome(
        asset_key=asset_key,
        name=key.name,
        passed=result.passed,
        severity=result.severity.value,
        blocking=blocking,
        basis="current" if is_current else "outdated",
    )


def _latest_results(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey]
) -> dict[dg.AssetCheckKey, dg.AssetCheckEvaluation]:
    """The latest result of each of `keys` that has one; a run that only planned the check gave none."""
    storage = instance.event_log_storage
    found: dict[dg.AssetCheckKey, dg.AssetCheckEvaluation] = {}
    for key, latest in storage.get_latest_asset_check_execution_by_key(keys).items():
        completed = [latest]
        if latest.status not in COMPLETED:
            completed = list(storage.get_asset_check_execution_history(key, limit=1, status=COMPLETED))
        if completed and completed[0].evaluation is not None:
            found[key] = completed[0].evaluation
    return found
