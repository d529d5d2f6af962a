"""The registry of models when it cannot be asked: that is not the same as having no model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ml_assets.core.registry import PATIENCE, ModelRegistry, RegistryDown


def test_a_model_that_was_never_registered_has_no_champion(tmp_path: Path) -> None:
    assert ModelRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}").champion("churn_classifier") is None


def test_a_database_that_cannot_be_used_is_not_taken_for_one_without_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)  # of 10, the last wait is of 51 seconds
    (tmp_path / "mlflow.db").mkdir()
    registry = ModelRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}")
    for question in (registry.champion, registry.challenger, registry.aliases, registry.versions):
        with pytest.raises(RegistryDown, match="CARTOGRAPH_MLFLOW_URI"):
            question("churn_classifier")
    with pytest.raises(RegistryDown, match="cannot be asked for its models"):
        registry.names()


def test_a_server_that_is_away_is_not_taken_for_one_without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = ModelRegistry("http://127.0.0.1:9")
    with pytest.raises(RegistryDown, match="cannot be asked for churn_classifier"):
        registry.champion("churn_classifier")
    with pytest.raises(RegistryDown, match="cannot be asked for its models"):
        registry.names()


def test_a_server_is_not_waited_for_longer_than_a_person_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in PATIENCE:
        monkeypatch.setenv(variable, "1")
        monkeypatch.delenv(variable)
    with pytest.raises(RegistryDown):
        ModelRegistry("unknown://nothing").names()
    assert {variable: os.environ.get(variable) for variable in PATIENCE} == PATIENCE
