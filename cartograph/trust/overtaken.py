"""Whether some copies are older than what they are copies of, and others are not: half of a run's work was copied.

A run that was killed between two publications leaves one of the new rows and one of the old: each was sound when it was
made, and together they are of no moment. A run of which nothing was published leaves what was published as it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import dagster as dg

from cartograph.trust.asset_graph import GuardedAsset

_MADE = dg.DagsterEventType.ASSET_MATERIALIZATION


class _Copied(NamedTuple):
    """A partition of a copy: the place in the event log where its source was made, and whether it was copied since."""

    copy: str
    source: str
    place: int
    is_since: bool


def overtaken(instance: dg.DagsterInstance, copies: Iterable[GuardedAsset]) -> frozenset[str]:
    """The keys of those `copies` that are older than their source, where others of the same run are not."""
    found = [copied for copy in copies for source in copy.upstream for copied in _copied(instance, copy.key, source)]
    if all(copied.is_since for copied in found):
        return frozenset()
    runs = _runs(instance, found)
    by_run = defaultdict(list)
    for copied in found:
        if copied.place in runs:  # of a run that somebody deleted nothing is known
            by_run[runs[copied.place]].append(copied)
    return frozenset(
        copied.copy
        for of_run in by_run.values()
        if any(copied.is_since for copied in of_run)
        for copied in of_run
        if not copied.is_since
    )


def _copied(instance: dg.DagsterInstance, copy: str, source: str) -> Iterator[_Copied]:
    made = _made(instance, copy)
    for partition, place in _made(instance, source).items():
        yield _Copied(copy, source, place, place < made.get(partition, 0))


def _made(instance: dg.DagsterInstance, asset: str) -> Mapping[str, int]:
    """The places in the event log of an asset's latest materialisations, by partition; "" of one without partitions."""
    key = dg.AssetKey.from_user_string(asset)
    if found := instance.event_log_storage.get_latest_storage_id_by_partition(key, _MADE):
        return found
    records = instance.get_asset_records([key])
    latest = records[0].asset_entry.last_materialization_storage_id if records else None
    return {} if latest is None else {"": latest}


def _runs(instance: dg.DagsterInstance, found: Collection[_Copied]) -> Mapping[int, str]:
    """The run that made each source, by its place in the event log."""
    places = defaultdict(set)
    for copied in found:
        places[copied.source].add(copied.place)
    runs = {}
    for source, of_source in places.items():
        wanted = dg.AssetRecordsFilter(dg.AssetKey.from_user_string(source), storage_ids=sorted(of_source))
        for record in instance.fetch_materializations(wanted, limit=len(of_source)).records:
            runs[record.storage_id] = record.run_id
    return runs
