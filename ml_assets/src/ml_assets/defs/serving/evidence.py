"""What a release can say of its making: the snapshots that the instance has on record, and what guards it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import dagster as dg

from cartograph.releases import UnfitRelease
from cartograph.trust.asset_graph import TABLE as GRAPH
from cartograph.trust.asset_graph import GuardedAsset, ancestry, guarded_assets, read_graph
from cartograph.trust.gate import check_outcomes
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


def require_made(context: dg.AssetExecutionContext, lake: Lake, tables: Iterable[str], asset: dg.AssetKey) -> None:
    """Raise UnfitRelease where a table that `asset` is made of was never written: which, and what keeps it back."""
    missing = [table.replace(".", "/") for table in tables if not lake.exists(table)]
    if not missing:
        return
    guards = guarded_by(context, lake, asset) if lake.exists(GRAPH) else guarded_assets(context)
    outcomes = check_outcomes(context.instance, guards)
    failed = [
        f"{one.name} of {one.asset_key}"
        for one in outcomes
        if one.forbids and not one.passed and one.basis != "missing"
    ]
    upstream = [key for key in (dg.AssetKey.from_user_string(one.key) for one in guards) if key.path[0] == "raw"]
    never = [key.to_user_string() for key in upstream if not context.instance.get_latest_materialization_event(key)]
    why = [f"blocking checks failed: {', '.join(failed)}"] if failed else []
    why += [f"never loaded: {', '.join(never)}"] if never else []
    raise UnfitRelease(
        f"Nothing can be released yet, as {', '.join(missing)} {'was' if len(missing) == 1 else 'were'} never made"
        f"{f' ({chr(59).join(why)})' if why else ''}. `cartograph status` says what the last run stopped at; mend it, "
        "then `cartograph run` makes what is missing."
    )


def guarded_by(context: dg.AssetExecutionContext, lake: Lake, asset: dg.AssetKey) -> list[GuardedAsset]:
    """The assets of both locations that `asset` of this one is made of, directly or not.

    Raises:
        TableMissing: the other location has not written its graph yet.
    """
    everything = {known.key: known for known in (*guarded_assets(context), *read_graph(lake))}
    return ancestry(everything, everything[asset.to_user_string()].upstream)
