"""Whether a copy is older than what it is a copy of: a partition was made anew, and not copied again since.

A run that was killed between two publications leaves one of the new rows and one of the old: each was sound when it was
made, and together they are of no moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dagster as dg

from cartograph.trust.asset_graph import GuardedAsset

_MADE = dg.DagsterEventType.ASSET_MATERIALIZATION


def overtaken(instance: dg.DagsterInstance, copies: Iterable[GuardedAsset]) -> frozenset[str]:
    """The keys of those `copies` of which what they are made of has a partition that was made after the copy's."""
    return frozenset(
        copy.key
        for copy in copies
        if any(_is_newer(_made(instance, source), _made(instance, copy.key)) for source in copy.upstream)
    )


def _is_newer(source: Mapping[str, int], copy: Mapping[str, int]) -> bool:
    return any(place > copy.get(partition, 0) for partition, place in source.items())


def _made(instance: dg.DagsterInstance, asset: str) -> Mapping[str, int]:
    """The places in the event log of an asset's latest materialisations, by partition; "" of one without partitions."""
    key = dg.AssetKey.from_user_string(asset)
    if found := instance.event_log_storage.get_latest_storage_id_by_partition(key, _MADE):
        return found
    records = instance.get_asset_records([key])
    latest = records[0].asset_entry.last_materialization_storage_id if records else None
    return {} if latest is None else {"": latest}
