"""The shop's own models over HTTP: from given features, of a customer, and in a release that lacks a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pyarrow as pa
import pytest

from cartograph.releases.contents.files import OWN_PREDICTIONS, own_model_files
from cartograph.releases.contents.tables import PREDICTION_COLUMNS, write_lists
from cartograph.settings import Settings
from tests.api.making import make_card, onnx_model, problem, publish, service

MODEL, CARD = own_model_files("refund_soon")
GOOD = {"recency_days": 200, "mean_gap_days": 12.5, "is_opted_in": True}
PREDICTED = pa.table(
    [["C1", "C3"], [["refund_soon"], ["refund_soon"]], [["4"], ["4"]], [[0.25], [0.75]]],
    schema=pa.schema(list(PREDICTION_COLUMNS.items())),
)


def written(lists: pa.Table) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / OWN_PREDICTIONS
        write_lists(path, lists, PREDICTION_COLUMNS)
        return path.read_bytes()


FILES = {
    MODEL: onnx_model(),
    CARD: make_card().model_copy(update={"name": "refund_soon", "version": "4"}).model_dump_json().encode(),
    OWN_PREDICTIONS: written(PREDICTED),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = Settings(home=tmp_path_factory.mktemp("own"))
    publish(settings, replaced=FILES)
    with service(settings) as found:
        yield found


def test_one_predicts_from_given_features_as_the_same_model_elsewhere(client: httpx.Client) -> None:
    answer = client.post("/v1/predict/refund_soon", json={"features": GOOD})
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert (document["model"], document["model_version"]) == ("refund_soon", "4")
    assert document["probability"] == client.post("/v1/predict/churn", json={"features": GOOD}).json()["probability"]


def test_wrong_features_and_unknown_models_are_problems(client: httpx.Client) -> None:
    wrong = client.post("/v1/predict/refund_soon", json={"features": GOOD | {"recency_days": -1}})
    assert problem(wrong, 422, "invalid-request")["errors"][0]["pointer"] == "/features/recency_days"
    unknown = client.post("/v1/predict/third_order", json={"features": GOOD})
    assert "it has refund_soon" in problem(unknown, 404, "no-model")["detail"]


def test_a_customer_has_the_predictions_of_the_models_that_were_asked(client: httpx.Client) -> None:
    found = client.get("/v1/customers/C3").json()["predictions"]
    assert found.keys() == {"refund_soon"}
    assert (found["refund_soon"]["probability"], found["refund_soon"]["model_version"]) == (0.75, "4")
    assert client.get("/v1/customers/C2").json()["predictions"] == {}
    assert "refund_soon" in {card["name"] for card in client.get("/v1/release").json()["models"]}


@pytest.mark.parametrize("lacking", [CARD, OWN_PREDICTIONS])
def test_a_release_with_half_a_model_is_not_served(tmp_path: Path, lacking: str) -> None:
    settings = Settings(home=tmp_path)
    publish(settings, replaced=FILES | {lacking: None})
    with service(settings) as broken:
        assert lacking in problem(broken.get("/v1/release"), 503, "no-release")["detail"]
