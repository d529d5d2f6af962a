"""The answer to a question as it is stored and released: what was asked, what was found, and whether to believe it.

An answer that is not identified keeps its tests and its reasons, and no estimate. Its words for people are `memo`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from cartograph.contracts import Column, Contract
from cartograph.releases.contents.causal import Effect, EffectCheck, PolicyRule, TreatmentPolicy
from ml_assets.core.causal.assess import held_fixed
from ml_assets.core.causal.finding import CONFIDENCE, Estimate, Finding, Gate, NamedEstimate
from ml_assets.core.evaluation import plots
from ml_assets.core.evaluation.plots import Picture
from ml_assets.core.questions.asked import OUTCOME, TREATMENT, Asked
from ml_assets.core.questions.posed import Posed

TOLD_BY_NUMBERS = frozenset({"agreement", "random_subset", "random_common_cause"})
"""Gates whose details have estimates in them, which one that is not identified must not have."""


class Answer(BaseModel):
    """A question's answer. Where it is not identified, `finding` has no estimate.

    `is_amount` tells a treatment of more than two values, of which there are no groups.
    `cost` is that of treating a unit, `value` that of one unit of the outcome, in `currency`; `value` may be unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str
    description: str
    owner: str
    unit_asked: str
    treatment: str
    outcome: str
    population: str
    estimand: str
    unit: str
    currency: str
    as_of: date
    cost: float
    value: float | None
    is_randomised: bool
    is_amount: bool = False
    unrecorded: tuple[str, ...]
    confounders: tuple[str, ...]
    arrows: tuple[tuple[str, str], ...]
    latent: tuple[str, ...]
    notes: dict[str, str]
    finding: Finding

    @property
    def is_identified(self) -> bool:
        """Whether there is an estimate to be believed."""
        return self.finding.identified

    @property
    def estimate(self) -> Estimate | None:
        """The effect; None where it is not identified."""
        return self.finding.effect if self.is_identified else None

    @property
    def refusals(self) -> tuple[Gate, ...]:
        """The tests that it failed."""
        return tuple(gate for gate in self.finding.gates if not gate.passed)

    @property
    def worth(self) -> Estimate | None:
        """What treating one unit brings net of its cost, with the interval; None where that is not known."""
        if self.estimate is None or self.value is None:
            return None
        low, high = sorted(self.value * end for end in (self.estimate.low, self.estimate.high))
        return Estimate(self.value * self.estimate.ate - self.cost, low - self.cost, high - self.cost)


def answered(asked: Asked, posed: Posed, found: Finding, currency: str) -> Answer:
    """What was found of a question, as it may be told.

    Raises:
        GraphError: the graph of the question cannot be used.
    """
    graph = posed.design.graph
    names = posed.study.confounders.names
    usual = (*((name, node) for name in names for node in (TREATMENT, OUTCOME)), (TREATMENT, OUTCOME))
    unseen = asked.unrecorded if not graph else ()
    return Answer(
        question=asked.name,
        description=asked.description,
        owner=asked.owner,
        unit_asked=getattr(asked, "unit", "customer").replace("_", " "),
        treatment=posed.treatment,
        outcome=posed.outcome,
        population=posed.population,
        estimand=asked.estimand,
        unit=posed.unit,
        currency=currency,
        as_of=posed.as_of,
        cost=posed.cost,
        value=posed.value,
        is_randomised=asked.is_randomised,
        is_amount=posed.design.kind == "continuous" and len(np.unique(posed.study.treatment)) > 2,
        unrecorded=asked.unrecorded,
        confounders=held_fixed(posed.study, posed.design),
        arrows=graph.edges if graph else (*usual, *((one, node) for one in unseen for node in (TREATMENT, OUTCOME))),
        latent=graph.latent if graph else unseen,
        notes=dict(posed.notes),
        finding=found if found.identified else refused(found),
    )


def refused(found: Finding) -> Finding:
    """A finding without what nobody may act on: no estimate, nothing that is made of one, and none in words."""
    gates = tuple(
        gate._replace(detail="passed" if gate.passed else "the estimates contradict each other", value=0.0)
        if gate.name in TOLD_BY_NUMBERS
        else gate
        for gate in found.gates
    )
    if all(gate.passed for gate in gates):
        gates = (*gates, Gate("estimate", False, 0.0, "nothing could be estimated"))
    return replace(found, estimates=(), gates=gates, sensitivity=None, heterogeneity=None, groups=())


def effect_of(answer: Answer) -> Effect:
    """The answer in the form of a release."""
    found, estimate = answer.finding, answer.estimate
    return Effect(
        name=answer.question,
        question=answer.description,
        treatment=answer.treatment,
        outcome=answer.outcome,
        estimand="ATE" if answer.estimand == "CATE" else answer.estimand,
        unit=answer.unit,
        estimate=estimate.ate if estimate else None,
        ci_low=estimate.low if estimate else None,
        ci_high=estimate.high if estimate else None,
        confidence_level=CONFIDENCE,
        n_treated=found.treated,
        n_control=found.control,
        checks=tuple(EffectCheck(name=g.name, passed=g.passed, detail=g.detail) for g in found.gates),
        verdict="identified" if answer.is_identified else "not identified",
        reasons=tuple(gate.detail for gate in answer.refusals),
        as_of=answer.as_of,
        method=method(found.estimates),
    )


def method(estimates: tuple[NamedEstimate, ...]) -> str:
    """By what the answer was estimated, and which method had to agree."""
    names = list(dict.fromkeys(one.method for one in estimates))
    return (
        ", and ".join((names[0], f"{' and '.join(names[1:])} agrees")) if len(names) > 1 else "".join(names) or "none"
    )


def contract(name: str) -> Contract:
    """The table of a question's answer."""
    return Contract(
        dataset=name,
        grain=f"The answer to {name}, if there is one.",
        key=("question",),
        columns=(
            Column(name="question", type="string", description="The question: the name of its file."),
            Column(name="as_of_date", type="date", description="The day of the latest treatment (UTC)."),
            Column(
                name="estimate", type="double", nullable=True, description="Its effect. Null: it is not identified."
            ),
            Column(name="ci_low", type="double", nullable=True, description="Lower end of the 95 % interval."),
            Column(name="ci_high", type="double", nullable=True, description="Upper end of the 95 % interval."),
            Column(
                name="verdict",
                type="string",
                accepted=("identified", "not identified"),
                description="Whether the effect may be believed.",
            ),
            Column(name="effect", type="string", description="The answer as JSON, in the form of a release."),
            Column(name="answer", type="string", description="All that was found as JSON: the memo is made of it."),
            Column(name="memo", type="string", description="The decision memo as Markdown."),
            Column(
                name="pictures", type="string", nullable=True, description="Its pictures as JSON, each with its SVG."
            ),
        ),
    )


def row_of(answer: Answer, memo: str, pictures: Sequence[Picture]) -> pa.Table:
    """The answer, with its memo and the pictures of that, as the row of its table."""
    effect = effect_of(answer)
    row = {
        "question": answer.question,
        "as_of_date": answer.as_of,
        "estimate": effect.estimate,
        "ci_low": effect.ci_low,
        "ci_high": effect.ci_high,
        "verdict": effect.verdict,
        "effect": effect.model_dump_json(),
        "answer": answer.model_dump_json(),
        "memo": memo,
        "pictures": plots.written(pictures),
    }
    return pa.Table.from_pylist([row], schema=contract(answer.question).arrow_schema())


class Told(NamedTuple):
    """An answer as it is released, with its memo and the pictures of that."""

    effect: Effect
    memo: str
    pictures: tuple[Picture, ...]


def read_told(rows: Iterable[Mapping[str, Any]]) -> tuple[Told, ...]:
    """The answers in rows of their tables."""
    return tuple(
        Told(Effect.model_validate_json(row["effect"]), row["memo"], plots.read(row.get("pictures"))) for row in rows
    )


def policy_of(answer: Answer, rule: PolicyRule) -> TreatmentPolicy:
    """Whom to treat, in the form of a release.

    Raises:
        ValueError: the effect is not identified, so that nobody knows whom to treat.
    """
    if not answer.is_identified:
        raise ValueError(f"the effect of {answer.question} is not identified: there is no policy of it")
    return TreatmentPolicy(
        name=answer.question,
        question=answer.description,
        treatment=answer.treatment,
        population=answer.population,
        unit=f"{answer.currency} per {answer.unit_asked}",
        as_of=answer.as_of,
        rule=rule,
    )


def policy_contract(name: str) -> Contract:
    """The table of a question's policy."""
    return Contract(
        dataset=f"{name}_policy",
        grain=f"The policy of {name}, if its effect is identified.",
        key=("question",),
        columns=(
            Column(name="question", type="string", description="The question: the name of its file."),
            Column(
                name="kind",
                type="string",
                accepted=("tree", "treat all", "treat none"),
                description="Whether choosing is shown to be better than treating all or nobody.",
            ),
            Column(name="value", type="double", description="What following it is worth for each, net of the cost."),
            Column(name="value_low", type="double", description="Lower end of the 95 % interval."),
            Column(name="value_high", type="double", description="Upper end of the 95 % interval."),
            Column(name="policy", type="string", description="The policy as JSON, in the form of a release."),
        ),
    )


def policy_row(policy: TreatmentPolicy | None, name: str) -> pa.Table:
    """The policy as the row of its table; an empty table where there is none."""
    rows = []
    if policy is not None:
        found = policy.rule
        rows = [
            {
                "question": policy.name,
                "kind": found.kind,
                "value": found.value.value,
                "value_low": found.value.low,
                "value_high": found.value.high,
                "policy": policy.model_dump_json(),
            }
        ]
    return pa.Table.from_pylist(rows, schema=policy_contract(name).arrow_schema())
