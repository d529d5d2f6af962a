"""Whether what guards some assets holds: the latest result of each of their checks, and what it was found on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as COMPLETED,
)

from cartograph.releases import CheckOutcome
from cartograph.trust.asset_graph import GuardedAsset
from cartograph.windows import Window

_START, _END = "window_start", "window_end"
_HISTORY = 200
"""How many results of a check are looked at for one that stands."""


def check_outcomes(instance: dg.DagsterInstance, assets: Sequence[GuardedAsset]) -> tuple[CheckOutcome, ...]:
    """The outcome of each check of `assets`, by asset and name.

    A result counts for the asset's latest materialisation if it was found on it; a check that has no result is missing,
    one that was found on an earlier materialisation is outdated, and a blocking one of both forbids what is made of it.
    A failure stands until its partitions are looked at again.
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
    results = _standing_results(instance, list(checks))
    return tuple(
        _outcome(key, blocking, results.get(key), latest.get(key.asset_key.to_user_string()))
        for key, blocking in sorted(checks.items(), key=lambda item: (item[0].asset_key.path, item[0].name))
    )


def looked_at(window: Window) -> dict[str, str]:
    """The metadata by which a check tells that it looked at the partitions in `window` only."""
    return {_START: window.start.isoformat(), _END: window.end.isoformat()}


def is_partial(result: dg.AssetCheckEvaluation) -> bool:
    """Whether a check looked at some partitions only."""
    return _window(result) is not None


class Standing(NamedTuple):
    """The result of a check that stands, and whether it is the latest one."""

    result: dg.AssetCheckEvaluation
    is_latest: bool


def results_of(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, up_to: int | None = None
) -> list[dg.AssetCheckEvaluation]:
    """The results of a check, the latest first; with `up_to`, those of the execution with that id and before."""
    cursor = None if up_to is None else up_to + 1
    history = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=_HISTORY, cursor=cursor, status=COMPLETED
    )
    return [record.evaluation for record in history if record.evaluation is not None]


def standing(results: Sequence[dg.AssetCheckEvaluation]) -> Standing:
    """Which of a check's results, the latest first, stands: a failure does until its partitions are looked at again.

    A look at some partitions says nothing of the others; one that does not say where it looked was at all of them.
    """
    later: list[tuple[str, str]] = []
    for position, result in enumerate(results):
        looked = _window(result)
        if not result.passed and (looked is None or not _covers(later, looked)):
            return Standing(result, position == 0)
        if looked is None:
            break
        later.append(looked)
    return Standing(results[0], True)


def _window(result: dg.AssetCheckEvaluation) -> tuple[str, str] | None:
    start, end = (result.metadata.get(name) for name in (_START, _END))
    if isinstance(start, dg.TextMetadataValue) and isinstance(end, dg.TextMetadataValue) and start.text and end.text:
        return start.text, end.text
    return None


def _covers(windows: Sequence[tuple[str, str]], wanted: tuple[str, str]) -> bool:
    """Whether `windows` together hold all of `wanted`; ISO timestamps in UTC, which are ordered as text."""
    reached, end = wanted
    for first, last in sorted(windows):
        if first <= reached:
            reached = max(reached, last)
    return reached >= end


def _outcome(
    key: dg.AssetCheckKey, blocking: bool, found: Standing | None, materialization: int | None
) -> CheckOutcome:
    asset_key = key.asset_key.to_user_string()
    if found is None:
        return CheckOutcome(
            asset_key=asset_key, name=key.name, passed=False, severity="ERROR", blocking=blocking, basis="missing"
        )
    target = found.result.target_materialization_data
    is_current = target is not None and target.storage_id == materialization
    return CheckOutcome(
        asset_key=asset_key,
        name=key.name,
        passed=found.result.passed,
        severity=found.result.severity.value,
        blocking=blocking,
        basis="current" if is_current or not found.is_latest else "outdated",
    )


def _standing_results(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey]
) -> dict[dg.AssetCheckKey, Standing]:
    """The result of each of `keys` that stands; a check that was only planned has none."""
    found: dict[dg.AssetCheckKey, Standing] = {}
    for key, latest in instance.event_log_storage.get_latest_asset_check_execution_by_key(keys).items():
        result = latest.evaluation if latest.status in COMPLETED else None
        results = [result] if result is not None and not is_partial(result) else results_of(instance, key)
        if results:
            found[key] = standing(results)
    return found
