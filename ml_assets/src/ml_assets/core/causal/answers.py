"""Answers in the form in which they are stored and released. How they are found is `effect`'s business."""

from __future__ import annotations

import pyarrow as pa

from cartograph.contracts import Column, Contract
from cartograph.releases.contents import Effect, EffectCheck
from ml_assets.core.causal.finding import CONFIDENCE, Finding
from ml_assets.core.causal.panel import OUTCOME, OUTCOME_DAYS, Campaign

CONTRACT = Contract(
    dataset="email_campaign_effect",
    grain="A campaign that was asked about.",
    key=("campaign_id",),
    columns=(
        Column(name="campaign_id", type="string", description="The campaign."),
        Column(name="as_of_date", type="date", description="The day of its first e-mail (UTC)."),
        Column(name="estimate", type="double", nullable=True, description="Average effect on a customer's net spend."),
        Column(name="ci_low", type="double", nullable=True, description="Lower end of the 95 % interval."),
        Column(name="ci_high", type="double", nullable=True, description="Upper end of the 95 % interval."),
        Column(name="verdict", type="string", description="`identified`, or `not identified`: then do not act on it."),
        Column(name="effect", type="string", description="The whole answer as JSON, in the form of a release."),
    ),
)


def effect_of(campaign: Campaign, found: Finding, currency: str) -> Effect:
    """The answer to: what did `campaign` do to the net spend of a customer who could have got it?"""
    estimate = found.effect
    return Effect(
        question=f"What did the e-mail campaign {campaign.campaign_id} add to a customer's spend?",
        treatment=f"was sent {campaign.campaign_id}",
        outcome=f"{OUTCOME}: net spend in the {OUTCOME_DAYS} days from the first e-mail on",
        estimand="ATE",
        unit=f"{currency} per customer",
        estimate=estimate.ate if estimate else None,
        ci_low=estimate.low if estimate else None,
        ci_high=estimate.high if estimate else None,
        confidence_level=CONFIDENCE,
        n_treated=found.treated,
        n_control=found.control,
        checks=tuple(EffectCheck(name=g.name, passed=g.passed, detail=g.detail) for g in found.gates),
        verdict="identified" if found.identified else "not identified",
        as_of=campaign.as_of,
        method="doubly robust (EconML LinearDRLearner), nuisances stacked of splines and boosted trees",
    )


def row_of(campaign: Campaign, effect: Effect) -> pa.Table:
    """The answer as the row of its table."""
    row = {
        "campaign_id": campaign.campaign_id,
        "as_of_date": campaign.as_of,
        "estimate": effect.estimate,
        "ci_low": effect.ci_low,
        "ci_high": effect.ci_high,
        "verdict": effect.verdict,
        "effect": effect.model_dump_json(),
    }
    return pa.Table.from_pylist([row], schema=CONTRACT.arrow_schema())
