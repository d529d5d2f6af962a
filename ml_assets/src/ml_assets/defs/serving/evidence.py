"""What a release can say of its making: the snapshots that the instance has on record, and what guards it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from cartograph.releases import CheckOutcome, UnfitRelease
from cartograph.settings import get_settings
from cartograph.trust.asset_graph import TABLE as GRAPH
from cartograph.trust.asset_graph import GuardedAsset, ancestry, guarded_assets, read_graph
from cartograph.trust.automation import OVERRIDE_TAGS
from cartograph.trust.descent import heirs
from cartograph.trust.gate import check_outcomes, checks_of, errors_ever, standing_results
from cartograph.trust.overtaken import overtaken
from ml_assets.defs.metadata import SNAPSHOTS

if TYPE_CHECKING:
    from cartograph.lake import Lake

_PUBLISHED = "published/"


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


def outcomes(
    context: dg.AssetExecutionContext, lake: Lake, asset: dg.AssetKey, as_of: date
) -> tuple[CheckOutcome, ...]:
    """What became of each check of what `asset` is made of as of a date, in both locations; by asset and name.

    One of a publication is older than its data where its mart was made anew and other marts of that run were published.
    """
    guards = guarded_by(context, lake, asset)
    held = _held(context, lake, asset, as_of.isoformat())
    old = overtaken(context.instance, (one for one in guards if one.key.startswith(_PUBLISHED)))
    return tuple(
        one
        if one.forbids
        else one.model_copy(
            update={
                "held_by": held.get((one.asset_key, one.name)),
                "basis": "outdated" if one.asset_key in old else one.basis,
            }
        )
        for one in check_outcomes(context.instance, guards)
    )


def _held(context: dg.AssetExecutionContext, lake: Lake, asset: dg.AssetKey, as_of: str) -> dict[tuple[str, str], str]:
    """Which asset still holds rows in which a check found an error that it does not find any more, by asset and name.

    An error in the other location got no further than `published/*`, which asks for it, but where an override let it.
    """
    guards, theirs = guarded_by(context, lake, asset), {one.key for one in read_graph(lake)}
    own = {one.key for one in guards} - theirs
    is_overridden = bool(context.instance.get_run_tags(tag_keys=[OVERRIDE_TAGS[0]]))
    checks = checks_of(one for one in guards if is_overridden or one.key in own)
    ever = errors_ever(context.instance, [check for check, blocks in checks.items() if blocks])
    stands = standing_results(context.instance, list(ever))
    errors = [
        (check, error)
        for check, found in ever.items()
        for error in found
        if not (check in stands and _vouches(stands[check].latest, error))
    ]
    upstream = {dep.asset_key.to_user_string() for dep in context.assets_def.specs_by_key[asset].deps}
    read = ((upstream & own, frozenset({as_of})), (upstream - own, None))
    return {
        (heir.check.asset_key.to_user_string(), heir.check.name): heir.asset
        for some, keys in read
        for heir in heirs(context.instance, guards, some, keys, errors, get_settings().partition_grain, as_of=own)
    }


def _vouches(latest: dg.AssetCheckEvaluation, error: dg.AssetCheckEvaluation) -> bool:
    """Whether a check has passed on the very rows in which it had found an error."""
    now, then = latest.target_materialization_data, error.target_materialization_data
    return latest.passed and now is not None and then is not None and now.storage_id == then.storage_id


def guarded_by(context: dg.AssetExecutionContext, lake: Lake, asset: dg.AssetKey) -> list[GuardedAsset]:
    """The assets of both locations that `asset` of this one is made of, directly or not.

    Raises:
        TableMissing: the other location has not written its graph yet.
    """
    everything = {known.key: known for known in (*guarded_assets(context), *read_graph(lake))}
    return ancestry(everything, everything[asset.to_user_string()].upstream)
