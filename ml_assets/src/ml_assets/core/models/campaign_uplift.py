"""The next best action: which of the campaigns that a shop has run would add the most margin for each customer.

Only a campaign whose effect is identified is an action: `ml_assets.core.causal.effect` has the tests, and
`ml_assets.core.causal.uplift` learns what it adds for whom. Who will order without being asked is `propensity`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from ml_assets.core.causal.assess import assess
from ml_assets.core.causal.effect import SMOOTH
from ml_assets.core.causal.finding import Gate
from ml_assets.core.causal.panel import Campaign, NoCampaign, complete, email_campaigns, panel
from ml_assets.core.causal.study import Design
from ml_assets.core.causal.uplift import INPUTS, Action, Effects, HeldOut, learn
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.features.customers import Marts
from ml_assets.core.models.errors import NotEnoughData, TooYoung

NAME = "campaign_uplift"
CONTACT = "email_opt_in"
"""The feature that is 1 for who may be written to: 0 is a refusal, and silence is no consent."""
NOTHING = "nothing"
REASONS = {
    "adds_most": "it is expected to add more than it costs, and more than any other action",
    "average_pays": "on average it adds more than it costs, and for whom it adds more is not known",
    "costs_more": "no action is expected to add as much as it costs",
    "refused_email": "the customer does not want e-mail",
    "unknown_consent": "whether the customer wants e-mail is not known",
    "no_action": "the effect of no campaign is identified",
}
"""Why a customer gets an action or nothing, by what the tables say."""
ACTING = ("adds_most", "average_pays")
"""The reasons of those who get an action."""


class UpliftModel(BaseModel):
    """The actions of a shop; its JSON is the form in which it leaves training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: date
    actions: tuple[Action, ...]

    def to_bytes(self) -> bytes:
        """The model as JSON; the same model gives the same bytes."""
        return self.model_dump_json().encode()

    @property
    def offered(self) -> tuple[Action, ...]:
        """The actions that are known to add more for some than for others; or where there are none, all.

        An average is no estimate for those whom a ranking has left over, so the two kinds are not mixed.
        """
        return tuple(action for action in self.actions if action.is_ranked) or self.actions


class Examined(NamedTuple):
    """A campaign that was looked at: the gates of its effect on spend, and its evidence as an action or the refusal."""

    campaign: Campaign
    gates: tuple[Gate, ...]
    held_out: HeldOut | None
    refusal: str | None


class Trained(NamedTuple):
    """A model and how it came about: every campaign that could be an action."""

    model: UpliftModel
    examined: tuple[Examined, ...]

    @property
    def learned(self) -> dict[str, HeldOut]:
        """The evidence for each action."""
        return {one.campaign.campaign_id: one.held_out for one in self.examined if one.held_out is not None}

    @property
    def metrics(self) -> dict[str, float]:
        """The held-out figures by action and name, in the shop's currency for a customer."""
        return {
            f"{name}.{figure}": value
            for name, held in self.learned.items()
            for figure, value in {
                "qini": held.qini.value,
                "qini_low": held.qini.low,
                "qini_high": held.qini.high,
                "average": held.average.value,
                "average_low": held.average.low,
                "average_high": held.average.high,
                "predicted": held.predicted,
                "policy_value": held.policy.value.value,
                "policy_share": held.policy.share,
            }.items()
        }

    @property
    def baselines(self) -> dict[str, float]:
        """What targeting by propensity, and treating all, reach for each action."""
        return {
            f"{name}.{figure}": value
            for name, held in self.learned.items()
            for figure, value in {
                "by_propensity.qini": held.by_propensity.value,
                "treat_all.policy_value": held.policy.all.value,
            }.items()
        }

    @property
    def card(self) -> dict[str, Any]:
        """The model's card, but for the version that the registry gives it."""
        return {
            "name": NAME,
            "as_of": self.model.as_of.isoformat(),
            "features": [spec.model_dump() for spec in CUSTOMER_FEATURES.specs((*INPUTS, CONTACT))],
            "metrics": self.metrics,
            "baseline_metrics": self.baselines,
        }


class Choices(NamedTuple):
    """For each customer the name of the action or `NOTHING`, and why.

    `effects` are of the action, or of the best one that was turned down; NaN where there is none.
    """

    actions: list[str]
    reasons: list[str]
    effects: Effects


def designs_of(text: str) -> dict[str, Design]:
    """How campaigns chose their recipients, from the JSON of `text_of`."""
    return {
        name: Design(is_randomised=bool(known["is_randomised"]), unrecorded=tuple(known["unrecorded"]))
        for name, known in json.loads(text).items()
    }


def text_of(designs: Mapping[str, Design]) -> str:
    """How campaigns chose their recipients as JSON, for the registry."""
    return json.dumps(
        {
            name: {"is_randomised": design.is_randomised, "unrecorded": design.unrecorded}
            for name, design in sorted(designs.items())
        }
    )


def train(con: duckdb.DuckDBPyConnection, marts: Marts, designs: Mapping[str, Design], data_end: date) -> Trained:
    """Examine each e-mail campaign whose outcomes are in the data before `data_end`, and learn from the identified.

    Those that `designs` does not name are taken to have been aimed by recorded facts alone.

    Raises:
        TooYoung: there is no such campaign yet.
    """
    try:
        campaigns = complete(email_campaigns(con, marts), data_end)
    except NoCampaign as none:
        raise TooYoung(str(none)) from None
    costs = _costs(con, marts["dim_campaigns"])
    actions: list[Action] = []
    examined: list[Examined] = []
    for campaign in sorted(campaigns, key=lambda one: (one.first_sent, one.campaign_id)):
        rows = panel(con, marts, campaign)
        found = assess(rows.study, designs.get(campaign.campaign_id, Design()), SMOOTH).gates
        failed = [gate.name for gate in found if not gate.passed]
        if failed:
            refusal = f"its effect is not identified: {', '.join(failed)}"
            examined.append(Examined(campaign, found, None, refusal))
            continue
        try:
            action, held_out = learn(rows, costs.get(campaign.campaign_id, 0.0) / campaign.recipients)
        except NotEnoughData as reason:
            examined.append(Examined(campaign, found, None, str(reason)))
            continue
        actions.append(action)
        examined.append(Examined(campaign, found, held_out, None))
    return Trained(UpliftModel(as_of=data_end, actions=tuple(actions)), tuple(examined))


def choose(model: UpliftModel, rows: pa.Table) -> Choices:
    """The action for each row of a feature table: the one expected to add the most margin, if more than it costs.

    None for who may not be written to.
    """
    offered = model.offered
    consent = rows[CONTACT].cast(pa.float64()).to_numpy(zero_copy_only=False)
    silenced = [consent == 0, np.isnan(consent)]
    forbidden = ["refused_email", "unknown_consent"]
    if not offered:
        unknown = np.full(len(rows), np.nan)
        reasons = np.select(silenced, forbidden, "no_action")
        return Choices([NOTHING] * len(rows), reasons.tolist(), Effects(unknown, unknown, unknown))
    best, chosen = best_of(offered, rows)
    pays = chosen.margin > 0
    why = "adds_most" if offered[0].is_ranked else "average_pays"
    names = np.array([action.name for action in offered], dtype=object)
    return Choices(
        actions=np.where(pays & (consent == 1), names[best], NOTHING).tolist(),
        reasons=np.select([*silenced, pays], [*forbidden, why], "costs_more").tolist(),
        effects=chosen,
    )


def best_of(actions: Sequence[Action], rows: pa.Table) -> tuple[npt.NDArray[np.intp], Effects]:
    """For each row of a feature table the place of the action that adds the most margin, and what it adds."""
    each = [action.effects(rows) for action in actions]
    best = np.argmax([effects.margin for effects in each], axis=0)
    return best, Effects(*(np.choose(best, values) for values in zip(*each, strict=True)))


def _costs(con: duckdb.DuckDBPyConnection, campaigns: str) -> dict[str, float]:
    """The budget of each campaign that has one."""
    rows = con.execute(f"SELECT campaign_id, budget_amount::DOUBLE FROM ({campaigns}) WHERE budget_amount IS NOT NULL")
    return dict(rows.fetchall())
