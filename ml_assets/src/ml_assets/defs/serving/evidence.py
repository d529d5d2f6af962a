"""What a release can say of its making: the snapshots that the instance has on record, and what guards it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import dagster as dg

from cartograph.trust.asset_graph import GuardedAsset, ancestry, guarded_assets, read_graph
from ml_assets.defs.metadata import SNAPSHOTS

if TYPE_CHECKING:
    from cartograph.lake import Lake


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


def guarded_by(context: dg.AssetExecutionContext, lake: Lake, asset: dg.AssetKey) -> list[GuardedAsset]:
    """The assets of both locations that `asset` of this one is made of, directly or not.

    Raises:
        TableMissing: the other location has not written its graph yet.
    """
    everything = {known.key: known for known in (*guarded_assets(context), *read_graph(lake))}
    return ancestry(everything, everything[asset.to_user_string()].upstream)
