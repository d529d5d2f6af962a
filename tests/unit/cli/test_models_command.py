"""`cartograph models` on a registry of one version: which mistakes are told, in which words. No training is run."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cartograph.cli.app import app
from cartograph.settings import load_settings
from ml_assets.core.registry import ModelRegistry, NoModel

CHURN = "churn_classifier"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose registry has the first version of one model, which nothing has promoted."""
    folder = tmp_path_factory.mktemp("home")
    settings = load_settings(home=folder)
    settings.shop_home.mkdir(parents=True)
    registry = ModelRegistry(settings.resolved_mlflow_uri)
    client = registry._client()
    run = client.create_run(client.create_experiment("one", artifact_location=str(folder / "artifacts"))).info.run_id
    card = {"as_of": "2025-01-01", "metrics": {"auc": 0.8}, "baseline_metrics": {}}
    registry.register(run, CHURN, b"a model", card, "onnx", {})
    return folder


@pytest.fixture
def cartograph(home, monkeypatch):
    def call(*arguments: str) -> Result:
        monkeypatch.setenv("CARTOGRAPH_HOME", str(home))
        return CliRunner().invoke(app, ["models", *arguments])

    return call


@pytest.mark.parametrize(
    "arguments",
    [
        ("log", "nope"),
        ("card", "nope"),
        ("compare", "nope"),
        ("reproduce", "nope", "1"),
        ("rollback", "nope"),
        ("promote", "nope", "1", "--by", "ada", "--reason", "agreed on Monday"),
    ],
)
def test_a_model_that_is_not_there_is_named_with_those_that_are(cartograph, arguments):
    error = cartograph(*arguments).exception
    assert isinstance(error, NoModel)  # which `main` tells, with the status of a mistake
    assert str(error) == "There is no model 'nope'. There are: churn_classifier."


def test_the_log_of_a_model_that_nothing_has_promoted_is_empty(cartograph):
    for arguments in (("log",), ("log", CHURN)):
        found = cartograph(*arguments)
        assert (found.exit_code, "Nothing was promoted yet." in found.output) == (0, True)


@pytest.mark.parametrize("arguments", [(), ("1",), ("1", "1")])
def test_one_version_has_nothing_to_be_compared_with(cartograph, arguments):
    error = cartograph("compare", CHURN, *arguments).exception
    assert isinstance(error, NoModel)
    assert str(error) == (
        "churn_classifier has one version, 1, and nothing to compare it with. `cartograph models card "
        "churn_classifier 1` shows its figures."
    )
