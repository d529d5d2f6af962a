"""What the gate says of each model's latest training, as an asset check. The gate itself is `steps.register`."""

import dagster as dg

from cartograph.trust.evidence import checked
from ml_assets.core.models import campaign_uplift, churn, clv, fraud, propensity, segments
from ml_assets.core.models.demand import training as demand_training
from ml_assets.core.models.recommendation import product_recommender
from ml_assets.core.registry import ModelRegistry
from ml_assets.defs.marts import sends_campaigns, tells_fraud
from ml_assets.defs.tracking import MlflowTracking

CHECK = "challenger_is_fit"


def challenger_is_fit(name: str) -> dg.AssetChecksDefinition:
    """The check of `models/<name>` that the gate has not refused what the latest training gave."""

    @dg.asset_check(
        asset=dg.AssetKey(["models", name]),
        name=CHECK,
        description=(
            "The gate did not refuse the version that the latest training gave: it is the champion now, or waits and "
            "is not worse. Refused, it changes nothing: the champion goes on."
        ),
    )
    def check(tracking: MlflowTracking) -> dg.AssetCheckResult:
        """Read the verdict that the registry keeps with the version."""
        version = ModelRegistry(tracking.uri).latest(name)
        if version is None or version.verdict is None:
            return checked(
                CHECK,
                True,
                expected="a trained model",
                found="cannot judge yet: no model was trained",
                severity="warning",
            )
        verdict = version.verdict
        return checked(
            CHECK,
            verdict.outcome != "refused",
            expected="a version that takes the champion's place, or could wait beside it",
            found=f"version {version.version} was {verdict.outcome}: {verdict.reason}",
            severity="warning",
            metadata=verdict.evidence,
        )

    return check


@dg.definitions
def defs() -> dg.Definitions:
    """The check of each model that the shop has."""
    names = [
        *(churn.NAME, propensity.NAME, clv.NAME, segments.NAME, product_recommender.NAME, demand_training.NAME),
        *([fraud.NAME] if tells_fraud() else []),
        *([campaign_uplift.NAME] if sends_campaigns() else []),
    ]
    return dg.Definitions(asset_checks=[challenger_is_fit(name) for name in names])
