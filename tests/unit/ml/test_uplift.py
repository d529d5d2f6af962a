"""The scores of an uplift ranking, and what the checks make of them; the choice between actions."""

from __future__ import annotations

from datetime import UTC, date, datetime

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from ml_assets.core.causal.panel import Campaign
from ml_assets.core.causal.study import Design
from ml_assets.core.causal.uplift import Action, HeldOut
from ml_assets.core.evaluation.classification import Interval
from ml_assets.core.evaluation.uplift import mean, policy, qini
from ml_assets.core.models.bg_nbd import Parameters as Rates
from ml_assets.core.models.campaign_uplift import (
    ACTING,
    NOTHING,
    REASONS,
    Examined,
    Trained,
    UpliftModel,
    choose,
    designs_of,
    text_of,
)
from ml_assets.core.models.gamma_gamma import Parameters as Spend
from ml_assets.defs.training.campaign_uplift import CampaignDesigns, judge

SENT = datetime(2025, 3, 1, 9, tzinfo=UTC)


def gains(rows: int = 4000, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """True effects of 0 to 4, and scores that are right on average and ten times as noisy."""
    draw = np.random.default_rng(seed)
    effect = draw.uniform(0, 4, rows)
    return effect, effect + draw.normal(0, 10, rows)


def make_action(
    name: str = "email_spring", *, is_ranked: bool = True, cost: float = 0.1, constant: float = 0.2
) -> Action:
    """An action that adds `constant` orders of 40 to an average customer, and more to those who are still there."""
    return Action(
        name=name,
        as_of=date(2025, 3, 1),
        cost=cost,
        average=Interval(2.0, 1.0, 3.0),
        is_ranked=is_ranked,
        rates=Rates(1.0, 0.6, 1.0, 8.0),
        spend=Spend(7.0, 6.0, 72.0),
        margin_rate=0.4,
        lowest=(0.0, 0.0, 0.0),
        highest=(1.0, 6.0, 4.0),
        centre=(0.5, 3.0, 1.0),
        spread=(0.3, 1.0, 1.0),
        coefficients=(constant, 0.05, -0.03, 0.0),
        covariance=tuple(tuple(1e-4 * (row == column) for column in range(4)) for row in range(4)),
    )


def make_rows(**columns: list[float | None]) -> pa.Table:
    """Two customers who ordered lately and one who never did; the third wants no e-mail."""
    defaults: dict[str, list[float | None]] = {
        "order_days_count": [5, 2, 0],
        "tenure_days": [300, 400, None],
        "recency_days": [10, 390, None],
        "orders_count": [5, 2, 0],
        "spend_amount": [500.0, 90.0, 0.0],
        "email_opt_in": [1, 1, 0],
    }
    return pa.table(defaults | columns)


def held(qini_of: Interval, *, over_all: float = 0.1, predicted: float = 2.0) -> HeldOut:
    """The evidence for an action whose average effect is 2.0 ± 1.96."""
    treated = policy(np.array([2.0, 2.2] * 50), np.ones(100, bool), 0.1)
    return HeldOut(
        customers=100,
        qini=qini_of,
        by_propensity=Interval(0.1, -0.2, 0.4),
        predicted=predicted,
        average=Interval(2.0, 0.04, 3.96),
        policy=treated._replace(over_all=Interval(over_all, over_all - 0.05, over_all + 0.05)),
    )


def judged(evidence: HeldOut | None) -> dict[str, dg.AssetCheckResult]:
    campaign = Campaign("email_spring", 50, SENT, SENT)
    refusal = None if evidence else "its effect is not identified: overlap"
    model = UpliftModel(as_of=date(2025, 6, 1), actions=(make_action(),) if evidence else ())
    found = Trained(model, (Examined(campaign, (), evidence, refusal),))
    return {check.check_name: check for check in judge(found)}


def test_a_true_ranking_has_an_area_above_chance_its_reverse_one_below_and_a_constant_none():
    effect, scores = gains()
    true, reverse = qini(scores, effect), qini(scores, -effect)
    assert true.low > 0 > reverse.high
    assert true.value == pytest.approx(-reverse.value)
    assert qini(scores, np.ones(len(scores))) == Interval(0.0, 0.0, 0.0)


def test_the_interval_of_an_area_holds_the_true_one():
    """Of effects uniform from 0 to 4, ranked truly, it is 4 / 12."""
    found = [qini(scores, effect) for effect, scores in (gains(500, seed) for seed in range(60))]
    assert 0.88 <= np.mean([one.low < 4 / 12 < one.high for one in found]) <= 1


def test_chance_is_seldom_taken_for_a_ranking():
    found = []
    for seed in range(60):
        draw = np.random.default_rng(seed)
        found.append(qini(draw.normal(2, 10, 500), draw.random(500)).low > 0)
    assert np.mean(found) <= 0.1


def test_a_policy_is_worth_what_it_adds_less_its_cost():
    scores, treats = np.array([4.0, -1.0, 3.0, -2.0]), np.array([True, False, True, False])
    found = policy(scores, treats, 1.0)
    assert (found.share, found.value.value, found.all.value) == (0.5, 5 / 4, 0.0)
    assert found.over_all.value == 5 / 4
    assert mean(scores).low < 1.0 < mean(scores).high


def test_a_policy_that_leaves_out_those_who_gain_is_worse():
    effect, scores = gains()
    assert policy(scores, effect < 2, 0.1).is_worse
    assert not policy(scores, effect > 0.1, 0.1).is_worse


def test_the_best_action_is_the_one_that_adds_most_and_nobody_gets_one_that_costs_more():
    rows = make_rows()
    model = UpliftModel(as_of=date(2025, 6, 1), actions=(make_action(), make_action("email_more", constant=0.3)))
    found = choose(model, rows)
    assert found.actions == ["email_more", "email_more", NOTHING]
    assert found.reasons == ["adds_most", "adds_most", "refused_email"]
    assert (found.effects.low < found.effects.margin).all()
    dear = UpliftModel(as_of=date(2025, 6, 1), actions=(make_action(cost=6.0),))
    costly = choose(dear, rows)
    assert costly.actions == ["email_spring", NOTHING, NOTHING]
    assert costly.reasons == ["adds_most", "costs_more", "refused_email"]
    assert costly.effects.margin[1] < 0 < costly.effects.margin[0]


@pytest.mark.parametrize("ranked", [True, False])
def test_nobody_is_written_to_whose_consent_is_not_known(ranked):
    rows = make_rows(email_opt_in=[None, None, 0])
    model = UpliftModel(as_of=date(2025, 6, 1), actions=(make_action(is_ranked=ranked),))
    for asked in (model, UpliftModel(as_of=date(2025, 6, 1), actions=())):
        found = choose(asked, rows)
        assert found.actions == [NOTHING] * 3
        assert found.reasons == ["unknown_consent", "unknown_consent", "refused_email"]


def test_who_is_written_to_has_a_reason_for_it_and_nobody_else_has():
    model = UpliftModel(as_of=date(2025, 6, 1), actions=(make_action(cost=6.0),))
    found = choose(model, make_rows(order_days_count=[5, 5, 5], email_opt_in=[1, None, 0]))
    assert set(REASONS) >= set(found.reasons)
    assert [action != NOTHING for action in found.actions] == [reason in ACTING for reason in found.reasons]


def test_an_average_is_offered_only_where_no_ranking_is():
    average, ranked = make_action("email_average", is_ranked=False), make_action(constant=0.01)
    alone = choose(UpliftModel(as_of=date(2025, 6, 1), actions=(average,)), make_rows())
    assert alone.reasons == ["average_pays", "average_pays", "refused_email"]
    assert [column.tolist() for column in alone.effects] == [[1.9] * 3, [0.9] * 3, [2.9] * 3]
    both = UpliftModel(as_of=date(2025, 6, 1), actions=(average, ranked))
    assert {*choose(both, make_rows()).actions} <= {"email_spring", NOTHING}


def test_without_an_action_everybody_is_told_why():
    found = choose(UpliftModel(as_of=date(2025, 6, 1), actions=()), make_rows())
    assert found.actions == [NOTHING] * 3
    assert found.reasons == ["no_action", "no_action", "refused_email"]
    assert np.isnan(found.effects.margin).all()


def test_beyond_what_was_seen_an_effect_goes_on_as_at_the_end():
    action = make_action()
    far = make_rows(recency_days=[10, 100_000, None], tenure_days=[300, 100_010, None])
    farther = make_rows(recency_days=[10, 900_000, None], tenure_days=[300, 900_010, None])
    assert action.effects(far).margin.tolist() == pytest.approx(action.effects(farther).margin.tolist(), abs=1e-3)


def test_a_model_reads_as_it_was_written():
    model = UpliftModel(as_of=date(2025, 6, 1), actions=(make_action(), make_action("b", is_ranked=False)))
    assert UpliftModel.model_validate_json(model.to_bytes()) == model


def test_designs_survive_the_registry():
    designs = CampaignDesigns(randomised=["a"], unrecorded={"b": ["a hunch"]}).designs()
    assert designs == {"a": Design(is_randomised=True), "b": Design(unrecorded=("a hunch",))}
    assert designs_of(text_of(designs)) == designs


def test_a_proven_ranking_passes():
    assert all(check.passed for check in judged(held(Interval(1.0, 0.4, 1.6))).values())


@pytest.mark.parametrize(
    ("check", "evidence"),
    [
        ("beats_random_targeting", held(Interval(0.4, -0.2, 1.0))),
        ("beats_random_targeting", held(Interval(-1.0, -1.6, -0.4))),
        ("beats_all_or_none", held(Interval(1.0, 0.4, 1.6), over_all=-1.0)),
    ],
)
def test_a_ranking_that_is_no_better_than_chance_or_leaves_out_the_wrong_is_not_used_and_warns(check, evidence):
    assert not evidence.is_ranked
    found = judged(evidence)
    assert [name for name, result in found.items() if not result.passed] == [check]
    assert found[check].severity == dg.AssetCheckSeverity.WARN


def test_a_ranking_that_is_used_has_to_add_up():
    evidence = held(Interval(1.0, 0.4, 1.6), predicted=9.0)
    assert evidence.is_ranked
    found = judged(evidence)["effects_add_up"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert judged(held(Interval(0.4, -0.2, 1.0), predicted=9.0))["effects_add_up"].passed, "all have the average"


def test_where_no_effect_is_identified_that_is_told():
    found = judged(None)
    assert [name for name, check in found.items() if not check.passed] == ["an_action_is_identified"]
    assert found["an_action_is_identified"].severity == dg.AssetCheckSeverity.WARN
