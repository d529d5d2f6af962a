"""The alerts of this code location."""

from cartograph.trust.alerting import alerts_sensor

ml_alerts_sensor = alerts_sensor("ml_alerts_sensor", team="team:data-science")
