"""Predictions of many rows over HTTP are those of each row alone, and one wrong value refuses the request."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.schemas.predictions import BatchPrediction
from api.services.features import FeaturesError, GivenFeatures
from cartograph.releases import Manifest
from cartograph.releases.contents.models import FeatureSpec
from tests.api.making import classifier, problem

PATH = "/v1/predict/churn/batch"
GOOD: dict[str, list[Any]] = {
    "recency_days": [200, 3, 41],
    "mean_gap_days": [12.5, None, 40],
    "is_opted_in": [True, False, True],
}


def post(client: httpx.Client, body: str | bytes) -> httpx.Response:
    return client.post(PATH, content=body, headers={"content-type": "application/json"})


def test_a_batch_says_what_made_it(client: httpx.Client, manifest: Manifest) -> None:
    answer = client.post(PATH, json={"features": GOOD}).raise_for_status().json()
    BatchPrediction.model_validate(answer)
    assert len(answer.pop("probabilities")) == 3
    made_by = {"model_version": "3", "release_id": manifest.release_id, "as_of": "2026-01-01"}
    assert answer == {"model": "churn", **made_by}


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 400), st.none() | st.floats(0, 4000), st.booleans()), min_size=1, max_size=120)
)
def test_rows_together_have_the_probabilities_that_each_has_alone(
    client: httpx.Client, rows: list[tuple[int, float | None, bool]]
) -> None:
    columns = dict(zip(GOOD, map(list, zip(*rows, strict=True)), strict=True))
    found = client.post(PATH, json={"features": columns}).raise_for_status().json()["probabilities"]
    matrix = np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=np.float32)
    assert found == pytest.approx(classifier().predict_proba(matrix)[:, 1], abs=1e-5)
    first = {name: values[0] for name, values in columns.items()}
    assert found[0] == client.post("/v1/predict/churn", json={"features": first}).json()["probability"]


@pytest.mark.parametrize(
    ("change", "pointer", "message"),
    [
        ({"recency_days": [200, -1, 41]}, "recency_days/1", "greater than or equal to 0; recency_days takes a whole"),
        ({"recency_days": [200, 3, 1.5]}, "recency_days/2", "valid integer"),
        ({"recency_days": [200, 3, True]}, "recency_days/2", "valid integer"),
        ({"recency_days": [200, None, 41]}, "recency_days/1", "valid integer"),
        ({"recency_days": ["200", 3, 41]}, "recency_days/0", "valid integer"),
        ({"recency_days": [10**400, 3, 41]}, "recency_days/0", "less than or equal to"),
        ({"mean_gap_days": [12.5, True, 40]}, "mean_gap_days/1", "valid number"),
        ({"mean_gap_days": [12.5, [1], 40]}, "mean_gap_days/1", "valid number"),
        ({"mean_gap_days": [12.5, 4000.5, 40]}, "mean_gap_days/1", "less than or equal to 4000"),
        ({"is_opted_in": [1, 0, 1]}, "is_opted_in/0", "valid boolean"),
        ({"is_opted_in": True}, "is_opted_in", "valid array"),
        ({"is_opted_in": [True, False]}, "is_opted_in", "it has 2 values, and recency_days has 3"),
        ({"spend": [1, 2, 3]}, "spend", "no such feature; it takes recency_days, mean_gap_days, is_opted_in"),
        ({"spend": 1}, "spend", "no such feature"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(
    client: httpx.Client, change: dict[str, Any], pointer: str, message: str
) -> None:
    document = problem(post(client, json.dumps({"features": {**GOOD, **change}})), 422, "invalid-request")
    (wrong,) = document["errors"]
    assert message in wrong["detail"]
    assert wrong["pointer"] == f"/features/{pointer}"


def test_a_missing_feature_is_named(client: httpx.Client) -> None:
    document = problem(client.post(PATH, json={"features": {"recency_days": [1]}}), 422, "invalid-request")
    assert [part["pointer"] for part in document["errors"]] == ["/features/mean_gap_days", "/features/is_opted_in"]


@pytest.mark.parametrize("rows", [0, 1001])
def test_a_batch_has_one_row_to_a_thousand(client: httpx.Client, rows: int) -> None:
    columns = {name: (values * 400)[:rows] for name, values in GOOD.items()}
    problem(client.post(PATH, json={"features": columns}), 422, "invalid-request")


def test_a_thousand_rows_are_answered_and_more_bytes_than_they_take_are_not(client: httpx.Client) -> None:
    columns = {name: (values * 400)[:1000] for name, values in GOOD.items()}
    assert len(client.post(PATH, json={"features": columns}).raise_for_status().json()["probabilities"]) == 1000
    body = b'{"features": {"recency_days": [' + b"1," * 1_100_000 + b"1]}}"
    problem(post(client, body), 413, "body-too-large")


def test_a_batch_of_a_model_that_is_not_there_is_a_problem(client: httpx.Client) -> None:
    detail = problem(client.post("/v1/predict/third_order/batch", json={"features": GOOD}), 404, "no-model")["detail"]
    assert "no model third_order of the shop's own; it has none" in detail


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"{}", b'{"features": []}', b'{"features": {}, "x": 1}'])
def test_a_body_that_is_no_batch_is_refused(client: httpx.Client, body: bytes) -> None:
    problem(post(client, body), 422, "invalid-request")


SPECS = (
    FeatureSpec(name="whole", type="bigint", description="-", nullable=False, minimum=-5, maximum=50),
    FeatureSpec(name="perhaps", type="bigint", description="-", nullable=True),
    FeatureSpec(name="any", type="double", description="-", nullable=True, minimum=-5, maximum=50),
    FeatureSpec(name="free", type="double", description="-", nullable=True),
    FeatureSpec(name="flag", type="boolean", description="-", nullable=True),
)
VALUES = (
    st.none()
    | st.sampled_from([-(2**63) + 1, -(2**63), -(2.0**63)])
    | st.booleans()
    | st.integers(-(2**54), 2**54)
    | st.integers(-6, 51)
    | st.floats()
    | st.floats(-6, 51)
    | st.text(max_size=2)
    | st.lists(st.integers(), max_size=1)
)


@settings(max_examples=400)
@given(st.lists(st.tuples(*[VALUES] * len(SPECS)), min_size=1, max_size=4))
def test_the_fast_way_takes_what_the_strict_one_takes_and_nothing_else(rows: list[tuple[Any, ...]]) -> None:
    """One row at a time is read by pydantic alone, many as whole columns first: both must agree on every value."""
    features = GivenFeatures(SPECS)
    names = [spec.name for spec in SPECS]

    def alone(row: tuple[Any, ...]) -> list[float] | None:
        try:
            return features.one(json.dumps({"features": dict(zip(names, row, strict=True))}).encode())[0].tolist()
        except FeaturesError:
            return None

    expected = [alone(row) for row in rows]
    body = json.dumps({"features": dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))}).encode()
    if None in expected:
        with pytest.raises(FeaturesError):
            features.many(body)
    else:
        np.testing.assert_array_equal(features.many(body), np.array(expected))


SOUND = st.tuples(
    st.integers(-5, 50),
    st.none() | st.integers(-(2**53) + 1, 2**53 - 1),
    st.none() | st.floats(-5, 50),
    st.none() | st.sampled_from([-(2**63) + 1, -(2.0**63), 0.5]),
    st.none() | st.booleans(),
)


@given(st.lists(SOUND, min_size=1, max_size=4))
def test_sound_rows_are_read_as_they_are(rows: list[tuple[Any, ...]]) -> None:
    """Also the number that a null is read as, where somebody gives that."""
    columns = {spec.name: list(column) for spec, column in zip(SPECS, zip(*rows, strict=True), strict=True)}
    expected = np.array([[np.nan if value is None else float(value) for value in row] for row in rows])
    np.testing.assert_array_equal(GivenFeatures(SPECS).many(json.dumps({"features": columns}).encode()), expected)


def test_a_body_of_a_million_wrong_values_is_answered_with_one_error_of_each_list() -> None:
    rest = {"free": ["x"] * 1000, "flag": [1] * 1000}
    body = json.dumps(
        {"features": {"whole": ["x"] * 1000, "perhaps": ["x"] * 1000, "any": [True] * 1000} | rest}
    ).encode()
    with pytest.raises(FeaturesError) as refused:
        GivenFeatures(SPECS).many(body)
    assert [found.path for found in refused.value.problems] == [
        ("features", "whole", 0),
        ("features", "perhaps", 0),
        ("features", "any", 0),
        ("features", "free", 0),
        ("features", "flag", 0),
    ]


@pytest.mark.parametrize("read", ["one", "many"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"features": {"whole": [' + b",".join([b"{}"] * 100_000) + b"]}}",
        b'{"features": {' + b",".join(b'"x%d": 1' % number for number in range(50_000)) + b"}}",
        b"{" + b",".join(b'"x%d": 1' % number for number in range(50_000)) + b"}",
    ],
)
def test_a_long_body_that_is_wrong_takes_no_more_memory_than_its_values(body: bytes, read: str) -> None:
    """Each error held a copy of all that was given: 5 GB of 2 MiB, with a model of 50 features."""
    specs = [FeatureSpec(name=f"f{n}", type="double", description="-", nullable=False) for n in range(50)]
    features = GivenFeatures(specs)
    tracemalloc.start()
    try:
        with pytest.raises(FeaturesError) as refused:
            getattr(features, read)(body)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()
    assert len(refused.value.problems) <= 51
