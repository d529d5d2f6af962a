"""When assets run by themselves: one named condition for the whole location, and the job that runs all of it."""

from __future__ import annotations

import dagster as dg


def when_trusted() -> dg.AutomationCondition[dg.AssetKey]:
    """Run when something upstream is new and all blocking checks upstream passed.

    `eager()` alone also fires after a failed blocking check, because the failed materialisation is new; and the two
    code locations never share a run that could stop there.
    """
    condition = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
    return condition.with_label("when_trusted")


ml_job = dg.define_asset_job(
    "ml_job",
    selection=dg.AssetSelection.all(),
    description="Everything of this location: features for some as-of dates, then model, scores, effects and release.",
)
