"""The alerts of this code location, and the asset `quality/alerts` that shows those of both in the UI."""

import dagster as dg

from cartograph.trust.alerting import ALERTS_KEY, alerts_sensor

alerts = dg.AssetSpec(
    ALERTS_KEY,
    group_name=ALERTS_KEY.path[0],
    owners=["team:data-platform"],
    kinds={"sqlite"},
    description="Each message that went out: what failed, or is well again, whose it is, and where it says what to do.",
)

warehouse_alerts_sensor = alerts_sensor("warehouse_alerts_sensor", team="team:data-platform")
