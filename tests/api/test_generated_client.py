"""A typed client that is generated from the OpenAPI document works against the running service."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import get_type_hints

import httpx
import pytest

from cartograph.releases import Manifest
from cartograph.settings import Settings
from tests.api.everything import publish_everything
from tests.api.making import service

PACKAGE = "cartograph_client"
CONFIG = {"package_name_override": PACKAGE, "post_hooks": [], "content_type_overrides": {"image/svg+xml": "text/html"}}
"""The generator knows no pictures: one is text to it."""
GENERATOR = Path(sys.executable).with_name("openapi-python-client")


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Manifest]:
    settings = Settings(home=tmp_path_factory.mktemp("everything"))
    return settings, publish_everything(settings)


@pytest.fixture(scope="module")
def running(released: tuple[Settings, Manifest]) -> Iterator[httpx.Client]:
    with service(released[0]) as client:
        yield client


@pytest.fixture(scope="module")
def generated(running: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The generated package, which can be imported."""
    folder = tmp_path_factory.mktemp("client")
    document, config = folder / "openapi.json", folder / "config.json"
    document.write_text(running.get("/openapi.json").raise_for_status().text, encoding="utf-8")
    config.write_text(json.dumps(CONFIG), encoding="utf-8")
    command = [GENERATOR, "generate", "--path", document, "--config", config, "--meta", "none", "--fail-on-warning"]
    ran = subprocess.run(
        [*command, "--output-path", folder / PACKAGE], capture_output=True, text=True, check=False, cwd=folder
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    sys.path.insert(0, str(folder))
    yield folder / PACKAGE
    sys.path.remove(str(folder))


def part(name: str) -> ModuleType:
    return importlib.import_module(f"{PACKAGE}.{name}")


def test_every_operation_has_a_function(generated: Path, running: httpx.Client) -> None:
    operations = [
        operation for path in running.get("/openapi.json").json()["paths"].values() for operation in path.values()
    ]
    modules = [path for path in generated.glob("api/*/*.py") if path.name != "__init__.py"]
    assert len(modules) == len(operations)
    for module in modules:
        assert callable(part(".".join(module.relative_to(generated).with_suffix("").parts)).sync_detailed)


def test_the_client_reads_predicts_and_understands_a_problem(
    generated: Path, released: tuple[Settings, Manifest], running: httpx.Client
) -> None:
    assert generated.is_dir()
    client = part("client").Client(base_url=str(running.base_url))
    models = part("models")
    release_id = released[1].release_id

    customer = part("api.customers.get_customer").sync("C0500", client=client)
    assert isinstance(customer, models.Customer)
    assert (customer.customer_id, customer.release_id, customer.churn.probability) == ("C0500", release_id, 0.25)
    assert customer.features["recency_days"] == 499

    predict = part("api.predictions.predict_churn").sync
    body = get_type_hints(predict)["body"].from_dict(
        {"features": {"recency_days": 200, "mean_gap_days": 12.5, "is_opted_in": True}}
    )
    prediction = predict(client=client, body=body)
    assert isinstance(prediction, models.ChurnPrediction)
    assert 0.5 < prediction.probability <= 1
    assert prediction.release_id == release_id

    unknown = part("api.customers.get_customer").sync("nobody", client=client)
    assert isinstance(unknown, models.Problem)
    assert (unknown.status, unknown.type_) == (404, "urn:cartograph:problem:unknown-customer")
