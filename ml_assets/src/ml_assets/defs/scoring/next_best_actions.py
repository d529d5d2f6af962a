"""Next best actions as an asset: the champion's advice for the latest as-of date.

A shop that delivers no events or no campaigns has no such asset.
"""

import dagster as dg

from ml_assets.core.models import campaign_uplift
from ml_assets.core.models.next_best_actions import CONTRACT, next_best_actions
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import ACTIONS, sends_campaigns
from ml_assets.defs.scoring.steps import look_for, predict_latest
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.campaign_uplift import KEY as MODEL_KEY

KEY = dg.AssetKey(["predictions", "next_best_actions"])
_WRONG = f"""
    (next_action = '{campaign_uplift.NOTHING}') = (next_action_reason IN {campaign_uplift.ACTING})
    OR (next_action <> '{campaign_uplift.NOTHING}' AND NOT coalesce(added_margin_amount > 0, false))
    OR NOT coalesce(added_margin_amount BETWEEN added_margin_low AND added_margin_high, true)"""


@dg.definitions
def defs() -> dg.Definitions:
    """The asset and its check, for a shop that has the model."""
    if not sends_campaigns():
        return dg.Definitions()
    return dg.Definitions(assets=[actions], asset_checks=[advice_is_sound])


@dg.asset(
    key=KEY,
    deps=[FEATURES_KEY, MODEL_KEY],
    kinds={"iceberg"},
    tags={"domain": "marketing"},
    description=(
        "Which campaign would add the most margin net of its cost for each customer, on the latest as-of date, with "
        "its interval; or nothing, and why. By the champion of the MLflow registry; nobody has an advice while there "
        "is none. Who would order anyway has a high propensity, and not for that an action."
    ),
)
def actions(tracking: MlflowTracking) -> dg.MaterializeResult:
    """Advise for the latest as-of date and replace its rows in the lake."""
    return predict_latest(tracking, campaign_uplift.NAME, ACTIONS, CONTRACT, next_best_actions)


@dg.asset_check(
    asset=KEY,
    blocking=True,
    description="Each action is expected to add more than it costs, nothing has a reason, and nobody has two.",
)
def advice_is_sound() -> dg.AssetCheckResult:
    """Look for advice that contradicts itself and for repeated customers."""
    return look_for(
        _WRONG, ACTIONS, CONTRACT, "advice_is_sound", expected="sound advice", found="contradict themselves"
    )
