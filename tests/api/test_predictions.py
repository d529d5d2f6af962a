import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartograph.releases import Manifest
from cartograph.releases.contents.files import CHURN_CARD, CHURN_MODEL, FRAUD_CARD, FRAUD_MODEL
from cartograph.settings import Settings
from tests.api.making import NO_RECOMMENDER, classifier, make_customers, problem, publish, service

PATH = "/v1/predict/churn"
GOOD: dict[str, Any] = {"recency_days": 200, "mean_gap_days": 12.5, "is_opted_in": True}


def post(client: httpx.Client, body: str | bytes) -> httpx.Response:
    return client.post(PATH, content=body, headers={"content-type": "application/json"})


def test_a_shop_too_young_for_a_model_is_served_without_one(tmp_path: Path) -> None:
    young = Settings(home=tmp_path)
    publish(
        young,
        customers=make_customers(["C1"], None),
        replaced={CHURN_MODEL: None, CHURN_CARD: None, FRAUD_MODEL: None, FRAUD_CARD: None, **NO_RECOMMENDER},
    )
    with service(young) as client:
        detail = problem(client.post(PATH, json={"features": GOOD}), 404, "no-model")["detail"]
        assert "too short" in detail
        assert client.get("/v1/release").json()["models"] == []
        assert client.get("/v1/customers/C1").json()["churn"] is None


def test_a_prediction_says_what_made_it(client: httpx.Client, manifest: Manifest) -> None:
    answer = client.post(PATH, json={"features": GOOD})
    assert answer.status_code == 200
    document = answer.json()
    assert 0.5 < document.pop("probability") <= 1
    assert document == {"model_version": "3", "release_id": manifest.release_id, "as_of": "2026-01-01"}


@settings(max_examples=50)
@given(st.integers(0, 400), st.none() | st.floats(0, 4000), st.booleans())
def test_it_predicts_what_the_trained_model_does(
    client: httpx.Client, recency: int, gap: float | None, opt: bool
) -> None:
    answer = client.post(PATH, json={"features": {"is_opted_in": opt, "mean_gap_days": gap, "recency_days": recency}})
    row = np.array([[recency, np.nan if gap is None else gap, opt]], dtype=np.float32)
    assert answer.json()["probability"] == pytest.approx(classifier().predict_proba(row)[0, 1], abs=1e-5)


@pytest.mark.parametrize(
    ("change", "pointer", "message"),
    [
        ({"recency_days": -1}, "recency_days", "greater than or equal to 0; recency_days takes a whole number from 0"),
        ({"recency_days": 1.5}, "recency_days", "valid integer"),
        ({"recency_days": "12"}, "recency_days", "valid integer"),
        ({"recency_days": True}, "recency_days", "valid integer"),
        ({"recency_days": None}, "recency_days", "valid integer"),
        ({"recency_days": 2**53}, "recency_days", "less than or equal to"),
        ({"recency_days": 10**400}, "recency_days", "less than or equal to"),
        ({"mean_gap_days": 4000.5}, "mean_gap_days", "a number from 0 up to 4000 or null: Between orders."),
        ({"mean_gap_days": float("nan")}, None, "NaN or Infinity, which JSON has not"),
        ({"mean_gap_days": float("inf")}, None, "NaN or Infinity, which JSON has not"),
        ({"mean_gap_days": [1]}, "mean_gap_days", "valid number"),
        ({"is_opted_in": 1}, "is_opted_in", "valid boolean; is_opted_in takes true or false"),
        ({"spend": 3}, "spend", "no such feature; it takes recency_days, mean_gap_days, is_opted_in"),
        ({"a/b~c": 3}, "a~1b~0c", "no such feature"),
        ({"\ud800": 3}, None, "Invalid JSON"),
    ],
)
def test_a_wrong_feature_is_refused_with_what_it_takes(
    client: httpx.Client, change: dict[str, Any], pointer: str | None, message: str
) -> None:
    document = problem(post(client, json.dumps({"features": {**GOOD, **change}})), 422, "invalid-request")
    assert len(document["errors"]) == 1
    assert message in document["errors"][0]["detail"]
    if pointer:
        assert document["errors"][0]["pointer"] == f"/features/{pointer}"


def test_a_missing_feature_is_named(client: httpx.Client) -> None:
    document = problem(client.post(PATH, json={"features": {"mean_gap_days": None}}), 422, "invalid-request")
    assert document["detail"].startswith("2 parts of the request are wrong")
    assert [part["pointer"] for part in document["errors"]] == ["/features/recency_days", "/features/is_opted_in"]
    assert all(part["detail"].startswith("it is missing") for part in document["errors"])


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"features": []}', b'{"features": {}, "x": 1}', b"\xff", b"1" * 5000],
)
def test_a_body_that_is_no_request_is_refused(client: httpx.Client, body: bytes) -> None:
    problem(post(client, body), 422, "invalid-request")


def test_a_body_without_its_media_type_is_refused(client: httpx.Client) -> None:
    problem(client.post(PATH, content=json.dumps({"features": GOOD})), 415, "no-json")


def test_deep_nesting_does_no_harm(client: httpx.Client) -> None:
    problem(post(client, b'{"features": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"), 422, "invalid-request")


def test_a_body_that_is_too_large_is_refused_announced_or_not(client: httpx.Client) -> None:
    body = json.dumps({"features": {f"x{n}": n for n in range(10_000)}}).encode()
    problem(post(client, body), 413, "body-too-large")
    pieces = (body[at : at + 4096] for at in range(0, len(body), 4096))
    problem(client.post(PATH, content=pieces, headers={"content-type": "application/json"}), 413, "body-too-large")


def test_many_errors_are_counted_and_a_few_shown(client: httpx.Client) -> None:
    features = {**GOOD, **{f"x{n}": n for n in range(500)}}
    document = problem(client.post(PATH, json={"features": features}), 422, "invalid-request")
    assert document["detail"].startswith("500 parts of the request are wrong; see errors. The first 20 are shown.")
    assert len(document["errors"]) == 20


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(list(GOOD)) | st.text(max_size=5)


@settings(max_examples=150)
@given(JSON | st.fixed_dictionaries({"features": st.dictionaries(NAMES, JSON, max_size=5)}))
def test_no_json_makes_the_service_fail(client: httpx.Client, body: Any) -> None:
    response = post(client, json.dumps(body))
    assert response.status_code in {200, 400, 422}
    if response.status_code != 200:
        problem(response, response.status_code, "invalid-request" if response.status_code == 422 else None)


@settings(max_examples=100)
@given(st.integers(-(2**60), 2**60), st.none() | st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_numbers_of_any_size_get_a_probability_or_a_reason(
    client: httpx.Client, recency: int, gap: float | None, opt: bool
) -> None:
    features = {"recency_days": recency, "mean_gap_days": gap, "is_opted_in": opt}
    response = client.post(PATH, json={"features": features})
    fits = 0 <= recency < 2**53 and (gap is None or 0 <= gap <= 4000)
    assert response.status_code == (200 if fits else 422)
    if fits:
        assert 0 <= response.json()["probability"] <= 1


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_no_bytes_make_the_service_fail(client: httpx.Client, body: bytes) -> None:
    assert post(client, body).status_code in {400, 422}


def test_a_whole_number_may_be_written_with_a_fraction_of_zero(client: httpx.Client) -> None:
    written = [client.post("/v1/predict/churn", json={"features": GOOD | {"recency_days": of}}) for of in (200, 200.0)]
    assert written[0].json() == written[1].json()
    wrong = client.post("/v1/predict/churn", json={"features": GOOD | {"recency_days": 200.5}})
    assert problem(wrong, 422, "invalid-request")["errors"][0]["pointer"] == "/features/recency_days"
