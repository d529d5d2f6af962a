"""When assets run by themselves: the named automation conditions."""

from __future__ import annotations

import dagster as dg


def when_trusted() -> dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey]:
    """Run when something upstream is new and all blocking checks upstream passed.

    `eager()` alone also fires after a failed blocking check, because the failed materialisation is new; and the two
    code locations never share a run that could stop there.
    """
    condition = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
    return condition.with_label("when_trusted")
