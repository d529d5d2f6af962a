"""What is asked of the card of a trained model, wherever it is shown: registry, MLflow run, release and UI."""

from __future__ import annotations

import re
from typing import Any

import dagster as dg

from cartograph.releases import open_store
from cartograph.settings import Settings
from tests.graph.ml_location import key

SECTIONS = (
    "Purpose", "Target", "Population", "Training data", "How good it is", "Checks", "Subgroups", "Pictures",
    "Features", "Limits", "Ethics", "Origin", "How to make it again",
)  # fmt: skip
LARGEST_METADATA = 80_000
"""Characters of a picture in the event log."""


def sections_of(card: str) -> dict[str, str]:
    """The text of each section by its title."""
    _, *parts = re.split(r"^## (.+)\n\n", card, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def judge_card(settings: Settings, result: dg.ExecuteInProcessResult, model: str, pictures: set[str]) -> None:
    """Hold the card of the released champion of `model`, which the run `result` trained, against all its sources."""
    import mlflow

    from ml_assets.core.registry import ModelRegistry

    registry = ModelRegistry(settings.resolved_mlflow_uri)
    champion, store = registry.champion(model), open_store(settings)
    manifest = store.current()
    folder = store.fetch(manifest.release_id) / "models" / model
    assert {path.stem for path in folder.glob("*.svg")} == pictures
    assert {path.name: path.read_bytes() for path in folder.glob("*.svg")} == champion.pictures
    assert manifest.file(f"models/{model}/card.md"), "the manifest has its checksum"

    card = (folder / "card.md").read_text(encoding="utf-8")
    sections = sections_of(card)
    assert tuple(sections) == SECTIONS
    assert all(text.strip() for text in sections.values())
    version = registry.version(model, champion.version)
    assert all(str(snapshot) in sections["Origin"] for snapshot in version.snapshots.values())
    assert version.origin["git_commit"] in sections["Origin"]
    assert set(re.findall(r"\]\((\w+)\.svg\)", sections["Pictures"])) == pictures
    assert all(f"| {feature['name']} |" in sections["Features"] for feature in champion.card["features"])
    evaluated = {
        one.check_name: "passed" if one.passed else "failed"
        for one in result.get_asset_check_evaluations()
        if one.asset_key == key(f"models/{model}") and one.check_name != "challenger_is_fit"
    }
    assert dict(re.findall(r"^\| (\w+) \| (passed|failed) \|", sections["Checks"], re.MULTILINE)) == evaluated
    for name, value in champion.card["metrics"].items():
        assert name.endswith(("low", "high")) or f"| {name} | {value:.4g} |" in sections["How good it is"]

    shown = metadata_of(result, model)
    for name in pictures:
        told = shown[f"picture_{name}"].value
        assert f"![{name}](data:image/svg+xml;base64," in told
        assert len(told) < LARGEST_METADATA
    client = mlflow.MlflowClient(settings.resolved_mlflow_uri)
    kept = {one.path for one in client.list_artifacts(run_of(client, result, model), model)}
    assert {f"{model}/{name}.svg" for name in pictures} | {f"{model}/report.json"} <= kept


def metadata_of(result: dg.ExecuteInProcessResult, model: str) -> dict[str, Any]:
    (found,) = (
        event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key == key(f"models/{model}")
    )
    return dict(found)


def run_of(client: Any, result: dg.ExecuteInProcessResult, model: str) -> str:
    """The MLflow run of the model in a Dagster run."""
    tags = {"dagster_run_id": result.run_id, "dagster_asset_key": f"models/{model}"}
    experiments = [one.experiment_id for one in client.search_experiments()]
    (found,) = (run for run in client.search_runs(experiments) if tags.items() <= run.data.tags.items())
    return str(found.info.run_id)
