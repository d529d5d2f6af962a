"""The uplift model as an asset: which campaigns are actions, what each adds for whom, tracked and registered.

A shop that delivers no events or no campaigns has no such asset.
"""

from typing import Any

import dagster as dg
from pydantic import Field

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.evidence import checked
from ml_assets.core.causal.study import Design
from ml_assets.core.causal.uplift import HeldOut
from ml_assets.core.evaluation.classification import Interval
from ml_assets.core.evaluation.uplift import TWO_SIDED
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.models import campaign_uplift
from ml_assets.core.models.campaign_uplift import Trained, text_of
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.findings import of_uplift
from ml_assets.core.registry import ModelRegistry
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import (
    CAMPAIGN_MARTS,
    FEATURES,
    depends_on,
    feature_marts,
    open_lake,
    pin,
    plain_failures,
    published,
    sends_campaigns,
)
from ml_assets.defs.metadata import SNAPSHOTS, markdown_table, snapshot_metadata
from ml_assets.defs.partitions import data_end
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.steps import ENOUGH_DATA, Candidate, abstention, register, track

KEY = dg.AssetKey(["models", campaign_uplift.NAME])
FAR = 3.0
"""Standard errors between the mean predicted effect and the average one: further apart is no chance."""


class CampaignDesigns(dg.Config):
    """What is known of how campaigns chose their recipients; of those not named, that recorded facts decided."""

    randomised: list[str] = Field(
        ["email_spring"],
        description="Campaigns whose recipients were drawn at random; that recorded facts tell nothing is tested.",
    )
    unrecorded: dict[str, list[str]] = Field(
        {},
        description=(
            "By campaign, what its recipients were also chosen by and the data do not hold. Such a campaign is never "
            "an action: where recorded facts had a part in the choice too, no test on the data can find it out."
        ),
    )

    def designs(self) -> dict[str, Design]:
        """The design of each campaign that is named."""
        named = {*self.randomised, *self.unrecorded}
        return {
            name: Design(is_randomised=name in self.randomised, unrecorded=tuple(self.unrecorded.get(name, ())))
            for name in sorted(named)
        }


@dg.definitions
def defs() -> dg.Definitions:
    """The asset, for a shop whose campaigns can be asked about."""
    return dg.Definitions(assets=[uplift] if sends_campaigns() else [])


@dg.asset(
    key=KEY,
    deps=[FEATURES_KEY, *depends_on(dict.fromkeys((*feature_marts(), *CAMPAIGN_MARTS)))],
    kinds={"econml", "mlflow"},
    tags={"domain": "marketing"},
    check_specs=[
        dg.AssetCheckSpec(
            ENOUGH_DATA,
            asset=KEY,
            description="A campaign's outcomes are all in the data. A young shop passes and is told what lacks.",
        ),
        dg.AssetCheckSpec(
            "an_action_is_identified",
            asset=KEY,
            description="The effect of at least one campaign passes its gates; of no other is anything offered.",
        ),
        dg.AssetCheckSpec(
            "beats_random_targeting",
            asset=KEY,
            description=(
                "On held-out customers, the uplift ranking of each action adds more than targeting at random: the "
                "interval of its Qini area is above 0. Warns where that is not shown, and the action has its average "
                "effect for all."
            ),
        ),
        dg.AssetCheckSpec(
            "beats_all_or_none",
            asset=KEY,
            description=(
                "On held-out customers, the policy of each ranking is not worse than treating all, or nobody. Warns "
                "where one is, and the action has its average effect for all."
            ),
        ),
        dg.AssetCheckSpec(
            "effects_add_up",
            asset=KEY,
            blocking=True,
            description=f"The mean of predicted effects is within {FAR:g} standard errors of the average effect.",
        ),
    ],
    description=(
        "What each e-mail campaign whose effect is identified adds to a customer's margin in 14 days, and for whom it "
        "adds more: doubly robust scores of the extra orders, linear in whether the customer is still one, times what "
        "an order is worth. Where held-out customers do not show that the ranking is better than chance, or show that "
        "acting on it is worse than on all, all have the average effect. JSON in the MLflow registry."
    ),
)
def uplift(
    context: dg.AssetExecutionContext, config: CampaignDesigns, tracking: MlflowTracking
) -> dg.MaterializeResult:
    """Examine the campaigns, learn, track and register."""
    lake, designs = open_lake(), config.designs()
    with plain_failures(), tracking.run(context) as mlflow_run:
        inputs = pin(lake, [FEATURES, *published(dict.fromkeys((*feature_marts(), *CAMPAIGN_MARTS)))])
        with lake.connect() as con:
            end = data_end(as_of_dates(con, inputs.selects["customer_features"]))
            marts = {name: select for name, select in inputs.selects.items() if name != "customer_features"}
            try:
                trained = campaign_uplift.train(con, marts, designs, end)
            except NotEnoughData as reason:
                return abstention(context, mlflow_run, reason)
        fitted = {"campaigns": len(trained.examined), "actions": len(trained.model.actions)}
        track(
            mlflow_run, fitted, trained.metrics | trained.baselines, inputs.snapshots,
            data_end=end, designs=text_of(designs),
        )  # fmt: skip
        checks = judge(trained)
        candidate = Candidate(
            campaign_uplift.NAME,
            trained.model.to_bytes(),
            trained.card,
            "json",
            parameters=fitted,
            findings=of_uplift(trained),
        )
        version = register(ModelRegistry(tracking.uri), mlflow_run, candidate, checks)
    return dg.MaterializeResult(
        metadata=metadata(trained, version, load_shop(get_settings()).currency)
        | {SNAPSHOTS: snapshot_metadata(inputs.snapshots)},
        check_results=checks,
    )


def judge(trained: Trained) -> list[dg.AssetCheckResult]:
    """The checks of a model."""
    learned = trained.learned
    unproven = [name for name, held in learned.items() if held.qini.low <= 0]
    losing = [name for name in learned if name not in unproven and learned[name].policy.is_worse]
    apart = {name: (held.predicted - held.average.value) / _error(held.average) for name, held in learned.items()}
    far = [name for name, errors in apart.items() if learned[name].is_ranked and abs(errors) > FAR]
    refused = [f"{one.campaign.campaign_id}: {one.refusal}" for one in trained.examined if one.refusal]
    return [
        checked(
            ENOUGH_DATA,
            True,
            expected="a campaign with its outcomes",
            found=f"{len(trained.examined)} campaigns",
        ),
        checked(
            "an_action_is_identified",
            bool(learned),
            expected="an identified effect",
            found=f"{len(learned)} of {len(trained.examined)} campaigns can be an action",
            samples=refused,
            severity="warning",
        ),
        checked(
            "beats_random_targeting",
            not unproven,
            expected="an area above 0 with its interval",
            found="; ".join(f"{name} {_told(held.qini)}" for name, held in learned.items()) or "no ranking",
            samples=unproven,
            severity="warning",
        ),
        checked(
            "beats_all_or_none",
            not losing,
            expected="no policy that is worse than treating all, or nobody",
            found="; ".join(
                f"{name} {_told(held.policy.value)}, {_told(held.policy.over_all)} over treating all"
                for name, held in learned.items()
            )
            or "no policy",
            samples=losing,
            severity="warning",
        ),
        checked(
            "effects_add_up",
            not far,
            expected=f"a mean within {FAR:g} standard errors",
            found="; ".join(f"{name} {errors:+.1f}" for name, errors in apart.items()) or "no effects",
            samples=far,
        ),
    ]


def metadata(trained: Trained, version: str, currency: str) -> dict[str, Any]:
    """What the materialisation shows of the model."""
    offered = [action.name for action in trained.model.offered]
    return {
        "model_version": version,
        "as_of_date": str(trained.model.as_of),
        "unit": f"{currency} of margin per customer",
        "offered": ", ".join(offered) or "none",
        "campaigns": markdown_table(
            ("campaign", "action", "gates that failed"),
            [
                (
                    one.campaign.campaign_id,
                    one.refusal or "yes",
                    "; ".join(gate.detail.replace("|", "\\|") for gate in one.gates if not gate.passed),
                )
                for one in trained.examined
            ],
        ),
        "evidence": markdown_table(
            ("action", "customers", "average", "Qini", "Qini by propensity", "policy", "treat all"),
            [_evidence(name, held) for name, held in trained.learned.items()],
        ),
    }


def _evidence(name: str, held: HeldOut) -> tuple[object, ...]:
    figures = (held.average, held.qini, held.by_propensity, held.policy.value, held.policy.all)
    return (name, held.customers, *map(_told, figures))


def _told(found: Interval) -> str:
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _error(found: Interval) -> float:
    return (found.high - found.low) / (2 * TWO_SIDED)
