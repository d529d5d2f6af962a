"""What happened since it was last looked: results of checks and ends of runs, as signals for `cartograph.alerts`.

Read by position, and not by time: whatever was recorded while nobody looked is found afterwards, and each once. What
is told of the state that all this has led to is in `cartograph.trust.states`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from typing import NamedTuple

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as COMPLETED,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

from cartograph.alerts.messages import Signal
from cartograph.alerts.parts import Part, merged, without
from cartograph.trust.causes import cause_of, failed_checks
from cartograph.trust.gate import executions, is_partial, span_of, span_of_run, stood_after
from cartograph.trust.overrides import overrides_in
from cartograph.trust.states import dead_backfills, failed_partitions, stale_assets
from cartograph.trust.watching import Observations, Watched
from cartograph.words import listed

_PAGE = 100
RUNS_FAILED = "runs failed"
_RUN_ENDS = {RUNS_FAILED: dg.DagsterEventType.RUN_FAILURE, "runs succeeded": dg.DagsterEventType.RUN_SUCCESS}
_RUN, _OVERRIDE = "run", "override"
_ERROR = dg.AssetCheckSeverity.ERROR


def observe(instance: dg.DagsterInstance, what: Watched, since: Mapping[str, str], now: datetime) -> Observations:
    """What happened to `what` after the positions `since`; the last of each thing where there are none yet.

    What is out of date and which partitions have failed is told as it is `now`.
    """
    checks, runs = _checks(instance, what, since), _runs(instance, what, since)
    partitions = failed_partitions(instance, what, since, runs.positions.get(RUNS_FAILED), now)
    backfills = dead_backfills(instance, what, since)
    states = [*partitions.signals, *backfills.signals, *stale_assets(instance, what, now)]
    found = [*checks.signals, *runs.signals, *states]
    signals = sorted(found, key=lambda signal: signal.at)
    positions = {**checks.positions, **runs.positions, **partitions.positions, **backfills.positions}
    return Observations(signals if since else _at_the_end(signals), positions)


def _at_the_end(signals: list[Signal]) -> list[Signal]:
    """What holds of each thing after all of `signals`."""
    found: dict[tuple[str, str], Signal] = {}
    for signal in (one for one in signals if one.lasts):
        key = signal.subject, signal.name
        if signal.healthy:
            left = {of: signal.left_of(known) for of, known in found.items()}
            found = {of: known for of, known in left.items() if known is not None}
        known = found.pop(key, None)
        found[key] = signal.with_parts_of(known) if known and not known.healthy and not signal.healthy else signal
    return list(found.values())


class _Position(NamedTuple):
    """Up to which execution of a check was looked, and which of those had not come to a result."""

    last: int
    pending: list[int]

    @classmethod
    def read(cls, text: str | None) -> _Position:
        return cls(*json.loads(text)) if text else cls(0, [])


def _checks(instance: dg.DagsterInstance, what: Watched, since: Mapping[str, str]) -> Observations:
    found = Observations([], {})
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(what.checks))
    running: dict[str, bool] = {}
    for key, record in latest.items():
        source = f"check {key.to_user_string()}"
        before = _Position.read(since.get(source))
        if record.id == before.last and not before.pending:
            continue
        records = _new_executions(instance, key, before) if since else _since_last_result(instance, key)
        signals = (_of_check(instance, record, what.owners[key.asset_key]) for record in records)
        found.signals.extend(signal for signal in signals if signal is not None)
        pending = [r.id for r in records if r.status not in COMPLETED and _is_running(instance, r.run_id, running)]
        found.positions[source] = json.dumps(_Position(record.id, pending))
    return found


def _new_executions(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, before: _Position
) -> list[AssetCheckExecutionRecord]:
    """The executions of a check that are new, or had no result before; oldest first."""
    oldest = min([before.last + 1, *before.pending])
    records = takewhile(lambda record: record.id >= oldest, executions(instance, key))
    return [record for record in records if record.id > before.last or record.id in before.pending][::-1]


def _since_last_result(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> list[AssetCheckExecutionRecord]:
    """The last execution of a check that has come to a result, and those that a run has planned since; oldest first."""
    records = []
    for record in executions(instance, key):
        records.append(record)
        if record.status in COMPLETED:
            break
    return records[::-1]


def _is_running(instance: dg.DagsterInstance, run_id: str, known: dict[str, bool]) -> bool:
    if run_id not in known:
        run = instance.get_run_by_id(run_id)
        known[run_id] = run is not None and not run.is_finished
    return known[run_id]


def _of_check(instance: dg.DagsterInstance, record: AssetCheckExecutionRecord, owner: str) -> Signal | None:
    """What holds of a check by its result, as a signal: a failure elsewhere stands beside it. None without a result."""
    result = record.evaluation
    if record.status not in COMPLETED or record.event is None or result is None:
        return None
    stands = stood_after(instance, record.key, record.id) if is_partial(result) else None
    failures = (stands.errors or stands.warnings) if stands else ()
    subject, result = result.asset_key.to_user_string(), stands.result if stands else result
    parts = merged(Part(name=subject, span=span_of(failure)) for failure in failures)
    return Signal(
        subject=subject,
        name=result.check_name,
        healthy=result.passed,
        severity="error" if result.severity == _ERROR else "warning",
        owner=owner,
        run_id=record.run_id,
        text=(result.description or "did not pass") + _elsewhere(result, parts),
        at=_moment(record.event.timestamp),
        holds_back=result.blocking and result.severity == _ERROR and not result.passed,
        parts=tuple(part for part in parts if parts[0].span is not None),
    )


def _elsewhere(result: dg.AssetCheckEvaluation, parts: Sequence[Part]) -> str:
    """The partitions that a check fails in besides those of `result`, in words."""
    others = without(parts, [Part(name=result.asset_key.to_user_string(), span=span_of(result))])
    spans = [f"{part.span[0][:10]} to before {part.span[1][:10]}" for part in others if part.span is not None]
    return f" (it fails for {listed(spans)}, too)" if spans else ""


def _runs(instance: dg.DagsterInstance, what: Watched, since: Mapping[str, str]) -> Observations:
    found = Observations([], {})
    for source, event_type in _RUN_ENDS.items():
        cursor, has_more = since.get(source), True
        while has_more:
            page = instance.fetch_run_status_changes(event_type, limit=_PAGE, cursor=cursor, ascending=True)
            entries = [record.event_log_entry for record in page.records]
            found.signals.extend(s for s in (_of_run(instance, what, entry) for entry in entries) if s is not None)
            found.signals.extend(s for entry in entries for s in _overrides(instance, what, entry))
            cursor, has_more = page.cursor, page.has_more
        if cursor is not None:
            found.positions[source] = cursor
    return found


def _of_run(instance: dg.DagsterInstance, what: Watched, entry: dg.EventLogEntry) -> Signal | None:
    """The end of a run as a signal; None for a run of another location."""
    run = instance.get_run_by_id(entry.run_id)
    if run is None or run.job_name not in what.jobs:
        return None
    chosen = sorted(run.asset_selection or ())
    if chosen and not what.owners.keys() & set(chosen):
        return None
    healthy = entry.dagster_event_type == dg.DagsterEventType.RUN_SUCCESS
    subject = run.job_name if not chosen else f"a run of {_and_more(chosen)}"
    stopped_by = [] if healthy else _stopped_by(instance, entry.run_id)
    by_check = next((check.asset_key for check in stopped_by if _ran_in(instance, entry.run_id, check)), None)
    if stopped_by and by_check is None:
        return None  # they failed in another run, and were told: one fault, one message
    signal = Signal(
        subject=subject,
        name=_RUN,
        healthy=healthy,
        severity="error",
        owner=what.team,
        run_id=entry.run_id,
        text="" if healthy else _why(instance, entry),
        at=_moment(entry.timestamp),
        parts=_to_make(what, run),
        only_of_parts=True,
    )
    if by_check is None:
        return signal
    folded = {"subject": by_check.to_user_string(), "owner": what.owners.get(by_check, what.team)}
    return signal.model_copy(update={**folded, "text": f"{subject} stopped there; what is downstream was not made"})


def _overrides(instance: dg.DagsterInstance, what: Watched, entry: dg.EventLogEntry) -> Iterator[Signal]:
    """What the run published or released in spite of failed checks, as a signal for each owner."""
    told = {key: text for key, text in overrides_in(instance, entry.run_id).items() if key in what.owners}
    for owner in sorted({what.owners[key] for key in told}):
        keys = sorted(key for key in told if what.owners[key] == owner)
        yield Signal(
            subject=_and_more(keys),
            name=_OVERRIDE,
            healthy=False,
            severity="warning",
            owner=owner,
            run_id=entry.run_id,
            text=listed(list(dict.fromkeys(told[key] for key in keys)), "; "),
            at=_moment(entry.timestamp),
            parts=tuple(Part(name=key.to_user_string()) for key in keys),
            lasts=False,
        )


def _to_make(what: Watched, run: dg.DagsterRun) -> tuple[Part, ...]:
    """The assets that a run makes, with its partitions: those chosen, or all of its job; none where it runs checks."""
    chosen = run.asset_selection or (set() if run.asset_check_selection else what.jobs[run.job_name])
    span = span_of_run(run)
    return tuple(
        Part(name=key.to_user_string(), span=span if key in what.partitions else None) for key in sorted(chosen)
    )


def _stopped_by(instance: dg.DagsterInstance, run_id: str) -> list[dg.AssetCheckKey]:
    """The failed checks that are all that the run's first failed step failed for; none where it failed otherwise."""
    failures = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    events = [failure.dagster_event for failure in failures if failure.dagster_event is not None]
    if not events:
        return []
    error = events[0].step_failure_data.error
    if error is None or error.cls_name != DagsterAssetCheckFailedError.__name__:
        return failed_checks(events[0])
    results = _results_in(instance, run_id, events[0].step_key)
    return [r.asset_check_key for r in results if not r.passed and r.blocking and r.severity == _ERROR]


def _ran_in(instance: dg.DagsterInstance, run_id: str, check: dg.AssetCheckKey) -> bool:
    return any(result.asset_check_key == check for result in _results_in(instance, run_id))


def _results_in(instance: dg.DagsterInstance, run_id: str, step: str | None = None) -> list[dg.AssetCheckEvaluation]:
    """The results of checks in a run, or in a step of it."""
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    events = [entry.dagster_event for entry in entries if entry.dagster_event is not None]
    return [event.asset_check_evaluation_data for event in events if step in (None, event.step_key)]


def _and_more(keys: Sequence[dg.AssetKey]) -> str:
    more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return f"{keys[0].to_user_string()}{more}"


def _why(instance: dg.DagsterInstance, entry: dg.EventLogEntry) -> str:
    failures = instance.all_logs(entry.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    events = [failure.dagster_event for failure in failures if failure.dagster_event is not None]
    if not events:
        return (entry.dagster_event and entry.dagster_event.message) or "the run failed"
    return f"{(events[0].step_key or '').replace('__', '/', 1)}: {cause_of(events[0])}"


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
