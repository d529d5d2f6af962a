"""What was published or released in spite of failed checks: told where that happens, and found when its run ends.

It is an event of its asset, and not the result of a check: somebody answers for each anew, and none is ever mended.
"""

from __future__ import annotations

import dagster as dg

_OVERRIDDEN = "cartograph/overridden"


def tell_override(context: dg.AssetExecutionContext, text: str) -> None:
    """Record with the asset that `context` is of what went out in spite of what, by whom and why."""
    context.log.warning(text)
    context.log_event(dg.AssetObservation(context.asset_key, description=text, metadata={_OVERRIDDEN: True}))


def overrides_in(instance: dg.DagsterInstance, run_id: str) -> dict[dg.AssetKey, str]:
    """What was told of each asset in a run."""
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION)
    events = [entry.dagster_event for entry in entries if entry.dagster_event is not None]
    observed = [event.asset_observation_data.asset_observation for event in events]
    return {one.asset_key: one.description or "" for one in observed if _OVERRIDDEN in one.metadata}
