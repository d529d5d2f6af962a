"""The way from an answer back to the sources, as the release has it on record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.schemas.lineage import AnswerLineage
from api.services.lineage import ancestors
from cartograph.releases import Manifest
from cartograph.releases.contents.files import BUDGET_FILE, CUSTOMERS, LINEAGE_FILE, PRODUCTS
from cartograph.releases.contents.lineage import Lineage, LineageNode
from cartograph.settings import Settings
from tests.api.figuring import Order, kpi_files
from tests.api.making import (
    demand_files,
    make_advice,
    make_customers,
    make_effect,
    make_forecasts,
    make_products,
    make_reasons,
    problem,
    product_files,
    publish,
    reason_files,
    service,
)
from tests.api.test_causal import make_budget
from tests.api.test_own_models import FILES as OWN_MODEL
from tests.api.valuing import clv_files, propensity_files, segment_files, uplift_files

GRAPH = {
    "predictions/churn_scores": ("features/customer_features", "models/churn_classifier"),
    "models/churn_classifier": ("features/customer_features",),
    "features/customer_features": ("published/fct_orders",),
    "features/product_features": ("published/fct_orders",),
    "predictions/demand_forecasts": ("published/fct_orders",),
    "published/fct_orders": ("marts/fct_orders",),
    "marts/fct_orders": ("raw/orders",),
    "raw/orders": ("source/simulator",),
    "serving/kpis": ("published/fct_orders", "published/agg_daily_sales"),
    "causal/email_spring": ("features/customer_features",),
}
SNAPSHOTS = {"published/fct_orders": 7}
MODEL_FILES = {
    "churn_classifier": "models/churn_classifier.onnx",
    "purchase_propensity": "models/purchase_propensity.onnx",
    "order_fraud": "models/order_fraud.onnx",
    "refund_soon": "models/refund_soon.onnx",
    "customer_lifetime_value": "models/customer_lifetime_value.parameters.json",
    "product_recommender": "models/product_recommender.arrow",
    "demand_forecaster": "demand.arrow",
    "customer_segments": "models/customer_segments.parameters.json",
    "campaign_uplift": "models/campaign_uplift.parameters.json",
}
"""Where each model is in a release; of one that is not in it, what it predicts."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Manifest]]:
    settings = Settings(home=tmp_path_factory.mktemp("lineage"))
    nodes = tuple(LineageNode(key=key, upstream=of) for key, of in GRAPH.items())
    files = {
        LINEAGE_FILE: Lineage(assets=nodes).model_dump_json().encode(),
        **kpi_files([Order(1, 1, "DE", 1, 1)]),
        **product_files(make_products(["P:1", "P:2"])),
        **demand_files(make_forecasts(["P:1"]), make_advice(["P:1"])),
        **reason_files(make_reasons(["P:1"])),
        BUDGET_FILE: make_budget().model_dump_json().encode(),
        **clv_files(),
        **uplift_files(),
        **segment_files(),
        **propensity_files(),
        **OWN_MODEL,
    }
    customers = make_customers(["C0002", "C1"])
    models = {name: "5" for name in MODEL_FILES if name not in {"churn_classifier", "order_fraud"}}
    effects = (make_effect(name="email_spring"),)
    manifest = publish(settings, customers=customers, effects=effects, replaced=files, models=models)
    with service(settings) as client:
        yield client, manifest


def test_a_score_goes_back_to_its_model_features_snapshots_and_source(shop: tuple[httpx.Client, Manifest]) -> None:
    client, manifest = shop
    found = client.get("/v1/lineage/customer:C1:churn").json()
    assert AnswerLineage.model_validate(found, extra="forbid").model_dump(mode="json") == found
    assert found["release_id"] == manifest.release_id
    entry = manifest.file(CUSTOMERS)
    assert entry is not None
    assert found["file"] == {"path": CUSTOMERS, "sha256": entry.sha256}
    assert (found["model"]["name"], found["model"]["version"]) == ("churn_classifier", "3")
    assert found["model"]["features"] == ["recency_days", "mean_gap_days", "is_opted_in"]
    assert [one["key"] for one in found["assets"]] == [
        "predictions/churn_scores",
        "features/customer_features",
        "models/churn_classifier",
        "published/fct_orders",
        "marts/fct_orders",
        "raw/orders",
        "source/simulator",
    ]
    assert {one["key"]: one["snapshot"] for one in found["assets"] if one["snapshot"]} == SNAPSHOTS
    assert found["sources"] == ["source/simulator"]


def test_a_product_goes_back_to_its_features_snapshots_and_source(shop: tuple[httpx.Client, Manifest]) -> None:
    client, manifest = shop
    found = client.get("/v1/lineage/product:P:1:profile").json()
    assert AnswerLineage.model_validate(found, extra="forbid").model_dump(mode="json") == found
    entry = manifest.file(PRODUCTS)
    assert entry is not None
    assert (found["file"], found["model"]) == ({"path": PRODUCTS, "sha256": entry.sha256}, None)
    assert [one["key"] for one in found["assets"]] == [
        "features/product_features",
        "published/fct_orders",
        "marts/fct_orders",
        "raw/orders",
        "source/simulator",
    ]
    assert {one["key"]: one["snapshot"] for one in found["assets"] if one["snapshot"]} == SNAPSHOTS
    assert found["sources"] == ["source/simulator"]


@pytest.mark.parametrize(
    ("answer", "asset", "model"),
    [
        ("customer:C1:profile", "features/customer_features", None),
        ("customer:C0002:recommendations", "predictions/product_recommendations", "product_recommender"),
        ("product:P:2:profile", "features/product_features", None),
        ("product:P:1:demand", "predictions/demand_forecasts", "demand_forecaster"),
        ("product:P07:similar", "predictions/similar_products", "product_recommender"),
        ("product:P:1:demand_explanation", "predictions/demand_explanations", "demand_forecaster"),
        ("prediction:order_fraud", "models/order_fraud", "order_fraud"),
        ("budget", "causal/budget_allocation", None),
        ("kpi:revenue", "serving/kpis", None),
        ("effect:email_spring", "causal/email_spring", None),
    ],
)
def test_each_kind_of_answer_has_its_origin(
    shop: tuple[httpx.Client, Manifest], answer: str, asset: str, model: str | None
) -> None:
    found = shop[0].get(f"/v1/lineage/{answer}").raise_for_status().json()
    assert found["assets"][0]["key"] == asset
    assert (found["model"] or {}).get("name") == model


def test_each_model_of_the_release_has_its_lineage_and_names_its_own_file(shop: tuple[httpx.Client, Manifest]) -> None:
    client, manifest = shop
    models = client.get("/v1/models").raise_for_status().json()["models"]
    assert {one["name"] for one in models} == MODEL_FILES.keys()
    for model in models:
        name = model["name"]
        found = client.get(f"/v1/lineage/prediction:{name}").raise_for_status().json()
        entry = manifest.file(MODEL_FILES[name])
        assert entry is not None
        assert found["file"] == {"path": entry.path, "sha256": entry.sha256}
        assert found["assets"][0]["key"] == f"models/{name}"
        assert (found["model"]["name"], found["model"]["version"]) == (name, model["version"])


@pytest.mark.parametrize(
    ("called", "model"),
    [
        ("churn", "churn_classifier"),
        ("propensity", "purchase_propensity"),
        ("lifetime_value", "customer_lifetime_value"),
        ("order_fraud", "order_fraud"),
        ("refund_soon", "refund_soon"),
    ],
)
def test_a_model_may_be_called_as_where_it_predicts(
    shop: tuple[httpx.Client, Manifest], called: str, model: str
) -> None:
    client, _ = shop
    assert client.post(f"/v1/predict/{called}", json={"features": {}}).status_code == 422  # it is known there
    found = client.get(f"/v1/lineage/prediction:{called}").raise_for_status().json()
    assert found == client.get(f"/v1/lineage/prediction:{model}").json() | {"answer": f"prediction:{called}"}


def test_a_model_whose_file_is_not_in_the_release_has_no_lineage(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    lineage = Lineage(assets=()).model_dump_json().encode()
    publish(settings, replaced={LINEAGE_FILE: lineage}, models={"demand_forecaster": "5"})
    with service(settings) as client:
        problem(client.get("/v1/lineage/prediction:demand_forecaster"), 404, "unknown-answer")
        problem(client.get("/v1/lineage/prediction:lifetime_value"), 404, "unknown-answer")


@pytest.mark.parametrize(
    "answer",
    [
        "customer:C9:churn", "customer:C1:height", "customer:C1", "customer::churn", "churn", "kpi:profit", "kpi:",
        "effect:", "policy:email_spring", "product:P999:demand", "prediction:oracle", "experiment:none", "::::", "%00",
    ],
)  # fmt: skip
def test_an_unknown_answer_is_named_with_those_that_there_are(shop: tuple[httpx.Client, Manifest], answer: str) -> None:
    document = problem(shop[0].get(f"/v1/lineage/{answer}"), 404, "unknown-answer")
    assert "customer:<id>:churn" in document["detail"]


@pytest.mark.parametrize(
    "answer",
    [
        *(f"customer:C1:{name}" for name in ("churn", "purchase", "behaviour", "lifetime_value", "next_best_action")),
        *("customer:newcomer:recommendations", "product:P:1:similar", "product:P:1:profile"),
        *("product:P07:demand", "product:P07:reorder", "product:P07:profile"),
    ],
)
def test_an_answer_that_is_null_has_no_lineage(tmp_path: Path, answer: str) -> None:
    """The customer or the product is known; of what is said of them there is nothing to go back from."""
    files = {
        LINEAGE_FILE: Lineage(assets=()).model_dump_json().encode(),
        **product_files(make_products(["P00"])),
        **demand_files(make_forecasts(["P:1"]), make_advice(["P:1"])),
    }
    settings = Settings(home=tmp_path)
    publish(settings, customers=make_customers(["C1", "newcomer"], probability=None), replaced=files)
    with service(settings) as client:
        subject, _, name = answer.partition(":")[2].rpartition(":")
        detail = problem(client.get(f"/v1/lineage/{answer}"), 404, "no-answer")["detail"]
        assert f"{subject}, and no {name} of it" in detail
        client.get("/v1/lineage/customer:newcomer:profile").raise_for_status()


def test_a_release_of_before_says_so(client: httpx.Client) -> None:
    assert "older Cartograph" in problem(client.get("/v1/lineage/customer:C0001:churn"), 404, "no-lineage")["detail"]


def test_a_circle_ends() -> None:
    nodes = {key: LineageNode(key=key, upstream=(of,)) for key, of in (("a", "b"), ("b", "a"))}
    assert [one.key for one in ancestors(nodes, "a")] == ["a", "b"]
