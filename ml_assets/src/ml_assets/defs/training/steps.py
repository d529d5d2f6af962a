"""What every training asset does around its own training: tracking, registration, promotion, abstention.

What is trained, and what its checks ask for, stands in the asset's own module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import dagster as dg

from cartograph.trust.evidence import checked
from ml_assets.core.models.errors import NotEnoughData, TooYoung
from ml_assets.core.registry import Form, ModelRegistry
from ml_assets.defs.metadata import git_commit

ENOUGH_DATA = "has_enough_data"
"""The check of every training asset that fails, as a warning, where there is too little to train on."""


class Candidate(NamedTuple):
    """A trained model as it would be registered."""

    name: str
    content: bytes
    card: Mapping[str, Any]
    form: Form


def track(
    mlflow_run: Any, parameters: Mapping[str, Any], metrics: Mapping[str, float], snapshots: Mapping[str, int]
) -> None:
    """Record what the model was made from and how good it is, in the active MLflow run."""
    mlflow_run.log_params(dict(parameters))
    mlflow_run.log_metrics(dict(metrics))
    mlflow_run.set_tags(
        {f"snapshot.{table}": str(snapshot) for table, snapshot in snapshots.items()}
        | {"git_commit": git_commit() or "unknown"}
    )


def register(
    registry: ModelRegistry, mlflow_run: Any, candidate: Candidate, checks: Sequence[dg.AssetCheckResult]
) -> str:
    """Register the model; it becomes the champion if none of its checks that block has failed. Its version."""
    version = registry.register(candidate.name, candidate.content, candidate.card, candidate.form)
    mlflow_run.set_tags({"model_version": version})
    if all(check.passed for check in checks if check.severity == dg.AssetCheckSeverity.ERROR):
        registry.promote(candidate.name, version)
    return version


def abstention(context: dg.AssetExecutionContext, mlflow_run: Any, reason: NotEnoughData) -> dg.MaterializeResult:
    """No model, and why. Nothing blocks; checks of a shop that is only too young pass, as they cannot judge yet."""
    is_young = isinstance(reason, TooYoung)
    yet = "cannot judge yet: " if is_young else ""
    mlflow_run.set_tags({"abstained": str(reason)})
    context.log.warning("No model was trained. %s", reason)
    names = [check.name for check in context.selected_asset_check_keys]
    return dg.MaterializeResult(
        metadata={"abstained": str(reason)},
        check_results=[
            checked(
                name,
                is_young,
                expected="a trained model",
                found="none",
                severity="warning",
                description=f"{yet}{reason}" if name == ENOUGH_DATA else f"{yet}no model was trained",
            )
            for name in sorted(names)
        ],
    )
