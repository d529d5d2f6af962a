"""Follows a run by its event log: which assets are done, their rows and seconds, checks, and the first failure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import dagster as dg

from cartograph.trust.causes import cause_of

POLL_SECONDS = 0.25
Outcome = Literal["passed", "warned", "failed"]
LOADED = ("delivered_rows", "accepted_rows", "merged_duplicates", "quarantined_rows")
"""What the materialisation of a raw dataset says of the rows that its source delivered."""


@dataclass
class AssetDone:
    """A materialised asset: its rows where it says them, and the seconds since the event before it in its step."""

    key: str
    rows: int | None
    seconds: float


@dataclass
class RunLog:
    """What the events of a run have told so far."""

    assets: dict[str, AssetDone] = field(default_factory=dict)
    checks: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    complaints: dict[tuple[str, str], str] = field(default_factory=dict)
    loaded: Counter[str] = field(default_factory=Counter)
    running: str | None = None
    first_cause: str | None = None
    failed_check: tuple[str, str] | None = None
    """The check that is the first cause, where it is one."""
    further_causes: list[str] = field(default_factory=list)
    """Why other steps failed than that of the first cause; what a check stopped is among the complaints."""
    succeeded: bool = False
    cursor: str | None = None
    _since: dict[str, float] = field(default_factory=dict)
    _stopped_by_checks: set[str] = field(default_factory=set)

    def tally(self, outcome: Outcome) -> int:
        """How many checks ended so."""
        return sum(found == outcome for found in self.checks.values())


def follow(instance: dg.DagsterInstance, run_id: str, log: RunLog) -> list[AssetDone]:
    """Read the events that are new since the last call into `log`; the assets that they finished, in order."""
    finished = []
    while True:
        page = instance.get_records_for_run(run_id, cursor=log.cursor)
        log.cursor = page.cursor
        for record in page.records:
            event = record.event_log_entry.dagster_event
            if event is not None and (done := _take(event, record.timestamp, log)) is not None:
                finished.append(done)
        if not page.has_more:
            return finished


def _take(event: dg.DagsterEvent, timestamp: float, log: RunLog) -> AssetDone | None:
    step = event.step_key or ""
    match event.event_type:
        case dg.DagsterEventType.STEP_START:
            log.running = step
            log._since[step] = timestamp
        case dg.DagsterEventType.ASSET_MATERIALIZATION:
            return _materialised(event, step, timestamp, log)
        case dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            _checked(event.asset_check_evaluation_data, step, log)
        case dg.DagsterEventType.STEP_FAILURE:
            _failed(f"{step.replace('__', '/', 1)}: {cause_of(event)}", step, log)
        case dg.DagsterEventType.RUN_FAILURE:
            if log.first_cause is None:
                log.first_cause = event.message or "The run failed."
        case dg.DagsterEventType.RUN_SUCCESS:
            log.succeeded = True
        case _:
            pass
    return None


def _checked(evaluation: dg.AssetCheckEvaluation, step: str, log: RunLog) -> None:
    name = (evaluation.asset_key.to_user_string(), evaluation.check_name)
    log.checks[name] = _outcome(evaluation)
    if not evaluation.passed:
        log.complaints[name] = evaluation.description or "did not pass"
    if log.checks[name] == "failed" and evaluation.blocking:
        log._stopped_by_checks.add(step)
        if log.first_cause is None:
            reason = f": {evaluation.description}" if evaluation.description else ""
            log.first_cause = f"The check {name[1]} of {name[0]} failed{reason}"
            log.failed_check = name


def _failed(cause: str, step: str, log: RunLog) -> None:
    if log.first_cause is None:
        log.first_cause = cause
    elif step not in log._stopped_by_checks:
        log.further_causes.append(cause)


def _materialised(event: dg.DagsterEvent, step: str, timestamp: float, log: RunLog) -> AssetDone | None:
    materialization = event.step_materialization_data.materialization
    key = materialization.asset_key.to_user_string()
    if key in log.assets:  # one event for each partition of the range
        log._since[step] = timestamp
        return None
    for name in LOADED:
        log.loaded[name] += _number(materialization, name) or 0
    done = AssetDone(
        key=key,
        rows=_number(materialization, "dagster/row_count"),
        seconds=timestamp - log._since.get(step, timestamp),
    )
    log.assets[key] = done
    log._since[step] = timestamp
    return done


def _number(materialization: dg.AssetMaterialization, name: str) -> int | None:
    found = materialization.metadata.get(name)
    return found.value if isinstance(found, dg.IntMetadataValue) else None


def _outcome(evaluation: dg.AssetCheckEvaluation) -> Outcome:
    if evaluation.passed:
        return "passed"
    return "failed" if evaluation.severity == dg.AssetCheckSeverity.ERROR else "warned"
