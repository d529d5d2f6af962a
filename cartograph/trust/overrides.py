"""What was published or released in spite of failed checks: told where that happens, and found when its run ends.

It is an event of its asset, and not the result of a check: somebody answers for each anew, and none is ever mended.
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
from pydantic import ValidationError

from cartograph.releases import Override
from cartograph.trust.automation import OVERRIDE_TAGS

_OVERRIDDEN = "cartograph/overridden"


def override_in(tags: Mapping[str, str]) -> Override | None:
    """Who answers for what a run with these tags publishes or releases, and why; None where nobody does.

    Raises:
        Failure: only one of both is given, or the reason is too short to be one.
    """
    by, reason = (tags.get(tag, "") for tag in OVERRIDE_TAGS)
    if not by and not reason:
        return None
    try:
        return Override(by=by, reason=reason)
    except ValidationError:
        raise dg.Failure(
            f"An override needs a name (the run's tag {OVERRIDE_TAGS[0]}, up to 100 characters) and a reason "
            f"({OVERRIDE_TAGS[1]}, 10 to 1,000 characters on one line); got {by!r} and {reason!r}.",
            allow_retries=False,
        ) from None


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
