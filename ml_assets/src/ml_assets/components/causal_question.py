"""A causal question as a component: its panel, its answer with the tests as checks, the pictures and the memo.

The form of its file is `ml_assets.core.questions.form`, the panels are `customers`'s and `products`'s, and how an
effect is found and refuted is `ml_assets.core.causal`'s business. Which files there are is `ml_assets.defs.causal`'s.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from cartograph.contracts import Contract
from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.evidence import checked
from ml_assets.core.causal import policy as policies
from ml_assets.core.causal.assess import assess
from ml_assets.core.causal.effect import LINEAR, SMOOTH, STACKED
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.questions import customers, products
from ml_assets.core.questions.answers import (
    Answer,
    answered,
    contract,
    policy_contract,
    policy_of,
    policy_row,
    row_of,
)
from ml_assets.core.questions.asked import Asked
from ml_assets.core.questions.form import CustomerQuestion, question_of
from ml_assets.core.questions.memo import Decision, memo, sentence, without_pictures
from ml_assets.core.questions.pictures import pictures
from ml_assets.core.questions.posed import Data, NoAnswer, Posed, unsound
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import (
    FEATURES,
    delivered,
    depends_on,
    open_lake,
    pin,
    plain_failures,
    published,
)
from ml_assets.defs.metadata import markdown_picture, markdown_table, table_metadata
from ml_assets.defs.partitions import data_end

CUSTOMERS_KEY = dg.AssetKey(["causal", "customers_as_of"])
WEEKS_KEY = dg.AssetKey(["causal", "product_weeks"])
SOUND = "panel_is_as_of"
FINITE = "interval_is_finite"
WITHHELD = "refused_has_no_estimate"
NO_POLICY = "refused_has_no_policy"
GATES = {
    "arms_are_large": ("arm_sizes", "There are enough of each level of the treatment to compare."),
    "graph_identifies": ("identification", "By the graph of causes, what is recorded closes every back door."),
    "choice_is_recorded": ("back_door", "The treated were chosen as declared, by nothing that is not recorded."),
    "has_overlap": ("overlap", "Nearly all who are asked about could have been in either arm."),
    "weights_leave_enough": ("effective_size", "Weighted to be alike, the arms are still large enough."),
    "is_balanced": ("balance", "Weighted by the inverse propensity, the arms are alike in all that is known."),
    "estimators_agree": ("agreement", "Two estimators of different families have overlapping intervals."),
    "random_treatment_has_no_effect": ("placebo_treatment", "A treatment dealt out at random has no effect."),
    "noise_changes_nothing": ("random_common_cause", "A further cause that is noise leaves the estimate where it is."),
    "halves_agree": ("random_subset", "Two random halves of the rows have the same effect."),
    "unchangeable_is_unchanged": ("negative_controls", "It did not change what it cannot have changed."),
}
"""Asset checks by name: the gate of the estimate that each shows, and what it asserts."""
FURTHER = "further_tests_pass"
"""The check of all gates that have none of their own: those of one kind of treatment only."""


Pose = Callable[[Data, Any], Posed]
POSE: Mapping[str, Pose] = {"customer": customers.pose, "product_week": products.pose}
"""By the unit that a question is about: what makes its panel."""
SHARED = {"customer": CUSTOMERS_KEY, "product_week": WEEKS_KEY}
"""By the unit: the asset of what the panels of all such questions are made from."""


class CausalQuestion(dg.Component, dg.Model, dg.Resolvable):
    """A causal question, as `causal/<name>_panel` and `causal/<name>` with its checks; `content` as in its file."""

    name: str
    content: dict[str, Any]

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """The panel and the answer."""
        return dg.Definitions(assets=[answer_assets(question_of(self.name, self.content))])


def answer_key(name: str) -> dg.AssetKey:
    """The asset of the question's answer."""
    return dg.AssetKey(["causal", name])


def panel_key(name: str) -> dg.AssetKey:
    """The asset of its panel."""
    return dg.AssetKey(["causal", f"{name}_panel"])


def policy_key(name: str) -> dg.AssetKey:
    """The asset of whom to treat."""
    return dg.AssetKey(["causal", f"{name}_policy"])


def has_policy(asked: Asked) -> bool:
    """Whether it is asked for whom the effect is more, of a treatment that one has or has not."""
    return isinstance(asked, CustomerQuestion) and asked.treatment.kind == "binary" and asked.estimand == "CATE"


def table_of(key: dg.AssetKey) -> str:
    """The lake's table of an asset."""
    return ".".join(key.path)


def check_specs(name: str, *, with_policy: bool = False) -> list[dg.AssetCheckSpec]:
    """The checks of a question: its gates, which warn, and those that keep a wrong answer from the release."""
    panel, answer = panel_key(name), answer_key(name)
    return [
        dg.AssetCheckSpec(
            SOUND,
            asset=panel,
            blocking=True,
            description="Each unit is in the panel once, and what is known of it was known before its treatment.",
        ),
        *(dg.AssetCheckSpec(check, asset=answer, description=about) for check, (_, about) in GATES.items()),
        dg.AssetCheckSpec(FURTHER, asset=answer, description="The tests of this kind of treatment alone pass."),
        dg.AssetCheckSpec(
            FINITE,
            asset=answer,
            blocking=True,
            description="The estimate, where there is one, lies in a finite interval.",
        ),
        dg.AssetCheckSpec(
            WITHHELD,
            asset=answer,
            blocking=True,
            description="An effect that is not identified has no estimate, in its table and in what is released of it.",
        ),
        *(
            [
                dg.AssetCheckSpec(
                    NO_POLICY,
                    asset=policy_key(name),
                    blocking=True,
                    description="There is a policy only of an effect that is identified.",
                )
            ]
            if with_policy
            else []
        ),
    ]


def answer_assets(asked: Asked) -> dg.AssetsDefinition:
    """The assets of the panel and the answer, which are made in one step: rows go from one to the other in memory."""
    panel, answer = panel_key(asked.name), answer_key(asked.name)
    upstream = [dg.AssetDep(FEATURES_KEY), dg.AssetDep(SHARED[unit_of(asked)]), *depends_on(read_beside(asked))]

    @dg.multi_asset(
        name=f"causal__{asked.name}",
        specs=[
            dg.AssetSpec(
                panel,
                deps=upstream,
                owners=[asked.owner],
                kinds={"duckdb", "iceberg"},
                tags={"domain": "causal"},
                description=f"Who is asked about in {asked.name}: treatment, outcome, and what was known before.",
            ),
            dg.AssetSpec(
                answer,
                deps=[panel],
                owners=[asked.owner],
                kinds={"econml", "iceberg"},
                tags={"domain": "causal"},
                metadata={"definition": dg.MetadataValue.json(asked.model_dump(mode="json"))},
                description=(
                    f"{asked.description} The effect with its 95 % interval and the verdict `identified`, or no "
                    "estimate and the reasons; with the decision memo."
                ),
            ),
            *(
                [
                    dg.AssetSpec(
                        policy_key(asked.name),
                        deps=[panel, answer],
                        owners=[asked.owner],
                        kinds={"econml", "iceberg"},
                        tags={"domain": "causal"},
                        description=(
                            f"Whom to treat, by the effect of {asked.name} net of its cost: a tree, all or nobody, "
                            "valued on rows that it has not learned from. None while the effect is not identified."
                        ),
                    )
                ]
                if has_policy(asked)
                else []
            ),
        ],
        check_specs=check_specs(asked.name, with_policy=has_policy(asked)),
    )
    def _answer() -> Iterator[dg.MaterializeResult]:
        yield from answer_question(asked)

    return _answer


def unit_of(asked: Asked) -> str:
    """What it is about: `customer` or `product_week`."""
    return str(getattr(asked, "unit", "customer"))


def reads(asked: Asked) -> tuple[str, ...]:
    """The marts that its panel is made of."""
    return tuple(dict.fromkeys(delivered(asked.marts)))


def read_beside(asked: Asked) -> tuple[str, ...]:
    """The marts that its own step reads, beside what it shares with others: those of weeks of products read none."""
    return reads(asked) if isinstance(asked, CustomerQuestion) else ()


def answer_question(asked: Asked) -> Iterator[dg.MaterializeResult]:
    """Make the panel, estimate, try to refute, and store the answer."""
    lake, currency = open_lake(), load_shop(get_settings()).currency
    panel, answer = table_of(panel_key(asked.name)), table_of(answer_key(asked.name))
    shared = SHARED[unit_of(asked)]
    with plain_failures():
        inputs = pin(lake, [FEATURES, table_of(shared), *published(read_beside(asked))])
        lake.ensure(answer, contract(asked.name), None)
        with lake.connect() as con:
            selects = inputs.selects
            data = Data(
                con=con,
                marts={mart: selects[mart] for mart in read_beside(asked)},
                connect=lake.connect_shut_in,
                data_end=data_end(as_of_dates(con, selects["customer_features"])),
                currency=currency,
                shared=selects[shared.path[-1]],
            )
            try:
                posed = POSE[unit_of(asked)](data, asked)
            except NoAnswer as reason:
                with lake.overwriting(answer, None):  # by nothing
                    yield from abstention(asked, str(reason))
                return
        write(panel, posed.contract, posed.rows)
        wrong = unsound(posed)
        yield dg.MaterializeResult(
            asset_key=panel_key(asked.name),
            metadata=table_metadata(posed.contract, len(posed.rows), inputs.snapshots) | {"as_of": str(posed.as_of)},
            check_results=of(
                panel_key(asked.name),
                [checked(SOUND, not wrong, expected="each unit once, known before", found="; ".join(wrong) or "so")],
            ),
        )
        if wrong:
            raise dg.Failure(f"The panel of {asked.name} cannot be asked: {'; '.join(wrong)}.", allow_retries=False)
        found = assess(posed.study, posed.design, nuisances_of(asked))
        told = answered(asked, posed, found, currency)
        policy, why = learned(asked, posed, told)
        advice = Decision((policies.markdown(policy, currency),)) if policy else None
        drawn = pictures(told)
        text = memo(told, drawn, advice)
        row = row_of(told, text, drawn)
        write(answer, contract(asked.name), row)
    yield dg.MaterializeResult(
        asset_key=answer_key(asked.name),
        metadata=table_metadata(contract(asked.name), 1, inputs.snapshots)
        | {
            "verdict": told.finding.verdict,
            "answer": sentence(told),
            "memo": dg.MetadataValue.md(without_pictures(text)),
            "tests": markdown_table(
                ("test", "passed", "detail"),
                [(g.name, g.passed, g.detail.replace("|", "\\|")) for g in told.finding.gates],
            ),
            **{f"picture_{picture.name}": markdown_picture(picture) for picture in drawn},
        },
        check_results=of(answer_key(asked.name), judge(told, row["effect"][0].as_py())),
    )

    if has_policy(asked):
        yield policy_result(asked.name, told, policy, why, inputs.snapshots)


def learned(asked: Asked, posed: Posed, told: Answer) -> tuple[policies.Policy | None, str]:
    """Whom to treat, where the effect is identified and it is known what that brings; else why there is none."""
    if not has_policy(asked):
        return None, "not asked for"
    if not told.is_identified:
        return None, "the effect is not identified"
    if not posed.value or posed.value < 0 or posed.study.clusters is not None:
        return None, "it is not known what a unit of the outcome is worth, or customers are asked about several times"
    try:
        return policies.learn_policy(posed.study, posed.design, posed.cost, posed.value, nuisances_of(asked)), ""
    except NotEnoughData as reason:
        return None, str(reason)


def policy_result(
    name: str, told: Answer, policy: policies.Policy | None, why: str, snapshots: Mapping[str, int]
) -> dg.MaterializeResult:
    """Store the policy, or that there is none, and say what it is."""
    made = policy_of(told, policy.rule) if policy else None
    write(table_of(policy_key(name)), policy_contract(name), policy_row(made, name))
    shown: dict[str, Any] = {"abstained": why}
    if policy:
        drawn = {f"picture_{one.name}": markdown_picture(one) for one in policies.pictures(policy, told.currency)}
        shown = {"policy": dg.MetadataValue.md(policies.markdown(policy, told.currency)), **drawn}
    return dg.MaterializeResult(
        asset_key=policy_key(name),
        metadata=table_metadata(policy_contract(name), int(made is not None), snapshots) | shown,
        check_results=of(policy_key(name), [withheld_policy(told, made is not None)]),
    )


def withheld_policy(told: Answer, is_made: bool) -> dg.AssetCheckResult:
    """Whether there is no policy of an effect that is not identified."""
    return checked(
        NO_POLICY,
        told.is_identified or not is_made,
        expected="no policy of an effect that is not identified",
        found=f"{told.finding.verdict}, {'with' if is_made else 'without'} a policy",
    )


def nuisances_of(asked: Asked) -> Any:
    """What predicts treatment and outcome: what the file says, or what is enough."""
    chosen = asked.estimators or ("linear" if asked.is_randomised else "smooth")
    return {"linear": LINEAR, "smooth": SMOOTH, "stacked": STACKED}[chosen]


def write(identifier: str, columns: Contract, rows: Any) -> None:
    """Replace a table of the lake by `rows`."""
    lake = open_lake()
    lake.ensure(identifier, columns, None)
    with lake.overwriting(identifier, None) as writer:
        writer.write(rows)


def abstention(asked: Asked, reason: str) -> Iterator[dg.MaterializeResult]:
    """Nothing can be asked yet, and why: the tests cannot judge, and there is no effect that they would guard."""
    name = asked.name
    nothing = checked(SOUND, True, expected="each unit once, known before", found="there are no units yet")
    yield dg.MaterializeResult(
        asset_key=panel_key(name), metadata={"abstained": reason}, check_results=of(panel_key(name), [nothing])
    )
    unexamined = [
        checked(
            check,
            True,
            expected="a panel to judge",
            found="none",
            severity="warning",
            description=f"cannot judge yet: {reason}",
        )
        for check in (*GATES, FURTHER)
    ]
    none = [
        checked(check, True, expected="no estimate that is wrong", found="there is no estimate")
        for check in (FINITE, WITHHELD)
    ]
    yield dg.MaterializeResult(
        asset_key=answer_key(name),
        metadata={"abstained": reason},
        check_results=of(answer_key(name), [*unexamined, *none]),
    )
    if has_policy(asked):
        write(table_of(policy_key(name)), policy_contract(name), policy_row(None, name))
        held = checked(NO_POLICY, True, expected="no policy of an effect that is not identified", found="no policy")
        yield dg.MaterializeResult(
            asset_key=policy_key(name), metadata={"abstained": reason}, check_results=of(policy_key(name), [held])
        )


def of(asset: dg.AssetKey, results: Sequence[dg.AssetCheckResult]) -> list[dg.AssetCheckResult]:
    """The results as those of one of the step's assets."""
    return [result._replace(asset_key=asset) for result in results]


def judge(answer: Answer, released: str) -> list[dg.AssetCheckResult]:
    """The checks of an answer, `released` being what a release would have of it as JSON.

    A gate that fails warns: the verdict says so. That no estimate goes with such a verdict blocks.
    """
    gates = {gate.name: gate for gate in answer.finding.gates}
    results = []
    for check, (name, about) in GATES.items():
        gate = gates.get(name)
        skipped = "not examined" if answer.refusals else "does not apply"
        results.append(
            checked(
                check,
                gate is None or gate.passed,
                expected=about,
                found=gate.detail if gate else skipped,
                severity="warning",
                description=gate.detail if gate else skipped,
            )
        )
    known = {gate for gate, _ in GATES.values()}
    further = [gate for gate in gates.values() if gate.name not in known]
    failed = [gate.detail for gate in further if not gate.passed]
    told = {name: json.loads(released)[name] for name in ("estimate", "ci_low", "ci_high")}
    leaks = [name for name, value in told.items() if value is not None and not answer.is_identified]
    effect = answer.finding.effect
    return [
        *results,
        checked(
            FURTHER,
            not failed,
            expected="all pass",
            found="; ".join(failed) or f"{len(further)} tests passed",
            severity="warning",
        ),
        checked(
            FINITE,
            effect is None or all(map(math.isfinite, effect)),
            expected="a finite interval",
            found=f"{tuple(effect)}" if effect else "there is no estimate",
        ),
        checked(
            WITHHELD,
            not leaks,
            expected="no estimate of an effect that is not identified",
            found=f"{answer.finding.verdict}, with {', '.join(leaks)}" if leaks else answer.finding.verdict,
            samples=leaks,
        ),
    ]
