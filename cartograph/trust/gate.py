"""Whether what guards some assets holds: the result of each of their checks that stands, and what it was found on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import NamedTuple

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as COMPLETED,
)
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from cartograph.releases import CheckOutcome
from cartograph.settings import get_settings
from cartograph.trust.asset_graph import GuardedAsset
from cartograph.trust.automation import PARTITION_TAG, RANGE_TAGS
from cartograph.windows import Window, advance, at_midnight, floor

_START, _END = "window_start", "window_end"
_ERROR = dg.AssetCheckSeverity.ERROR
_FIRST_PAGE, _LARGEST_PAGE = 20, 500
"""How many executions of a check are read at once: few at first, as the latest ones mostly tell enough."""
_NOT_PASSED = {AssetCheckExecutionRecordStatus.FAILED, AssetCheckExecutionRecordStatus.PLANNED}
_Span = tuple[str, str]
"""ISO timestamps in UTC, which are ordered as text: from the first to before the second."""


def check_outcomes(instance: dg.DagsterInstance, assets: Sequence[GuardedAsset]) -> tuple[CheckOutcome, ...]:
    """The outcome of each check of `assets`, by asset and name.

    A result counts for the asset's latest materialisation if it was found on it; a check that has no result is missing,
    one that was found on an earlier materialisation, or that a run began and has not ended, is outdated, and a blocking
    one of both forbids what is made of it. A failure stands until its partitions are looked at again.
    """
    keys = [dg.AssetKey.from_user_string(asset.key) for asset in assets]
    latest = {
        record.asset_entry.asset_key.to_user_string(): record.asset_entry.last_materialization_storage_id
        for record in instance.get_asset_records(keys)
    }
    checks = checks_of(assets)
    results = standing_results(instance, list(checks))
    return tuple(
        _outcome(key, blocking, results.get(key), latest.get(key.asset_key.to_user_string()))
        for key, blocking in sorted(checks.items(), key=lambda item: (item[0].asset_key.path, item[0].name))
    )


def checks_of(assets: Iterable[GuardedAsset]) -> dict[dg.AssetCheckKey, bool]:
    """The checks of `assets`, and whether each blocks what is downstream."""
    return {
        dg.AssetCheckKey(dg.AssetKey.from_user_string(asset.key), name): blocking
        for asset in assets
        for name, blocking in asset.checks.items()
    }


def looked_at(window: Window) -> dict[str, str]:
    """The metadata by which a check tells that it looked at the partitions in `window` only."""
    return {_START: window.start.isoformat(), _END: window.end.isoformat()}


def is_partial(result: dg.AssetCheckEvaluation) -> bool:
    """Whether a check looked at some partitions only."""
    return span_of(result) is not None


def span_of(result: dg.AssetCheckEvaluation) -> _Span | None:
    """The partitions that a check looked at; None for all."""
    start, end = (result.metadata.get(name) for name in (_START, _END))
    if isinstance(start, dg.TextMetadataValue) and isinstance(end, dg.TextMetadataValue) and start.text and end.text:
        return start.text, end.text
    return None


def errors_ever(
    instance: dg.DagsterInstance, keys: Iterable[dg.AssetCheckKey]
) -> dict[dg.AssetCheckKey, tuple[dg.AssetCheckEvaluation, ...]]:
    """All errors that checks have found, whether or not they were mended, the latest first."""
    found = {}
    for key in keys:
        records = executions(instance, key, status={AssetCheckExecutionRecordStatus.FAILED})
        results = [record.evaluation for record in records if record.evaluation is not None]
        if errors := tuple(result for result in results if result.severity == _ERROR):
            found[key] = errors
    return found


def span_of_run(run: dg.DagsterRun) -> _Span | None:
    """The partitions of a run; None where it has none that are named by the day on which they start.

    A last one that is none of the settings' grain, as of a run with another one, is that day alone.
    """
    keys = [run.tags.get(tag, run.tags.get(PARTITION_TAG, "")) for tag in RANGE_TAGS]
    try:
        first, last = (at_midnight(date.fromisoformat(key)) for key in keys)
    except ValueError:
        return None
    grain = get_settings().partition_grain
    return first.isoformat(), advance(last, grain if floor(last, grain) == last else "daily").isoformat()


class Unfinished(NamedTuple):
    """A look that a run began and has not ended: at which partitions, None where nobody knows."""

    span: _Span | None


class Standing(NamedTuple):
    """What stands of a check's results: the one that counts, the latest one, and what failed and nothing later mended.

    `is_unfinished` says whether a run began to make the asset anew and has not said what the check found.
    """

    result: dg.AssetCheckEvaluation
    latest: dg.AssetCheckEvaluation
    errors: tuple[dg.AssetCheckEvaluation, ...]
    warnings: tuple[dg.AssetCheckEvaluation, ...]
    is_unfinished: bool

    @property
    def is_latest(self) -> bool:
        """Whether the result that counts is the latest one."""
        return self.result is self.latest


def standing(history: Iterable[dg.AssetCheckEvaluation | Unfinished]) -> Standing | None:
    """Which of a check's results, the latest first, stands: a failure does until its partitions are looked at again.

    A look at some partitions says nothing of the others; one that does not say where it looked was at all of them. Of
    several failures the latest error stands, and a warning only where there is none. None where nothing was found.
    """
    later: list[_Span] = []
    failures: list[dg.AssetCheckEvaluation] = []
    latest: dg.AssetCheckEvaluation | None = None
    is_unfinished = False
    for look in history:
        if isinstance(look, Unfinished):
            is_over = latest is not None if look.span is None else _covers(later, look.span)
            is_unfinished = is_unfinished or not is_over
            continue
        latest = latest or look
        looked = span_of(look)
        if not look.passed and (looked is None or not _covers(later, looked)):
            failures.append(look)
        if looked is None:
            break
        later.append(looked)
    if latest is None:
        return None
    errors = tuple(failure for failure in failures if failure.severity == _ERROR)
    warnings = tuple(failure for failure in failures if failure.severity != _ERROR)
    return Standing(next(iter((*errors, *warnings)), latest), latest, errors, warnings, is_unfinished)


def stood_after(instance: dg.DagsterInstance, key: dg.AssetCheckKey, execution: int) -> Standing | None:
    """What stood of a check's results after the execution with that id; None where there was none."""
    return _standing(instance, key, _Runs(instance), execution)


def standing_results(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey]
) -> dict[dg.AssetCheckKey, Standing]:
    """What stands of the results of each of `keys`; a check that was only planned has none."""
    found: dict[dg.AssetCheckKey, Standing] = {}
    runs = _Runs(instance)
    for key, latest in instance.event_log_storage.get_latest_asset_check_execution_by_key(keys).items():
        result = latest.evaluation if latest.status in COMPLETED else None
        stands = standing([result]) if result and not is_partial(result) else _standing(instance, key, runs)
        if stands is not None:
            found[key] = stands
    return found


def _standing(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, runs: _Runs, up_to: int | None = None
) -> Standing | None:
    """What stands of a check's results. Read back to the oldest that did not pass, and no further."""
    not_passed = executions(instance, key, up_to, _NOT_PASSED)
    unsound = (record.id for record in not_passed if record.status in COMPLETED or runs.began(record))
    needed = _back_to(min(unsound, default=None), executions(instance, key, up_to))
    return standing(_looks(needed, runs))


def _back_to(oldest: int | None, records: Iterable[AssetCheckExecutionRecord]) -> Iterator[AssetCheckExecutionRecord]:
    """Those of `records`, the latest first, from the one with the id `oldest` on; one that was completed at least."""
    is_enough = False
    for record in records:
        if is_enough and (oldest is None or record.id < oldest):
            return
        is_enough = is_enough or record.status in COMPLETED
        yield record


def executions(
    instance: dg.DagsterInstance,
    key: dg.AssetCheckKey,
    up_to: int | None = None,
    status: set[AssetCheckExecutionRecordStatus] | None = None,
) -> Iterator[AssetCheckExecutionRecord]:
    """The executions of a check, the latest first; with `up_to`, that with this id and those before."""
    cursor, limit = None if up_to is None else up_to + 1, _FIRST_PAGE
    while True:
        page = instance.event_log_storage.get_asset_check_execution_history(
            key, limit=limit, cursor=cursor, status=status
        )
        yield from page
        if len(page) < limit:
            return
        cursor, limit = page[-1].id, min(2 * limit, _LARGEST_PAGE)


def _looks(records: Iterable[AssetCheckExecutionRecord], runs: _Runs) -> Iterator[dg.AssetCheckEvaluation | Unfinished]:
    for record in records:
        if record.status in COMPLETED:
            if record.evaluation is not None:
                yield record.evaluation
        elif runs.began(record):
            yield Unfinished(runs.span(record.run_id))


class _Runs:
    """What runs began, and for which partitions. Each is asked for once."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._runs: dict[str, dg.DagsterRun | None] = {}
        self._steps: dict[str, set[str | None]] = {}

    def began(self, planned: AssetCheckExecutionRecord) -> bool:
        """Whether the run that planned a check began the step that was to make its asset.

        Whether it is at work still or was killed is not asked: either way its rows may be there, and nobody looked. A
        run that somebody deleted may have begun it.
        """
        if self._run(planned.run_id) is None:
            return True
        if planned.run_id not in self._steps:
            entries = self._instance.all_logs(planned.run_id, of_type=dg.DagsterEventType.STEP_START)
            self._steps[planned.run_id] = {entry.step_key for entry in entries}
        begun = self._steps[planned.run_id]
        return bool(begun) if planned.event is None else planned.event.step_key in begun

    def span(self, run_id: str) -> _Span | None:
        """The partitions of a run; None where it is gone, or has none."""
        run = self._run(run_id)
        return span_of_run(run) if run is not None else None

    def _run(self, run_id: str) -> dg.DagsterRun | None:
        if run_id not in self._runs:
            self._runs[run_id] = self._instance.get_run_by_id(run_id)
        return self._runs[run_id]


def _covers(spans: Sequence[_Span], wanted: _Span) -> bool:
    """Whether `spans` together hold all of `wanted`."""
    reached, end = wanted
    for first, last in sorted(spans):
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
    target = found.latest.target_materialization_data
    is_current = target is not None and target.storage_id == materialization and not found.is_unfinished
    is_of_other_partitions = bool(found.errors) and not found.is_latest
    return CheckOutcome(
        asset_key=asset_key,
        name=key.name,
        passed=found.result.passed,
        severity=found.result.severity.value,
        blocking=blocking,
        basis="current" if is_current or is_of_other_partitions else "outdated",
    )
