import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from api.services.decisions import policy_features
from cartograph.releases import Manifest
from cartograph.releases.contents.causal import (
    POLICIES,
    Budget,
    BudgetLine,
    ChannelResponse,
    Effect,
    Estimated,
    PolicyFeature,
    PolicyNode,
    PolicyRule,
    TreatmentPolicy,
)
from cartograph.releases.contents.files import BUDGET_FILE, CUSTOMERS, MEMO_PAGE, POLICIES_FILE
from cartograph.releases.rows import row_schema, with_rows
from cartograph.settings import Settings
from tests.api.making import make_customers, make_effect, problem, publish, service


def test_each_question_comes_with_its_answer_or_the_verdict_that_there_is_none(
    client: httpx.Client, manifest: Manifest
) -> None:
    document = client.get("/v1/causal/effects").json()
    assert document["release_id"] == manifest.release_id
    assert document["as_of"] == "2026-01-01"
    answered, refused = document["effects"]
    assert answered == make_effect().model_dump(mode="json")
    assert (refused["verdict"], refused["estimate"]) == ("not identified", None)


def test_a_shop_without_campaigns_has_no_effects(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish(settings)
    with service(settings) as client:
        assert client.get("/v1/causal/effects").json()["effects"] == []


def test_a_question_comes_with_its_memo_and_the_memos_pictures(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    refused = make_effect(name="vip", verdict="not identified", estimate=None, ci_low=None, ci_high=None)
    memos = {MEMO_PAGE.format(name="spring"): b"# What it added", "causal/spring/effects.svg": b"<svg/>"}
    publish(settings, effects=(make_effect(name="spring"), refused), replaced={**memos})
    with service(settings) as client:
        found = client.get("/v1/causal/effects/spring").json()
        assert (found["effect"]["estimate"], found["memo"]) == (4.2, "# What it added")
        assert client.get("/v1/causal/effects/spring/effects.svg").content == b"<svg/>"
        assert client.get("/v1/causal/effects/vip").json()["memo"] is None
        document = problem(client.get("/v1/causal/effects/unasked"), 404, "no-question")
        assert "Its questions are: spring, vip" in document["detail"]
        problem(client.get("/v1/causal/effects/spring/qini.svg"), 404, "no-question")


def test_a_refused_effect_of_an_older_release_is_told_without_its_number() -> None:
    older = make_effect().model_dump(mode="json") | {"verdict": "not identified"}
    assert older["estimate"] is not None
    read = Effect.model_validate(older)
    assert (read.estimate, read.ci_low, read.ci_high) == (None, None, None)


ZERO = Estimated(value=0.0, low=0.0, high=0.0)


def gain(value: float) -> Estimated:
    return Estimated(value=value, low=value - 1, high=value + 1)


def make_budget() -> Budget:
    line = BudgetLine(
        channel="search", today=100.0, proposed=80.0, likely=(60.0, 100.0), least=50.0, most=150.0,
        margin_today=0.8, margin_proposed=1.0, is_capped=False,
    )  # fmt: skip
    response = ChannelResponse(
        channel="search", spend=73_000.0, extra_orders=gain(4000), share=gain(0.5), return_on_spend=gain(2.5),
        carry_over=gain(0.2), half_saturation=gain(90), most=9.0, exponent=1.4, highest_spend=200.0, is_shown=True,
    )  # fmt: skip
    return Budget(
        as_of=date(2026, 1, 1), currency="EUR", margin_of_order=20.0, channels=(response,), lines=(line,),
        total_most=100.0, profit_today=gain(10), profit=gain(12), gain=gain(2), is_shown=True,
    )  # fmt: skip


def make_policy(**changes: Any) -> TreatmentPolicy:
    """Treats those who were silent for more than 1 day, if their gap is above 20 or not known."""
    nodes = (
        PolicyNode(feature="recency_days", threshold=0.5, left=1, right=2, treats=True, gain=gain(1), share=1.0),
        PolicyNode(treats=False, gain=gain(-1), share=0.4),
        PolicyNode(feature="mean_gap_days", threshold=20.0, left=3, right=4, treats=True, gain=gain(2), share=0.6),
        PolicyNode(treats=False, gain=gain(0), share=0.1),
        PolicyNode(treats=True, gain=gain(3), share=0.5),
    )
    rule: dict[str, Any] = {
        "kind": "tree",
        "cost": 2.0,
        "value_of_outcome": 0.4,
        "features": (
            PolicyFeature(name="recency_days", missing=9.0),
            PolicyFeature(name="mean_gap_days", missing=30.0),
        ),
        "nodes": nodes,
        "learned_from": 900,
        "held_out": 900,
        "value": gain(1.5),
        "treat_all": gain(1),
        "over_all": gain(1.5),
        "qini": gain(2),
    }
    return TreatmentPolicy(
        name="email_spring",
        question="What did the e-mail add?",
        treatment="got the e-mail",
        population="email_opt_in is distinct from 0",
        unit="EUR per customer",
        as_of=date(2026, 1, 1),
        rule=PolicyRule(**{**rule, **changes}),
    )


@pytest.fixture(scope="module")
def deciding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = Settings(home=tmp_path_factory.mktemp("policies"))
    publish(settings, replaced={POLICIES_FILE: POLICIES.dump_json((make_policy(),))})
    with service(settings) as client:
        yield client


def decide(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/v1/causal/policies/email_spring/decision", json=body)


def test_policies_are_served_as_they_were_released(deciding: httpx.Client) -> None:
    (policy,) = deciding.get("/v1/causal/policies").json()["policies"]
    assert TreatmentPolicy.model_validate(policy) == make_policy()


def test_a_release_without_policies_has_none(client: httpx.Client) -> None:
    assert client.get("/v1/causal/policies").json()["policies"] == []
    found = problem(decide(client, features={}), 404, "no-policy")
    assert "it has none" in found["detail"]


@pytest.mark.parametrize(
    ("features", "treat", "because"),
    [
        ({"recency_days": 0, "mean_gap_days": 50}, False, ["recency_days <= 0.5"]),
        ({"recency_days": 3, "mean_gap_days": 20}, False, ["recency_days > 0.5", "mean_gap_days <= 20"]),
        ({"recency_days": 3, "mean_gap_days": 21}, True, ["recency_days > 0.5", "mean_gap_days > 20"]),
        ({"recency_days": None, "mean_gap_days": None}, True, ["recency_days > 0.5", "mean_gap_days > 20"]),
    ],
)
def test_the_tree_decides_at_its_own_cost(deciding: httpx.Client, features: Any, treat: bool, because: Any) -> None:
    found = decide(deciding, features=features).json()
    assert (found["treat"], found["because"], found["cost"]) == (treat, because, 2.0)
    assert found["reason"] == ("pays" if treat else "does_not_pay")


@pytest.mark.parametrize(("cost", "treat"), [(0.0, True), (3.9, True), (4.0, False), (6.0, False)])
def test_another_cost_is_held_against_the_whole_interval_of_what_treating_is_worth(
    deciding: httpx.Client, cost: float, treat: bool
) -> None:
    found = decide(deciding, features={"recency_days": 3, "mean_gap_days": 21}, cost=cost).json()
    assert found["worth"] == {"value": 5.0, "low": 4.0, "high": 6.0}
    assert (found["treat"], found["cost"]) == (treat, cost)
    assert found["reason"] == ("pays" if treat else "does_not_pay")


def test_a_customer_of_the_release_is_decided_by_the_released_features(deciding: httpx.Client) -> None:
    path = "/v1/causal/policies/email_spring/customers"
    assert deciding.get(f"{path}/C1").json()["because"] == ["recency_days <= 0.5"]
    found = deciding.get(f"{path}/C2").json()
    assert (found["treat"], found["question"], found["unit"]) == (True, "email_spring", "EUR per customer")
    assert deciding.get(f"{path}/C2?cost=9").json()["treat"] is False
    problem(deciding.get(f"{path}/nobody"), 404, "unknown-customer")
    for cost in ("-1", "1_0", "+9"):
        problem(deciding.get(f"{path}/C2?cost={cost}"), 422, "invalid-request")


@pytest.mark.parametrize("query", ["", "?cost=0"])
def test_who_is_outside_the_population_is_not_treated_whatever_it_costs(deciding: httpx.Client, query: str) -> None:
    """By its features C3 comes to the same leaf as C2, who is treated."""
    found = deciding.get(f"/v1/causal/policies/email_spring/customers/C3{query}").json()
    assert (found["treat"], found["reason"]) == (False, "outside_population")
    assert (found["worth"], found["because"]) == (None, [])
    assert found["cost"] == (0.0 if query else 2.0)
    assert "policies" not in deciding.get("/v1/customers/C3").json()["features"]


def test_a_population_that_a_release_does_not_tell_is_not_guessed(tmp_path: Path) -> None:
    """A release of before populations were told is served, but for whether to treat a customer of it."""
    older = make_policy().model_dump(mode="json", exclude={"population"})
    settings = Settings(home=tmp_path)
    customers = make_customers(["C1", "C2", "C3"]).drop_columns("policies")
    publish(settings, replaced={POLICIES_FILE: json.dumps([older]).encode(), CUSTOMERS: older_file(customers)})
    with service(settings) as client:
        (policy,) = client.get("/v1/causal/policies").json()["policies"]
        assert policy["population"] is None
        found = problem(client.get("/v1/causal/policies/email_spring/customers/C2"), 404, "no-decision")
        assert "cartograph run" in found["detail"]
        assert client.get("/v1/customers/C2").json()["features"]["recency_days"] == 1
        assert decide(client, features={"recency_days": 3, "mean_gap_days": 21}).json()["treat"] is True


def older_file(customers: pa.Table) -> bytes:
    """`customers.arrow` of before some of its columns were."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, row_schema(customers.schema)) as writer:
        for batch in with_rows(customers):
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def test_a_feature_that_is_not_given_is_named(deciding: httpx.Client) -> None:
    found = problem(decide(deciding, features={"recency_days": 3}), 422, "invalid-request")
    assert found["errors"] == [{"detail": "it is missing", "pointer": "/features/mean_gap_days"}]
    problem(decide(deciding, features={"recency_days": "x", "mean_gap_days": 1}), 422, "invalid-request")


def test_a_feature_that_the_policy_does_not_ask_for_is_refused(deciding: httpx.Client) -> None:
    found = problem(decide(deciding, features={"bogus/one": 1, "recency_days": 3}), 422, "invalid-request")
    assert found["errors"] == [
        {"detail": "it is missing", "pointer": "/features/mean_gap_days"},
        {
            "detail": "the policy has no such feature; it takes recency_days, mean_gap_days",
            "pointer": "/features/bogus~1one",
        },
    ]


def test_a_policy_that_treats_all_takes_no_feature(tmp_path: Path) -> None:
    everybody = make_policy(kind="treat all", features=(), nodes=(PolicyNode(treats=True, gain=ZERO, share=1.0),))
    settings = Settings(home=tmp_path)
    publish(settings, replaced={POLICIES_FILE: POLICIES.dump_json((everybody,))})
    with service(settings) as client:
        assert decide(client, features={}).json()["treat"] is True
        (told,) = problem(decide(client, features={"bogus": 1}), 422, "invalid-request")["errors"]
    assert told == {"detail": "the policy has no such feature; it takes none", "pointer": "/features/bogus"}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"cost": "1"}, {"/cost"}),
        ({"cost": True}, {"/cost"}),
        (
            {"features": {"recency_days": "3", "mean_gap_days": 1}},
            {"/features/recency_days/float", "/features/recency_days/bool"},
        ),
    ],
)
def test_a_number_is_not_taken_from_a_text(deciding: httpx.Client, change: dict[str, Any], where: set[str]) -> None:
    sound: dict[str, Any] = {"features": {"recency_days": 3, "mean_gap_days": 1}}
    found = problem(decide(deciding, **{**sound, **change}), 422, "invalid-request")
    assert {part["pointer"] for part in found["errors"]} == where


def test_what_the_release_does_not_hold_of_a_customer_has_to_be_given(tmp_path: Path) -> None:
    nodes = (
        PolicyNode(feature="mood", threshold=0.5, left=1, right=2, treats=True, gain=ZERO, share=1.0),
        PolicyNode(treats=False, gain=ZERO, share=0.5),
        PolicyNode(treats=True, gain=ZERO, share=0.5),
    )
    policy = make_policy(features=(PolicyFeature(name="mood", missing=0.0),), nodes=nodes)
    settings = Settings(home=tmp_path)
    publish(settings, replaced={POLICIES_FILE: POLICIES.dump_json((policy,))})
    with service(settings) as client:
        found = problem(client.get("/v1/causal/policies/email_spring/customers/C1"), 404, "no-decision")
    assert "mood" in found["detail"]


def test_a_coded_word_is_asked_of_the_column_that_it_came_from() -> None:
    policy = make_policy()
    coded = policy.model_copy(
        update={
            "rule": policy.rule.model_copy(
                update={
                    "features": (PolicyFeature(name="tier=gold", missing=0.0), PolicyFeature(name="old", missing=0.0))
                }
            )
        }
    )
    assert policy_features(coded, {"tier": "gold", "old": True}) == {"tier=gold": 1.0, "old": 1.0}
    assert policy_features(coded, {"tier": None, "old": None}) == {"tier=gold": 0.0, "old": None}


def test_the_budget_is_served_as_it_was_released(tmp_path: Path, client: httpx.Client) -> None:
    assert client.get("/v1/causal/budget").json()["budget"] is None
    budget = make_budget()
    settings = Settings(home=tmp_path)
    publish(settings, replaced={BUDGET_FILE: budget.model_dump_json().encode()})
    with service(settings) as serving:
        assert Budget.model_validate(serving.get("/v1/causal/budget").json()["budget"]) == budget


def test_a_damaged_policy_keeps_the_release_from_being_served(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish(settings, replaced={POLICIES_FILE: b'[{"name": "x"}]'})
    with service(settings) as client:
        assert client.get("/v1/causal/policies").status_code == 503
