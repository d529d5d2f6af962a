"""The form of an experiment's file: what is shipped has it, and what is wrong with others is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cartograph.settings import Settings, SettingsError
from ml_assets.core.experiments.errors import ExperimentError
from ml_assets.core.experiments.folder import experiment_files, told
from ml_assets.core.experiments.form import read_experiment

SHIPPED = sorted((Path(__file__).parents[3] / "experiments").glob("*.yaml"))
FORM = {
    "description": "A banner.",
    "owner": "team:web",
    "variants": {"control": 0.5, "banner": 0.5},
    "metrics": [{"name": "orders", "of": "orders", "role": "primary"}],
}


def write(folder: Path, file: str = "banner", **changed: object) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{file}.yaml"
    path.write_text(yaml.safe_dump(FORM | changed), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_is_shipped_has_the_form(path):
    found = read_experiment(path)
    assert found.shops == ("simulated",)
    assert found.plan("EUR")[0].role == "primary"


def test_defaults_and_what_follows_from_a_file(tmp_path):
    per_visit = {"name": "rate", "kind": "ratio", "of": "orders", "per": "visits"}
    found = read_experiment(write(tmp_path, metrics=[per_visit, *FORM["metrics"]]))
    assert (found.assigned_as, found.control, found.alpha, found.correction) == ("banner", "control", 0.05, "holm")
    assert [metric.name for metric in found.plan("EUR")] == ["orders", "rate"]
    assert [metric.unit for metric in found.plan("EUR")] == ["orders per customer", "orders per visit"]
    assert found.datasets == {"experiment_assignments", "events"}
    assert list(found.shares) == ["control", "banner"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"metric": []}, "there is no such key. Is metrics meant?"),
        ({"metrics": [{"name": "m", "of": "order", "role": "primary"}]}, "there is no outcome order. Is orders meant?"),
        ({"metrics": [{"name": "m", "of": "orders"}]}, "one metric has the role primary, got none"),
        (
            {"metrics": [{"name": "m", "of": "orders", "rol": "primary"}]},
            "metrics.0.rol: there is no such key. Is role",
        ),
        ({"metrics": [{"name": "m", "kind": "ratio", "of": "orders", "role": "primary"}]}, "a ratio has `per`"),
        ({"metrics": [{"name": "m", "kind": "revenue", "of": "orders", "role": "primary"}]}, "orders is no money"),
        (
            {"metrics": [{"name": "m", "of": "orders", "margin": 0.1, "role": "primary"}]},
            "only a guardrail has a margin",
        ),
        ({"metrics": [*FORM["metrics"], *FORM["metrics"]]}, "each metric must have a name of its own"),
        ({"variants": {"control": 0.5, "banner": 0.6}}, "add up to 1, they add up to 1.1"),
        ({"variants": {"control": 1.0}}, "name two variants or more"),
        ({"control": "old"}, "the control old is none of the variants"),
        ({"starts": "2025-02-01", "ends": "2025-01-01"}, "must be after it starts"),
        ({"segments": ["city"]}, "there is no segment city"),
        ({"alpha": 2}, "from 0.0001 to 0.5"),
        ({"window_days": -1}, "from 0 to 730"),
        ({"owner": "somebody"}, "It takes: `team:name` or an e-mail address."),
        ({"name": "other"}, "name: leave it out"),
    ],
)
def test_what_is_wrong_names_the_file_the_key_and_the_cure(tmp_path, changed, said):
    path = write(tmp_path, **changed)
    with pytest.raises(ExperimentError) as raised:
        read_experiment(path)
    assert str(raised.value).startswith(str(path))
    assert said in str(raised.value)


def test_a_folder_gives_the_shops_own_experiments_and_says_what_cannot_be_used(tmp_path):
    folder = tmp_path / "experiments"
    write(folder, "mine")
    write(folder, "elsewhere", shops=["other"])
    write(folder, "bad", control="nobody")
    visits = [{"name": "visits", "of": "visits", "role": "primary"}]
    write(folder, "of_visits", metrics=visits)
    settings = Settings(experiments_dir=folder, shop="corner")
    found = {file.path.stem: file for file in experiment_files(settings)}
    assert set(found) == {"mine", "bad", "of_visits"}
    assert "the control nobody is none" in found["bad"].problem
    (of_visits,) = [file.experiment for file in found.values() if file.path.stem == "of_visits"]
    assert of_visits is not None
    assert told(of_visits, {"experiment_assignments"}) == "not analysed, as the shop does not deliver events"
    assert told(of_visits, of_visits.datasets) == ""
    with pytest.raises(SettingsError, match="there is no such folder"):
        experiment_files(Settings(experiments_dir=tmp_path / "nowhere"))


def test_without_a_setting_the_repositorys_folder_is_taken():
    found = [file.path.stem for file in experiment_files(Settings(shop="simulated"))]
    assert found == ["checkout_redesign", "free_shipping_threshold", "homepage_layout"]
    assert experiment_files(Settings(shop="online_retail")) == []
