"""Explanations over HTTP: of given features, of many rows, and of the scores of a released customer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import exp
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from api.schemas.predictions import BatchPrediction, ChurnPrediction, CustomerExplanation
from cartograph.keys import KeyStore, Scope
from cartograph.releases.contents.files import OWN_PREDICTIONS, UPLIFT_CARD, explanation_file, own_model_files
from cartograph.releases.contents.models import Explainer
from cartograph.releases.contents.tables import mark_personal
from cartograph.settings import Settings
from ml_assets.core.causal.uplift import Action
from ml_assets.core.features.customers import column_values
from ml_assets.core.models import segments
from ml_assets.core.models.campaign_uplift import UpliftModel, choose
from ml_assets.core.models.export import predict
from tests.api.making import AS_OF, make_card, make_customers, onnx_model, problem, publish, service
from tests.api.test_orders import TAKEN, judged, judging_files
from tests.api.test_own_models import PREDICTED, written
from tests.api.valuing import (
    NAMES,
    clv_files,
    explained,
    make_segments,
    propensity_files,
    segment_files,
    uplift_files,
)
from tests.unit.ml.test_uplift import make_action, make_rows

GOOD: dict[str, Any] = {"recency_days": 200, "mean_gap_days": 12.5, "is_opted_in": True}
ASKED = {"explain": "true"}


def customers() -> pa.Table:
    """Three customers with the churn scores that the model gives them, of whom the last one has none."""
    table = make_customers(["C1", "C2", "C3"])
    features = {"recency_days": [1, 5, 7], "order_days_count": [3, 1, 2], "tenure_days": [90, 5, 9]}
    for name, values in (features | {"spend_amount": [80.0, 12.5, 9.0]}).items():
        table = with_column(table, name, pa.array(values))
    scores = predict(onnx_model(), column_values(table, NAMES)).tolist()
    return with_column(table, "churn_probability", pa.array([*scores[:2], None], pa.float64()))


def with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    kept = table.drop_columns([name]) if name in table.column_names else table
    return kept.append_column(name, values)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    model, card = own_model_files("refund_soon")
    own = {
        model: onnx_model(),
        card: make_card(name="refund_soon", version="4").model_dump_json().encode(),
        OWN_PREDICTIONS: written(PREDICTED),
        explanation_file("refund_soon"): Explainer(features=tuple(NAMES), reference=(20.0, None, 1.0))
        .model_dump_json()
        .encode(),
    }
    files = explained("churn_classifier") | clv_files() | propensity_files() | own
    publish(settings, customers=customers(), replaced=files)
    with service(settings) as client:
        yield client


def probability(log_odds: float) -> float:
    return 1 / (1 + exp(-log_odds))


@pytest.mark.parametrize("change", [{}, {"mean_gap_days": None}, {"recency_days": 0}, {"is_opted_in": False}])
def test_base_and_contributions_add_up_to_the_log_odds(client: httpx.Client, change: dict[str, Any]) -> None:
    answer = client.post("/v1/predict/churn", params=ASKED, json={"features": GOOD | change}).raise_for_status().json()
    ChurnPrediction.model_validate(answer)
    told = answer["explanation"]
    assert (told["method"], told["unit"]) == ("trees", "log_odds")
    sizes = [abs(part["contribution"]) for part in told["contributions"]]
    assert sizes == sorted(sizes, reverse=True)
    assert {part["feature"]: part["value"] for part in told["contributions"]} == GOOD | change
    total = told["base_value"] + sum(part["contribution"] for part in told["contributions"])
    assert told["prediction"] == pytest.approx(total)
    assert probability(total) == pytest.approx(answer["probability"], abs=1e-5)


def test_what_drives_the_label_drives_the_prediction(client: httpx.Client) -> None:
    answer = client.post("/v1/predict/churn", params=ASKED, json={"features": GOOD}).json()
    parts = {part["feature"]: part["contribution"] for part in answer["explanation"]["contributions"]}
    assert parts["recency_days"] > 0  # long overdue
    assert abs(parts["is_opted_in"]) < 0.1 * parts["recency_days"]  # told nothing in training


def test_an_explanation_is_left_out_unless_asked_for(client: httpx.Client) -> None:
    for params in ({}, {"explain": "false"}):
        assert "explanation" not in client.post("/v1/predict/churn", params=params, json={"features": GOOD}).json()
    wrong = client.post("/v1/predict/churn", params={"explain": "perhaps"}, json={"features": GOOD})
    assert problem(wrong, 422, "invalid-request")["errors"][0]["parameter"] == "explain"


def test_a_batch_is_explained_as_its_rows_are(client: httpx.Client) -> None:
    rows = [GOOD, GOOD | {"recency_days": 3, "mean_gap_days": None}]
    columns = {name: [row[name] for row in rows] for name in GOOD}
    answer = client.post("/v1/predict/churn/batch", params=ASKED, json={"features": columns}).raise_for_status().json()
    BatchPrediction.model_validate(answer)
    for at, row in enumerate(rows):
        single = client.post("/v1/predict/churn", params=ASKED, json={"features": row}).json()
        assert answer["probabilities"][at] == pytest.approx(single["probability"], abs=1e-9)
        assert answer["explanation"]["predictions"][at] == pytest.approx(single["explanation"]["prediction"])
        for part in single["explanation"]["contributions"]:
            found = answer["explanation"]["contributions"][part["feature"]][at]
            assert found == pytest.approx(part["contribution"], abs=1e-9)


def test_few_rows_are_explained_at_a_time(client: httpx.Client) -> None:
    columns = {name: [value] * 101 for name, value in GOOD.items()}
    assert client.post("/v1/predict/churn/batch", json={"features": columns}).status_code == 200
    refused = client.post("/v1/predict/churn/batch", params=ASKED, json={"features": columns})
    assert "send them in parts" in problem(refused, 422, "invalid-request")["errors"][0]["detail"]


@pytest.mark.parametrize("customer", ["C1", "C2"])
def test_a_customers_score_is_explained(client: httpx.Client, customer: str) -> None:
    answer = client.get(f"/v1/customers/{customer}/explanations/churn").raise_for_status().json()
    CustomerExplanation.model_validate(answer)
    assert answer["score"] == client.get(f"/v1/customers/{customer}").json()["churn"]["probability"]
    assert probability(answer["explanation"]["prediction"]) == pytest.approx(answer["score"], abs=1e-5)
    assert answer["model_version"] == "3"


def test_a_customers_lifetime_value_and_own_prediction_are_explained(client: httpx.Client) -> None:
    value = client.get("/v1/customers/C1/explanations/lifetime_value").raise_for_status().json()
    assert (value["explanation"]["unit"], value["score"]) == ("EUR", -1.5)
    assert len(value["explanation"]["contributions"]) == 4
    own = client.get("/v1/customers/C1/explanations/refund_soon").raise_for_status().json()
    assert (own["explanation"]["method"], own["score"]) == ("turns", 0.25)


ACTIONS = (make_action("email_spring"), make_action("email_vip", constant=0.1, cost=1.0))
BUYERS = make_rows(recency_days=[10, 390, None], email_opt_in=[1, None, 0])


@pytest.mark.parametrize("actions", [ACTIONS, (make_action(is_ranked=False),)], ids=["ranked", "an average"])
def test_a_next_best_action_is_explained_by_the_margin_it_adds(tmp_path: Path, actions: tuple[Action, ...]) -> None:
    """Also of who never ordered, of whom most is unknown."""
    advice = choose(UpliftModel(as_of=AS_OF, actions=actions), BUYERS)
    table = make_customers(["C1", "C2", "C3"])
    added = advice.effects.margin
    advised = {"next_action": advice.actions, "next_action_reason": advice.reasons, "added_margin_amount": added}
    given = {name: BUYERS[name] for name in BUYERS.column_names}
    for name, values in (given | advised | {"uplift_model_version": ["8"] * 3}).items():
        table = with_column(table, name, values if isinstance(values, pa.ChunkedArray) else pa.array(values))
    settings = Settings(home=tmp_path)
    publish(settings, customers=table, replaced=uplift_files(*actions))
    with service(settings) as client:
        for number, margin in enumerate(added.tolist(), 1):
            answer = client.get(f"/v1/customers/C{number}/explanations/next_best_action").raise_for_status().json()
            found = CustomerExplanation.model_validate(answer).explanation
            assert (answer["model_version"], answer["score"], found.unit, found.method) == ("8", margin, "EUR", "turns")
            assert found.prediction == pytest.approx(margin, abs=1e-9)
            moved = {one.feature: one.contribution for one in found.contributions}
            assert moved["email_opt_in"] == 0, "who may be written to adds no more than others would"
            assert any(moved.values()) == actions[0].is_ranked


@pytest.mark.parametrize(
    ("features", "number"),
    [((8, 0.9, 2.0, 1.0), 4), ((3, None, 40.0, 2.0), 5), ((1, None, None, None), 6)],
    ids=["coupons", "browsing", "hardly known"],
)
def test_a_segment_is_explained_by_how_much_nearer_it_is_than_the_next(
    tmp_path: Path, features: tuple[float | None, ...], number: int
) -> None:
    names = segments.inputs_of(make_segments().behaviours)
    row = pa.table({name: pa.array([value], pa.float64()) for name, value in zip(names, features, strict=True)})
    table = make_customers(["C1"])
    for name, values in {**{name: row[name] for name in names}, "segment_number": pa.array([number])}.items():
        table = with_column(table, name, values)
    table = with_column(table, "segments_model_version", pa.array(["9"]))
    settings = Settings(home=tmp_path)
    publish(settings, customers=table, replaced=segment_files())
    with service(settings) as client:
        answer = client.get("/v1/customers/C1/explanations/behaviour").raise_for_status().json()
    found = CustomerExplanation.model_validate(answer).explanation
    scaled = make_segments().scaled(row)[0]
    away = {one.number: sum((scaled - one.centre) ** 2) for one in make_segments().segments}
    gap = min(value for name, value in away.items() if name != number) - away[number]
    assert (answer["model_version"], found.unit) == ("9", "squared_deviations")
    assert answer["score"] == found.prediction == pytest.approx(gap)
    assert found.base_value + sum(one.contribution for one in found.contributions) == pytest.approx(gap)


def test_a_segment_that_the_model_does_not_have_is_explained_by_nothing() -> None:
    with pytest.raises(ValueError, match="has the segments 4, 5, 6, and 7 was asked of"):
        make_segments().nearer(pa.table({"orders_count": [1]}), 7)


def test_a_model_of_actions_that_lacks_a_feature_is_not_served(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    other = {UPLIFT_CARD: make_card(name="campaign_uplift").model_dump_json().encode()}
    publish(settings, replaced=uplift_files(*ACTIONS) | other)
    with service(settings) as client:
        told = problem(client.get("/v1/release"), 503, "no-release")["detail"]
    assert "campaign_uplift.json does not list order_days_count, orders_count, spend_amount" in told


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("C3/explanations/churn", "no-prediction"),
        ("C2/explanations/refund_soon", "no-prediction"),
        *((f"C1/explanations/{name}", "no-prediction") for name in ("nothing", "behaviour", "next_best_action")),
        ("C9/explanations/churn", "unknown-customer"),
        ("C1/explanations/propensity", "no-explanation"),
    ],
)
def test_what_cannot_be_explained_is_a_problem(client: httpx.Client, path: str, kind: str) -> None:
    problem(client.get(f"/v1/customers/{path}"), 404, kind)


def test_a_judgement_is_explained_by_the_features_that_it_holds(tmp_path: Path) -> None:
    """It holds more than the model takes, and its probability is that of the explanation."""
    settings = Settings(home=tmp_path)
    explainer = Explainer(features=TAKEN, reference=(20.0, None, 1.0)).model_dump_json().encode()
    publish(settings, replaced=judging_files() | {explanation_file("order_fraud"): explainer})
    with service(settings) as client:
        judgement = judged(client, "1")
        (card,) = (one for one in client.get("/v1/release").json()["models"] if one["name"] == "order_fraud")
        features = {one["name"]: judgement["features"][one["name"]] for one in card["features"]}
        assert features.keys() < judgement["features"].keys()
        answer = client.post("/v1/predict/order_fraud", params=ASKED, json={"features": features})
        document = answer.raise_for_status().json()
    assert document["probability"] == judgement["probability"]
    found = document["explanation"]
    assert {one["feature"]: one["value"] for one in found["contributions"]} == features
    assert 1 / (1 + exp(-found["prediction"])) == pytest.approx(judgement["probability"], abs=1e-5)


def test_a_release_made_before_predicts_and_does_not_explain(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish(settings)
    with service(settings) as client:
        assert client.post("/v1/predict/churn", json={"features": GOOD}).status_code == 200
        detail = problem(client.post("/v1/predict/churn", params=ASKED, json={"features": GOOD}), 404, "no-explanation")
        assert "`cartograph run` makes a new one" in detail["detail"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "cannot be used"),
        (Explainer(features=("x",), reference=(1.0,)).model_dump_json().encode(), "is about x"),
    ],
)
def test_an_explainer_that_does_not_fit_its_model_is_not_served(tmp_path: Path, content: bytes, message: str) -> None:
    settings = Settings(home=tmp_path)
    publish(settings, replaced={explanation_file("churn_classifier"): content})
    with service(settings) as client:
        assert message in problem(client.get("/v1/release"), 503, "no-release")["detail"]


@pytest.mark.parametrize(("scopes", "masked"), [(("read",), ["recency_days"]), (("read", "pii"), [])])
def test_a_value_that_is_personal_needs_its_own_scope(
    tmp_path: Path, scopes: tuple[Scope, ...], masked: list[str]
) -> None:
    """What it contributes is shown to both: without it the parts would not add up to the score that both may see."""
    settings = Settings(home=tmp_path, env="production")
    personal = mark_personal(customers(), {"recency_days": "birth_date"})
    publish(settings, customers=personal, replaced=explained("churn_classifier"))
    _, sent = KeyStore(settings.keys_path).create("one", scopes, now=datetime.now(UTC), days=1)
    with service(settings) as client:
        answer = (
            client.get("/v1/customers/C2/explanations/churn", headers={"X-API-Key": sent}).raise_for_status().json()
        )
    CustomerExplanation.model_validate(answer)
    parts = {part["feature"]: part for part in answer["explanation"]["contributions"]}
    assert answer["masked"] == masked
    assert parts["recency_days"]["value"] == (None if masked else 5)
    assert parts["is_opted_in"]["value"] == 0
    assert parts["recency_days"]["contribution"] != 0
    total = answer["explanation"]["base_value"] + sum(part["contribution"] for part in parts.values())
    assert probability(total) == pytest.approx(answer["score"], abs=1e-5)


def test_a_release_with_what_is_in_no_manifest_is_not_served(tmp_path: Path) -> None:
    """Whoever can put a file there has signed nothing."""
    settings = Settings(home=tmp_path)
    manifest = publish(settings)
    ((foreign, content),) = explained("churn_classifier").items()
    place = settings.shop_home / "releases" / manifest.release_id / foreign
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(content or b"")
    with service(settings) as client:
        answer = client.post("/v1/predict/churn", params=ASKED, json={"features": GOOD})
        assert f"{foreign} is not in its manifest" in problem(answer, 503, "no-release")["detail"]
