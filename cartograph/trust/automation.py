"""When assets run by themselves, the named automation conditions; and what does not run but when it is asked for."""

from __future__ import annotations

import dagster as dg

RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
"""The tags by which a run is over the partitions from one to another."""
PARTITION_TAG = "dagster/partition"
"""The tag by which a run is over one partition."""
OVERRIDE_TAGS = ("cartograph/override_by", "cartograph/override_reason")
"""The tags of a run by which somebody answers for what it publishes: by name, and with a reason."""
ON_REQUEST = {"cartograph/on_request": "true"}
"""The tag of assets that run when they are asked for by name, and neither with the others nor by themselves."""


def on_request() -> dg.AssetSelection:
    """The assets that run only when they are asked for."""
    ((name, value),) = ON_REQUEST.items()
    return dg.AssetSelection.tag(name, value)


def when_trusted() -> dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey]:
    """Run when something upstream is new and all blocking checks upstream passed.

    `eager()` alone also fires after a failed blocking check, because the failed materialisation is new; and the two
    code locations never share a run that could stop there.
    """
    condition = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
    return condition.with_label("when_trusted")
