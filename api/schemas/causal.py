"""Causal estimates, and what to do by them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.bodies import RequestBody
from api.schemas.shared import AsOf, ReleaseId
from cartograph.releases.contents.causal import Budget, Effect, Estimated, TreatmentPolicy


class Effects(BaseModel):
    """Every question that was asked of the data, with its answer or the verdict that there is none."""

    release_id: ReleaseId
    as_of: AsOf
    effects: list[Effect]


class Policies(BaseModel):
    """Whom to treat, for each question whose effect is identified and whose treatment has a cost."""

    release_id: ReleaseId
    as_of: AsOf
    policies: list[TreatmentPolicy]


class ChannelBudget(BaseModel):
    """What the paid channels add, and how to spend on them; `budget` is null where the data do not show it."""

    release_id: ReleaseId
    as_of: AsOf
    budget: Budget | None


Cost = Annotated[float, Field(ge=0, allow_inf_nan=False, examples=[1.5])]


class DecisionRequest(RequestBody):
    """The policy's features, all and no other, null where one is not known; what treating costs if not as learned."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"features": {"recency_days": 45, "orders_count": 3}, "cost": 1.5}]}
    )

    features: dict[str, Annotated[float, Field(allow_inf_nan=False)] | bool | None] = Field(max_length=1000)
    cost: Cost | None = None


class Decision(BaseModel):
    """Whether to treat, and why.

    `worth` is what treating such customers adds before the cost, on customers that the policy has not learned from:
    treating pays up to that cost. At the policy's own cost its tree decides; at another one, whether the whole interval
    of `worth` is above the cost. `because` are the answers that led there.
    """

    question: str = Field(examples=["email_spring_spend"])
    treat: bool = Field(examples=[True])
    reason: Literal["pays", "does_not_pay", "outside_population"] = Field(
        description="`pays`: treating such customers is shown to add more than it costs; `does_not_pay`: it is not; "
        "`outside_population`: the question is not asked of this customer, e.g. of one who refused e-mail, so that "
        "nothing is known of what treating adds."
    )
    cost: float = Field(examples=[1.5])
    worth: Estimated | None = Field(description="Null outside the population.")
    unit: str = Field(examples=["EUR per customer"])
    because: list[str] = Field(examples=[["recency_days > 45"]])
    release_id: ReleaseId
    as_of: AsOf


class EffectAndMemo(BaseModel):
    """One question with its answer or the verdict, and the memo for who has to decide; None in older releases."""

    release_id: ReleaseId
    as_of: AsOf
    effect: Effect
    memo: str | None = Field(
        description="Markdown; its pictures lie beneath the question's address.",
        examples=["# What the spring e-mail added\n\n![effects](effects.svg)\n"],
    )
