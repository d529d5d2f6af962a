"""What an e-mail campaign did to spend, as an asset: the answer, or why there is none.

A shop that delivers no events or no campaigns has no such asset.
"""

import math

import dagster as dg
from pydantic import Field

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.evidence import checked
from ml_assets.core.causal.answers import CONTRACT, effect_of, row_of
from ml_assets.core.causal.assess import assess
from ml_assets.core.causal.finding import Finding
from ml_assets.core.causal.panel import NoCampaign, choose, email_campaigns, panel
from ml_assets.core.causal.study import Design
from ml_assets.core.features.customers import as_of_dates
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import (
    EFFECT,
    FEATURES,
    delivered,
    depends_on,
    feature_marts,
    open_lake,
    pin,
    plain_failures,
    published,
)
from ml_assets.defs.metadata import markdown_table, table_metadata
from ml_assets.defs.partitions import data_end

KEY = dg.AssetKey(["causal", "email_campaign_effect"])
NEEDED = ("fct_events", "dim_campaigns")
GATES = {
    "choice_is_recorded": ("back_door", "The recipients were chosen as declared, by nothing that is not recorded."),
    "has_overlap": ("overlap", "At least 95 % of the customers could have been in either arm."),
    "is_balanced": ("balance", "Weighted by the inverse propensity, the arms are alike in all that is known."),
    "estimators_agree": ("agreement", "Two estimators of different families have overlapping intervals."),
    "random_treatment_has_no_effect": ("placebo_treatment", "A treatment dealt out at random has no effect."),
    "earlier_spend_has_no_effect": ("negative_controls", "The e-mail did not change what was spent before it."),
}
"""Asset checks by name: the gate of the estimate that each shows, and what it asserts."""


FINITE = "interval_is_finite"


class CampaignQuestion(dg.Config):
    """Which campaign to ask about, and what is known of how its recipients were chosen."""

    campaign_id: str = Field(
        "email_winback",
        description=(
            "The campaign. Where the shop has none of this name with 14 days of orders after it, the e-mail campaign "
            "with the most recipients that has."
        ),
    )
    is_randomised: bool = Field(
        False,
        description=(
            "Whether the recipients were drawn at random. Otherwise recorded facts must tell who got the e-mail: if "
            "they tell nothing, something unrecorded decided, and the effect is not identified."
        ),
    )
    unrecorded: list[str] = Field(
        [],
        description=(
            "What the recipients were also chosen by and the data do not hold, e.g. a salesperson's hunch. Anything "
            "here makes the effect not identified: no test on the data can find it out."
        ),
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The asset, for a shop that can be asked."""
    return dg.Definitions(assets=[email_campaign_effect] if is_answerable() else [])


def is_answerable() -> bool:
    """Whether the shop delivers what the question needs."""
    return delivered(NEEDED) == NEEDED


@dg.asset(
    key=KEY,
    deps=[FEATURES_KEY, *depends_on(("fct_order_items", *NEEDED))],
    kinds={"econml", "iceberg"},
    tags={"domain": "marketing"},
    check_specs=[
        *(dg.AssetCheckSpec(name, asset=KEY, description=about) for name, (_, about) in GATES.items()),
        dg.AssetCheckSpec(
            FINITE,
            asset=KEY,
            blocking=True,
            description="The estimate, where there is one, lies in a finite interval.",
        ),
    ],
    description=(
        "The average effect of being sent an e-mail campaign on a customer's net spend in the 14 days after it, with "
        "its 95 % interval and the verdict `identified` or `not identified`. Customers who got it are compared with "
        "those who could have, made comparable by the features of the day it was sent."
    ),
)
def email_campaign_effect(config: CampaignQuestion) -> dg.MaterializeResult:
    """Build the panel, estimate, try to refute, and store the answer."""
    settings = get_settings()
    lake = open_lake()
    with plain_failures():
        inputs = pin(lake, published(dict.fromkeys((*feature_marts(), *NEEDED))))
        with lake.connect() as con:
            dates = as_of_dates(con, lake.relation_sql(FEATURES))
            lake.ensure(EFFECT, CONTRACT, None)
            try:
                campaign = choose(email_campaigns(con, inputs.selects), config.campaign_id, data_end(dates))
            except NoCampaign as reason:
                with lake.overwriting(EFFECT, None):  # by nothing
                    return abstention(str(reason))
            rows = panel(con, inputs.selects, campaign)
        found = assess(rows.study, Design(is_randomised=config.is_randomised, unrecorded=tuple(config.unrecorded)))
        effect = effect_of(campaign, found, load_shop(settings).currency)
        with lake.overwriting(EFFECT, None) as writer:
            writer.write(row_of(campaign, effect))
    return dg.MaterializeResult(
        metadata=table_metadata(CONTRACT, 1, inputs.snapshots)
        | {
            "campaign": campaign.campaign_id,
            "verdict": effect.verdict,
            "effect": "none" if effect.estimate is None else f"{effect.estimate:.2f} {effect.unit}",
            "interval": f"{effect.ci_low} to {effect.ci_high}",
            "treated": found.treated,
            "control": found.control,
            "trimmed_share": found.trimmed_share,
            "gates": markdown_table(
                ("gate", "passed", "detail"), [(g.name, g.passed, g.detail.replace("|", "\\|")) for g in found.gates]
            ),
        },
        check_results=judge(found),
    )


def abstention(reason: str) -> dg.MaterializeResult:
    """No campaign to ask about, and why: the gates cannot judge yet, and there is no effect that they would guard."""
    unexamined = [
        checked(
            name,
            True,
            expected="a campaign to ask about",
            found="none",
            severity="warning",
            description=f"cannot judge yet: {reason}",
        )
        for name in GATES
    ]
    finite = checked(FINITE, True, expected="a finite interval", found="there is no estimate")
    return dg.MaterializeResult(metadata={"abstained": reason}, check_results=[*unexamined, finite])


def judge(found: Finding) -> list[dg.AssetCheckResult]:
    """The checks of an answer. A gate that fails warns and blocks nothing: the released verdict says so."""
    gates = {gate.name: gate for gate in found.gates}
    results = [
        checked(
            name,
            gate in gates and gates[gate].passed,
            expected=about,
            found=gates[gate].detail if gate in gates else "not examined: an arm is too small",
            severity="warning",
            description=gates[gate].detail if gate in gates else None,
        )
        for name, (gate, about) in GATES.items()
    ]
    is_finite = found.effect is None or all(map(math.isfinite, found.effect))
    return [
        *results,
        checked(FINITE, is_finite, expected="a finite interval", found=f"{found.effect or 'no estimate'}"),
    ]
