"""What is the case now, and was told by no event of its own: assets out of date, partitions that a failed run left,
backfills that died.

All are Dagster's own states, which its UI shows, too. Each owner hears of theirs in one signal whose parts are the
assets, or the partitions: one run that failed, or one night without any, concerns many at once.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import dagster as dg
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from cartograph.alerts.messages import Signal
from cartograph.alerts.parts import Part
from cartograph.trust.causes import words_of
from cartograph.trust.watching import Observations, Watched
from cartograph.words import listed

STALE, FAILED_PARTITIONS = "is_up_to_date", "no_partition_failed"
_SOURCE, _BACKFILLS = "failed partitions", "dead backfills"
_LATEST = 50
"""Backfills that are looked at, the latest first."""
_NO_RUN = "none"


def stale_assets(instance: dg.DagsterInstance, what: Watched, now: datetime) -> list[Signal]:
    """Whether each owner's assets were made in time, by the freshness policy that each asset has; one signal each."""
    states = instance.get_freshness_state_records(list(what.owners))
    stale = [key for key in what.owners if key in states and states[key].freshness_state == FreshnessState.FAIL]
    found = []
    for owner in sorted(set(what.owners.values())):
        names = [key.to_user_string() for key in stale if what.owners[key] == owner]
        number = f"{len(names)} of {sum(whose == owner for whose in what.owners.values())}"
        found.append(
            Signal(
                subject=f"assets of {owner}",
                name=STALE,
                healthy=not names,
                severity=what.staleness,
                owner=owner,
                run_id=_NO_RUN,
                text=f"{number} were not made in time: {listed(names)}" if names else "",
                at=now,
                parts=tuple(Part(name=name) for name in names),
            )
        )
    return found


class _Position(NamedTuple):
    """Up to which failed run partitions were looked at, and of each asset with failed ones those that were told."""

    runs: str | None
    told: dict[str, list[str]]

    @classmethod
    def read(cls, text: str | None) -> _Position:
        return cls(*json.loads(text)) if text else cls(None, {})


class _Partitions(NamedTuple):
    """The partitions of an asset that a failed run was to make, and those of them that another one makes now."""

    failed: frozenset[str]
    in_progress: frozenset[str]


def failed_partitions(
    instance: dg.DagsterInstance, what: Watched, since: Mapping[str, str], runs: str | None, now: datetime
) -> Observations:
    """The partitions that failed runs left unmade, one signal for each owner; `runs` is the last failed run there is.

    Where an asset's partition waits for the same one upstream, only the latter is told; one that is being made is told
    once that has failed, too. What was told stays so until it is made.
    """
    before = _Position.read(since.get(_SOURCE))
    is_news = runs != before.runs
    if not is_news and not before.told:
        return Observations([], {})
    looked = (key for key in what.partitions if is_news or key.to_user_string() in before.told)
    found = {key: _partitions_of(instance, key, what.partitions[key]) for key in looked}
    failed = {key: partitions for key, partitions in found.items() if partitions.failed}
    told: dict[dg.AssetKey, list[str]] = {}
    for key, partitions in failed.items():
        upstream = [failed[above] for above in what.upstream[key] & failed.keys()]
        told[key] = _told(partitions, upstream, before.told.get(key.to_user_string(), []))
    signals = [
        _of_owner(instance, owner, {key: names for key, names in told.items() if what.owners[key] == owner}, now)
        for owner in sorted(set(what.owners.values()))
    ]
    position = _Position(runs, {key.to_user_string(): names for key, names in told.items()})
    return Observations([signal for signal in signals if signal is not None], {_SOURCE: json.dumps(position)})


def dead_backfills(instance: dg.DagsterInstance, what: Watched, since: Mapping[str, str]) -> Observations:
    """The backfills of these assets that died, perhaps before their first run; the first look tells of none.

    Those whose runs failed are not among them: runs tell of themselves.
    """
    known = json.loads(since.get(_BACKFILLS, "[]"))
    dead = instance.get_backfills(filters=BulkActionsFilter(statuses=[BulkActionStatus.FAILED]), limit=_LATEST)
    signals = []
    for backfill in (one for one in dead if since and one.backfill_id not in known):
        assets = sorted(what.owners.keys() & set(backfill.asset_selection or ()))
        if not assets and backfill.job_name not in what.jobs:
            continue
        signals.append(
            Signal(
                subject=f"backfill {backfill.backfill_id}",
                name="run",
                healthy=False,
                severity="error",
                owner=what.team,
                run_id=_NO_RUN,
                text=words_of(backfill.error) or "it ended without a message",
                at=datetime.fromtimestamp(backfill.backfill_end_timestamp or backfill.backfill_timestamp, UTC),
                parts=tuple(Part(name=key.to_user_string()) for key in assets),
            )
        )
    return Observations(signals, {_BACKFILLS: json.dumps([backfill.backfill_id for backfill in dead])})


def _partitions_of(
    instance: dg.DagsterInstance, key: dg.AssetKey, definition: dg.PartitionsDefinition[str]
) -> _Partitions:
    status = get_and_update_asset_status_cache_value(instance, key, definition)
    if status is None:
        return _Partitions(frozenset(), frozenset())
    return _Partitions(
        frozenset(status.deserialize_failed_partition_subsets(definition).get_partition_keys()),
        frozenset(status.deserialize_in_progress_partition_subsets(definition).get_partition_keys()),
    )


def _told(partitions: _Partitions, upstream: Sequence[_Partitions], before: Collection[str]) -> list[str]:
    waiting = partitions.in_progress.union(*(above.failed for above in upstream))
    return sorted((partitions.failed - waiting) | (partitions.failed & set(before)))


def _of_owner(
    instance: dg.DagsterInstance, owner: str, failed: Mapping[dg.AssetKey, Sequence[str]], now: datetime
) -> Signal | None:
    """What an owner is told; None where partitions have failed and all wait for others."""
    told = {key: names for key, names in failed.items() if names}
    if failed and not told:
        return None
    each = [f"{key.to_user_string()} {listed(names)}" for key, names in told.items()]
    return Signal(
        subject=f"partitions of {owner}",
        name=FAILED_PARTITIONS,
        healthy=not told,
        severity="error",
        owner=owner,
        run_id=_latest_run(instance, told),
        text=f"a run that was to make them failed: {listed(each, '; ')}" if told else "",
        at=now,
        parts=tuple(Part(name=f"{key.to_user_string()} {name}") for key, names in told.items() for name in names),
    )


def _latest_run(instance: dg.DagsterInstance, failed: Mapping[dg.AssetKey, Sequence[str]]) -> str:
    storage = instance.event_log_storage
    planned = [storage.get_latest_planned_materialization_info(key, names[-1]) for key, names in failed.items()]
    found = [info for info in planned if info is not None]
    return max(found, key=lambda info: info.storage_id).run_id if found else _NO_RUN
