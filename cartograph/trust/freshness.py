"""By when assets must be made: Dagster's freshness policy for a whole graph, as the shop's file has it."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from cartograph.shops import Shop
from cartograph.trust.automation import on_request

MODELS_WITHIN = timedelta(days=35)
"""Models are trained once a month, on its first data."""


def with_freshness(definitions: dg.Definitions, shop: Shop) -> dg.Definitions:
    """The definitions; by each deadline, every asset must have been made since the one before, and models at times.

    A shop with an end date is complete once it was made: nothing is due, however old that is.
    """
    freshness = shop.freshness
    if freshness.every == "never" or shop.end is not None:
        return definitions
    day, length = ("*", timedelta(days=1)) if freshness.every == "day" else ("1", timedelta(weeks=1))
    policy = dg.FreshnessPolicy.cron(deadline_cron=f"0 {freshness.hour} * * {day}", lower_bound_delta=length)
    trained = dg.FreshnessPolicy.time_window(fail_window=MODELS_WITHIN)
    return definitions.map_resolved_asset_specs(
        func=lambda spec: spec.replace_attributes(freshness_policy=trained if spec.group_name == "models" else policy),
        selection=dg.AssetSelection.all().materializable() - on_request(),
    )
