import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartograph.releases import Manifest
from cartograph.releases.contents.files import FRAUD_CARD, FRAUD_MODEL
from cartograph.releases.contents.models import Review
from cartograph.settings import Settings
from tests.api.making import classifier, make_fraud_card, problem, publish, service

PATH = "/v1/predict/order_fraud"
GOOD: dict[str, Any] = {"total_amount": 200, "mean_gap_days": 12.5, "is_opted_in": True}


def test_a_decision_says_what_made_it(client: httpx.Client, manifest: Manifest) -> None:
    answer = client.post(PATH, json={"features": GOOD})
    assert answer.status_code == 200
    document = answer.json()
    assert 0.5 < document.pop("probability") <= 1
    assert document == {
        "decision": "review", "model_version": "2", "release_id": manifest.release_id, "as_of": "2026-01-01"
    }  # fmt: skip


@settings(max_examples=50)
@given(st.integers(0, 400), st.none() | st.floats(0, 4000), st.booleans())
def test_an_order_is_reviewed_where_more_is_lost_than_a_review_costs(
    client: httpx.Client, amount: int, gap: float | None, opt: bool
) -> None:
    answer = client.post(PATH, json={"features": {"is_opted_in": opt, "mean_gap_days": gap, "total_amount": amount}})
    row = np.array([[amount, np.nan if gap is None else gap, opt]], dtype=np.float32)
    document = answer.json()
    assert document["probability"] == pytest.approx(classifier().predict_proba(row)[0, 1], abs=1e-5)
    assert document["decision"] == ("review" if document["probability"] * amount > 5 else "accept")


def test_the_same_is_said_of_features_beside_the_other_models(client: httpx.Client) -> None:
    features = {**GOOD, "total_amount": 200}
    assert client.post("/v1/predict/order_fraud", json={"features": features}).json() == (
        client.post(PATH, json={"features": features}).json()
    )


def test_a_small_order_is_accepted_whatever_its_risk(client: httpx.Client) -> None:
    document = client.post(PATH, json={"features": {**GOOD, "total_amount": 4, "mean_gap_days": 1}}).json()
    assert document["decision"] == "accept"


@pytest.mark.parametrize(
    ("change", "pointer", "message"),
    [
        ({"total_amount": -1}, "total_amount", "greater than or equal to 0; total_amount takes a whole number from 0"),
        ({"total_amount": None}, "total_amount", "valid integer"),
        ({"mean_gap_days": 4000.5}, "mean_gap_days", "a number from 0 up to 4000 or null"),
        ({"recency_days": 3}, "recency_days", "no such feature; it takes total_amount, mean_gap_days, is_opted_in"),
    ],
)
def test_a_wrong_feature_is_refused_with_what_it_takes(
    client: httpx.Client, change: dict[str, Any], pointer: str, message: str
) -> None:
    document = problem(client.post(PATH, json={"features": {**GOOD, **change}}), 422, "invalid-request")
    assert message in document["errors"][0]["detail"]
    assert document["errors"][0]["pointer"] == f"/features/{pointer}"


def test_a_body_that_is_no_request_is_refused(client: httpx.Client) -> None:
    problem(client.post(PATH, json={"features": []}), 422, "invalid-request")
    problem(client.post(PATH, json={"features": GOOD, "amount": 3}), 422, "invalid-request")


def test_a_shop_without_a_fraud_model_is_served_without_one(tmp_path: Path) -> None:
    young = Settings(home=tmp_path)
    publish(young, replaced={FRAUD_MODEL: None, FRAUD_CARD: None})
    with service(young) as client:
        detail = problem(client.post(PATH, json={"features": GOOD}), 404, "no-model")["detail"]
        assert "has no fraud model" in detail
        assert "order_fraud" not in [model["name"] for model in client.get("/v1/release").json()["models"]]


def test_the_release_lists_what_the_model_takes_and_when_it_asks_for_a_review(client: httpx.Client) -> None:
    cards = {card["name"]: card for card in client.get("/v1/release").json()["models"]}
    assert [feature["name"] for feature in cards["order_fraud"]["features"]] == list(GOOD)
    assert cards["order_fraud"]["review"] == {"amount": "total_amount", "cost": 5.0}
    assert cards["churn_classifier"]["review"] is None


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({FRAUD_MODEL: None}, f"has no {FRAUD_MODEL}"),
        ({FRAUD_CARD: make_fraud_card(review=None).model_dump_json().encode()}, f"{FRAUD_CARD} has no review"),
        ({FRAUD_CARD: json.dumps({"name": "order_fraud"}).encode()}, f"{FRAUD_CARD} cannot be used"),
        ({FRAUD_MODEL: b"no model"}, f"{FRAUD_MODEL} cannot be loaded"),
    ],
)
def test_a_release_whose_model_cannot_be_used_is_not_served(
    tmp_path: Path, replaced: dict[str, bytes | None], said: str
) -> None:
    broken = Settings(home=tmp_path)
    publish(broken, replaced=replaced)
    with service(broken) as client:
        assert said in problem(client.post(PATH, json={"features": GOOD}), 503, "no-release")["detail"]


def test_a_review_of_an_amount_that_the_model_does_not_take_is_no_card() -> None:
    with pytest.raises(ValueError, match="review needs the feature basket_amount"):
        make_fraud_card(review=Review(amount="basket_amount", cost=1))
