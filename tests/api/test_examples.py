"""The examples of bodies in the OpenAPI document are requests that the release that is served answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.services.examples import least_features
from api.services.features import GivenFeatures
from cartograph.releases.contents.files import CHURN_CARD, CHURN_MODEL, OWN_PREDICTIONS, explanation_file
from cartograph.releases.contents.models import FeatureSpec
from cartograph.settings import Settings
from tests.api.everything import publish_everything
from tests.api.making import FEATURES, make_card, service
from tests.api.test_document import operations
from tests.api.test_orders import judging_files
from tests.api.test_own_models import CARD, MODEL

EXPLANATION = explanation_file("churn_classifier")
NO_CHURN: dict[str, bytes | None] = dict.fromkeys((CHURN_MODEL, CHURN_CARD, EXPLANATION))
NO_OWN_MODEL: dict[str, bytes | None] = dict.fromkeys((MODEL, CARD, OWN_PREDICTIONS))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A shop whose release has every model, a policy, and the history of its orders."""
    settings = Settings(home=tmp_path_factory.mktemp("examples"))
    publish_everything(settings, judging_files())
    return settings


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[httpx.Client]:
    with service(settings) as found:
        yield found


def document_of(client: httpx.Client) -> dict[str, Any]:
    document: dict[str, Any] = client.get("/openapi.json").raise_for_status().json()
    return document


def requests_of(document: Mapping[str, Any]) -> dict[str, tuple[str, list[Any]]]:
    """By operation: its path with the examples of its parameters in it, and the examples of its body."""
    found = {}
    for name, operation in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            path, schema = name.partition(" ")[2], content["schema"]
            for one in operation.get("parameters", ()):
                if one["in"] == "path":
                    path = path.replace(f"{{{one['name']}}}", one["schema"]["examples"][0])
            if "$ref" in schema:
                schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            found[name] = (path, schema["examples"])
    return found


def test_each_example_of_a_body_is_answered(client: httpx.Client) -> None:
    requests = requests_of(document_of(client))
    assert sum(name.startswith("POST /v1/predict/") for name in requests) == 7
    answers = [client.post(path, json=body) for path, bodies in requests.values() for body in bodies]
    assert len(answers) >= len(requests)
    assert [f"{one.url.path}: {one.text}" for one in answers if one.status_code >= 300] == []


def test_each_worker_shows_the_same_examples_of_a_release(client: httpx.Client, settings: Settings) -> None:
    with service(settings) as other:
        documents = [one.get("/openapi.json").content for one in (client, other, client)]
    assert documents == [documents[0]] * 3


def test_another_release_shows_what_its_models_take(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    first = publish_everything(settings).release_id
    renamed = FeatureSpec(name="silent_days", type="bigint", description="x", nullable=False, minimum=3)
    card = make_card(features=(renamed, *FEATURES[1:])).model_dump_json().encode()
    second = publish_everything(settings, {CHURN_CARD: card, EXPLANATION: None}).release_id
    with service(settings) as client:
        for release_id, shown in ((second, {"silent_days": 3}), (first, {"recency_days": 0})):
            client.post(f"/v1/admin/releases/{release_id}/activate").raise_for_status()
            requests = requests_of(document_of(client))
            features = {**shown, "mean_gap_days": 0.0, "is_opted_in": False}
            assert requests["POST /v1/predict/churn"] == ("/v1/predict/churn", [{"features": features}])
            path, (many,) = requests["POST /v1/predict/{model}/batch"]
            assert path == "/v1/predict/churn/batch"
            assert many == {"features": {name: [value, value] for name, value in features.items()}}


def test_many_are_shown_of_a_model_that_the_release_has(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish_everything(settings, NO_OWN_MODEL | NO_CHURN)
    with service(settings) as client:
        requests = requests_of(document_of(client))
        path, (body,) = requests["POST /v1/predict/{model}/batch"]
        assert path == "/v1/predict/propensity/batch"
        assert len(client.post(path, json=body).raise_for_status().json()["probabilities"]) == 2


def test_without_a_release_the_document_is_there(tmp_path: Path) -> None:
    with service(Settings(home=tmp_path)) as client:
        assert client.get("/v1/release").status_code == 503
        assert all(bodies for _, bodies in requests_of(document_of(client)).values())


@st.composite
def specs(draw: st.DrawFn) -> FeatureSpec:
    """A feature with either bound, both or none; between both there is a whole number."""
    kind = draw(st.sampled_from(["bigint", "double", "boolean"]))
    bounds = st.none() | st.floats(-1000, 1000)
    low, high = draw(bounds), draw(bounds)
    if low is not None and high is not None:
        high = low + 1 + abs(high)
    ends = {} if kind == "boolean" else {"minimum": low, "maximum": high}
    return FeatureSpec(name="x", type=kind, description="X.", nullable=draw(st.booleans()), **ends)


@given(spec=specs())
def test_a_model_takes_the_least_of_each_feature(spec: FeatureSpec) -> None:
    card = make_card(features=(spec,))
    body = json.dumps({"features": least_features(card)}).encode()
    assert GivenFeatures(card.features).one(body).tolist() == [[float(least_features(card)["x"])]]
