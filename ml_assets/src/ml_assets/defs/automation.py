"""When assets run: the job of this location, and when its models are trained again.

Conditions of both locations are in `cartograph.trust.automation`.
"""

from __future__ import annotations

from functools import reduce
from operator import or_

import dagster as dg

from cartograph.trust.automation import automation_sensor, nothing_upstream_blocks, when_trusted

ml_job = dg.define_asset_job(
    "ml_job",
    selection=dg.AssetSelection.all(),
    description="Everything of this location: features for some as-of dates, then model, scores, effects and release.",
)

FEATURES = dg.AssetSelection.groups("features")
RELEASE = dg.AssetSelection.groups("serving")
EVIDENCE = dg.AssetSelection.groups("causal", "experiments") | (
    dg.AssetSelection.groups("monitoring") - dg.AssetSelection.groups("predictions").downstream()
)
features_job = dg.define_asset_job("features_job", FEATURES, description="What the others take: features.")
models_job = dg.define_asset_job(
    "models_job",
    dg.AssetSelection.all() - FEATURES - EVIDENCE - RELEASE,
    description="Models of these features, what they predict, and how predictions have turned out.",
)
evidence_job = dg.define_asset_job(
    "evidence_job",
    EVIDENCE,
    description="What the past tells: causal estimates, experiments, backtests and drift. Beside `models_job`.",
)
release_job = dg.define_asset_job("release_job", RELEASE, description="All of it to the API, as one release.")

conditions_sensor = automation_sensor()

MONTHLY = "0 0 1 * *"
DRIFT = "customer_feature_drift"
WATCHERS = {
    "churn_classifier": (DRIFT, "churn_backtest", "churn_quality"),
    "purchase_propensity": (DRIFT, "propensity_backtest", "propensity_quality"),
    "customer_lifetime_value": (DRIFT, "lifetime_value_backtest", "lifetime_value_quality"),
    "demand_forecaster": ("demand_quality",),
    "order_fraud": ("fraud_quality",),
    "product_recommender": ("recommendation_quality",),
}
"""The assets of `monitoring` whose warnings are a reason to train one of Cartograph's own models again."""

Condition = dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey]


def watchers() -> dict[str, tuple[str, ...]]:
    """The assets of `monitoring` whose warnings are a reason to train a model again, by the model."""
    # Modules of definitions read the settings when they are imported, and this one is imported before there are any.
    from ml_assets.components.customer_model import recipe, watched
    from ml_assets.defs.own_models import own_models

    own = {model.name: (DRIFT, recipe(model).dataset, watched(model).dataset) for model in own_models()}
    return WATCHERS | own


def condition(key: dg.AssetKey) -> Condition:
    """When the asset `key` runs by itself: models are trained when they are due, all else when something is new."""
    return when_due(watchers().get(key.path[-1], ())) if key.path[0] == "models" else when_trusted()


def when_due(watchers: tuple[str, ...]) -> Condition:
    """Train on the first data of a month, and when a check of the assets `watchers` of `monitoring` begins to warn.

    Not on each new row, which changes no model that is worth a new version; never on data that a blocking check
    refused, and not twice at once.
    """
    warns = dg.AutomationCondition.any_checks_match(dg.AutomationCondition.check_failed())
    reasons = [
        dg.AutomationCondition.asset_matches(dg.AssetKey(["monitoring", name]), warns).newly_true().since_last_handled()
        for name in watchers
    ]
    due = reduce(or_, reasons, dg.AutomationCondition.on_cron(MONTHLY))
    trusted = (
        ~dg.AutomationCondition.any_deps_missing()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
        & nothing_upstream_blocks()
    )
    return (due & trusted).with_label("when_due")
