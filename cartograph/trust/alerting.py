"""The sensor that a code location has for its alerts: it looks at what happened, and sees to it that people hear."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import dagster as dg

from cartograph.alerts.config import load_alerts
from cartograph.alerts.delivery import deliver
from cartograph.alerts.ledger import Ledger
from cartograph.alerts.messages import Message
from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.signals import observe
from cartograph.trust.watching import watched

ALERTS_KEY = dg.AssetKey(["quality", "alerts"])
INTERVAL_SECONDS = 15


def alerts_sensor(name: str, team: str) -> dg.SensorDefinition:
    """The sensor `name`, which is on from the start; `team` hears of failed runs, and of assets without an owner.

    Each message goes to the sinks that the file of alerts names for it, and is an event of the asset `quality/alerts`.
    """

    @dg.sensor(
        name=name,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells people once of what failed or was not made in time, and once more when it is well again.",
    )
    def _alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if context.repository_def is None:
            raise dg.DagsterInvariantViolationError(f"{name} must be evaluated in its code location.")
        settings, now = get_settings(), datetime.now(UTC)
        config, ledger = load_alerts(settings), Ledger(settings.alerts_path)
        what = watched(context.repository_def, team, load_shop(settings).freshness.severity)
        seen = observe(context.instance, what, ledger.positions(name), now)
        messages = ledger.record(name, seen.signals, seen.positions, config.route)
        failures = deliver(ledger, config.all_sinks(settings), partial(datetime.now, UTC))
        for sink, reason in failures.waiting.items():
            context.log.warning(f"The alerts for {sink} are tried again later: {reason}.")
        for reason in failures.refused:
            context.log.error(f"Refused for good, and not sent again: {reason}. The message is in alerts.jsonl.")
        if not messages:
            return dg.SkipReason("Nothing new failed, and nothing is well again.")
        return dg.SensorResult(asset_events=[_event(message) for message in messages])

    return _alerts


def _event(message: Message) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        ALERTS_KEY,
        description=message.title,
        metadata={"message": dg.MetadataValue.md(message.body), "subject": message.subject, "owner": message.owner},
    )
