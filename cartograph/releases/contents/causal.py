"""Causal answers: effects, policies of whom to treat, and the budget of the paid channels."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from cartograph.releases.contents.base import Content


class EffectCheck(Content):
    """One test of an estimate: overlap, balance, a placebo."""

    name: str = Field(examples=["overlap"])
    passed: bool = Field(examples=[True])
    detail: str = Field(examples=["99 % in [0.02, 0.98]"])


class Effect(Content):
    """The answer to one causal question, or why there is none.

    `name` is that of the question's file; empty in releases of before there were such. `estimate`, `ci_low` and
    `ci_high` are in `unit`, the interval at `confidence_level` (0.95 for 95 %). With the verdict `not identified` they
    are None, and `reasons` says in words why: releases of before showed them as a warning, which is left out.
    """

    name: str = Field("", examples=["email_spring_spend"])
    question: str = Field(examples=["Did the spring e-mail make customers spend more?"])
    treatment: str = Field(examples=["got the spring e-mail"])
    outcome: str = Field(examples=["spend_30d"])
    estimand: str = Field(examples=["ATT"])
    unit: str = Field(examples=["EUR per customer"])
    estimate: float | None = Field(examples=[4.2])
    ci_low: float | None = Field(examples=[3.1])
    ci_high: float | None = Field(examples=[5.3])
    confidence_level: float = Field(gt=0, lt=1, examples=[0.95])
    n_treated: int = Field(ge=0, examples=[900])
    n_control: int = Field(ge=0, examples=[950])
    checks: tuple[EffectCheck, ...]
    verdict: Literal["identified", "not identified"]
    reasons: tuple[str, ...] = ()
    as_of: date = Field(examples=["2026-01-01"])
    method: str = Field(examples=["LinearDML"])

    @model_validator(mode="before")
    @classmethod
    def _refused_has_none(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("verdict") == "not identified":
            return {**content, "estimate": None, "ci_low": None, "ci_high": None}
        return content


EFFECTS = TypeAdapter(tuple[Effect, ...])


class Estimated(Content):
    """A figure with its 95 % interval."""

    value: float = Field(examples=[4.2])
    low: float = Field(examples=[3.1])
    high: float = Field(examples=[5.3])


class PolicyFeature(Content):
    """A feature that a policy asks for; where it is null, `missing` stands for it."""

    name: str = Field(examples=["recency_days"])
    missing: float = Field(examples=[30.0])


class PolicyNode(Content):
    """A question of a policy tree, or where `feature` is None, its answer for those who come to it.

    At most `threshold` goes to the node at `left`, more to the one at `right`. `gain` is what treating adds net of its
    cost for each who comes here, of rows that the tree has not learned from, and `share` their part of all.
    """

    feature: str | None = Field(None, examples=["recency_days"])
    threshold: float | None = Field(None, examples=[45.0])
    left: int | None = Field(None, examples=[1])
    right: int | None = Field(None, examples=[2])
    treats: bool = Field(examples=[True])
    gain: Estimated
    share: float = Field(ge=0, le=1, examples=[0.62])

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len({self.feature is None, self.threshold is None, self.left is None, self.right is None}) != 1:
            raise ValueError("a node has feature, threshold, left and right, or none of them")
        return self


class PolicyRule(Content):
    """Whom to treat: `nodes` is a binary tree from its first node on, each other node the child of one before it.

    Amounts are in the unit of `cost` for each row of all, on rows that were held out: `value` of following the rule,
    `treat_all` of treating everybody, `over_all` their difference; treating nobody is worth 0. `qini` is the area of
    the tree's ranking over treating at random.
    """

    kind: Literal["tree", "treat all", "treat none"]
    cost: float = Field(ge=0, examples=[1.5])
    value_of_outcome: float = Field(gt=0, examples=[0.4])
    features: tuple[PolicyFeature, ...]
    nodes: tuple[PolicyNode, ...] = Field(min_length=1)
    learned_from: int = Field(ge=0, examples=[12_000])
    held_out: int = Field(ge=0, examples=[6000])
    value: Estimated
    treat_all: Estimated
    over_all: Estimated
    qini: Estimated | None

    @model_validator(mode="after")
    def _is_a_tree(self) -> Self:
        known = {feature.name for feature in self.features}
        children = [child for node in self.nodes for child in (node.left, node.right) if child is not None]
        if sorted(children) != list(range(1, len(self.nodes))):
            raise ValueError("each node but the first must be the child of one other")
        for at, node in enumerate(self.nodes):
            if node.feature is not None and node.feature not in known:
                raise ValueError(f"a node asks for {node.feature}, which is no feature of the policy")
            if any(child is not None and child <= at for child in (node.left, node.right)):
                raise ValueError("a node must come before its children")
        return self


class TreatmentPolicy(Content):
    """Whom of a question's population to treat, learned from an effect that is identified.

    `name` is the question's; amounts are in `unit`, e.g. `EUR per customer`.
    """

    name: str = Field(examples=["email_spring_spend"])
    question: str = Field(examples=["Did the spring e-mail make customers spend more?"])
    treatment: str = Field(examples=["got the spring e-mail"])
    population: str | None = Field(
        None,
        description="Whom it is about: a SQL condition on customer features, `true` for everybody. It says nothing of "
        "others. Null in releases of before it was told.",
        examples=["is_opted_in"],
    )
    unit: str = Field(examples=["EUR per customer"])
    as_of: date = Field(examples=["2026-01-01"])
    rule: PolicyRule


POLICIES = TypeAdapter(tuple[TreatmentPolicy, ...])


class ChannelResponse(Content):
    """What a paid channel added, and what more or less spend a day would.

    `most`, `half_saturation` (spend a day at half of it) and `exponent` are those of the Hill curve of extra orders a
    day; up to `highest_spend` a day it is known. `carry_over` is the share of the effect that lasts to the next day.
    """

    channel: str = Field(examples=["paid_search"])
    spend: float = Field(examples=[73_000.0])
    extra_orders: Estimated
    share: Estimated
    return_on_spend: Estimated
    carry_over: Estimated
    half_saturation: Estimated
    most: float = Field(examples=[9.0])
    exponent: float = Field(examples=[1.4])
    highest_spend: float = Field(examples=[200.0])
    is_shown: bool = Field(examples=[True])


class BudgetLine(Content):
    """Daily spend on a channel today and as proposed, from `least` to `most`; 95 % of best budgets lie in `likely`.

    `margin_today` and `margin_proposed` are the margin that one more unit of currency would add there. `is_capped`:
    more is not proposed because nobody has seen more being spent.
    """

    channel: str = Field(examples=["paid_search"])
    today: float = Field(examples=[100.0])
    proposed: float = Field(examples=[80.0])
    likely: tuple[float, float] = Field(examples=[[60.0, 100.0]])
    least: float = Field(examples=[50.0])
    most: float = Field(examples=[150.0])
    margin_today: float = Field(examples=[0.8])
    margin_proposed: float = Field(examples=[1.0])
    is_capped: bool = Field(examples=[False])


class Budget(Content):
    """The responses of the paid channels, and the daily budget that is expected to earn most within its limits.

    Amounts are in `currency` a day. `profit` is margin that the channels add less what is spent on them, `gain` how
    much more of it the proposal is expected to earn than today's budget. Where its interval holds 0 (`is_shown` is
    false), the data do not tell the proposal from today's budget: keep that, or try the proposal in an experiment.
    """

    as_of: date = Field(examples=["2026-01-01"])
    currency: str = Field(examples=["EUR"])
    margin_of_order: float = Field(examples=[20.0])
    channels: tuple[ChannelResponse, ...]
    lines: tuple[BudgetLine, ...]
    total_most: float = Field(examples=[400.0])
    profit_today: Estimated
    profit: Estimated
    gain: Estimated
    is_shown: bool = Field(examples=[True])
