"""Experiments through code location 2: assets, checks, release and API; a bad one, a bad file, a shop without any."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner

from cartograph.cli.app import app
from cartograph.lake import Lake
from cartograph.releases.contents.experiments import ExperimentResult
from cartograph.settings import get_settings
from ml_assets.core.experiments import report
from tests.graph.ml_location import EVERYTHING, failure, forget_location, guard, key, load_location, location_in, run
from tests.model.planted import planted_shop, publish, publish_marts

FORM = {
    "description": "A banner on the first page.",
    "owner": "team:web",
    "variants": {"control": 0.5, "treatment": 0.5},
    "metrics": [
        {"name": "orders", "of": "orders", "role": "primary"},
        {"name": "net_revenue", "kind": "revenue", "of": "net_revenue"},
    ],
    "segments": ["had_ordered"],
}
MART = "fct_experiment_assignments"
NAMES = ("sound", "lopsided")
BY_NAME = {f"experiments/{name}{suffix}" for name in NAMES for suffix in ("", "_assignments")}


def write(folder: Path, **files: dict) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


def assigned(customers: list[str]) -> pa.Table:
    """All customers in `sound`, and in `lopsided` more of the treatment than of the control."""
    draw = np.random.default_rng(4)
    rows = []
    for name, share in (("sound", 0.5), ("lopsided", 0.6)):
        treated = draw.permutation(len(customers)) < share * len(customers)
        rows += [
            (name, customer, "treatment" if one else "control")
            for customer, one in zip(customers, treated, strict=True)
        ]
    when = datetime(2025, 3, 1, 12, tzinfo=UTC)
    return pa.table(
        {
            "experiment_id": [row[0] for row in rows],
            "customer_id": [row[1] for row in rows],
            "variant": [row[2] for row in rows],
            "assigned_at": pa.array([when] * len(rows), pa.timestamp("us", tz="UTC")),
            "assignment_date": pa.array([when.date()] * len(rows), pa.date32()),
        }
    )


class Shop:
    """The location with a sound and a lopsided experiment, and one that needs what the shop does not deliver."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.definitions, self.instance, self.settings = definitions, instance, get_settings()
        self.lake = Lake.from_settings(self.settings)
        planted = planted_shop(1500)
        publish(planted, self.lake)
        customers = sorted(set(planted.marts["dim_customers"]["customer_id"].to_pylist()) - {"(guest)"})
        publish_marts({MART: assigned(customers)}, self.lake)
        guard(instance, self.lake, *planted.marts, MART)
        self.first = run(definitions, instance, *BY_NAME)

    def result(self, name: str) -> ExperimentResult:
        (row,) = self.lake.batches(f"experiments.{name}").read_all().to_pylist()
        return ExperimentResult.model_validate_json(row["result"])


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiments")
    refunds = FORM | {"metrics": [{"name": "refunds", "of": "refunds", "role": "primary"}]}
    files = write(folder / "experiments", sound=FORM, lopsided=FORM, of_refunds=refunds)
    environment = {"CARTOGRAPH_EXPERIMENTS_DIR": files}
    with location_in(folder, datasets=(*EVERYTHING, "experiment_assignments"), environment=environment) as location:
        yield Shop(*location)


def checks(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, dg.AssetCheckEvaluation]:
    return {one.check_name: one for one in result.get_asset_check_evaluations() if one.asset_key == key(asset)}


def test_a_file_becomes_assignments_with_checks_and_a_result_with_a_memo_and_pictures(shop):
    assert shop.first.success
    found = checks(shop.first, "experiments/sound_assignments")
    assert set(found) == {
        "sample_ratio_holds", "nobody_has_two_variants", "variants_are_known", "assigned_while_it_ran",
    }  # fmt: skip
    assert all(one.passed and not one.blocking for one in found.values())
    result = shop.result("sound")
    assert result.verdict in {"hold", "ship", "stop"}
    assert {one.metric for one in result.estimates} == {"orders", "net_revenue"}
    (event,) = shop.first.asset_materializations_for_node("experiments__sound")
    assert event.metadata["memo"].value == result.memo
    assert {"picture_assignment", "picture_effects", "picture_sequence"} <= set(event.metadata)
    assert "data:image/svg+xml;base64," in event.metadata["picture_effects"].value


def test_a_bad_one_warns_and_does_not_stop_but_has_no_estimate(shop):
    found = checks(shop.first, "experiments/lopsided_assignments")["sample_ratio_holds"]
    assert (found.passed, found.severity, found.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    result = shop.result("lopsided")
    assert (result.verdict, result.estimates) == ("invalid", ())
    assert checks(shop.first, "experiments/lopsided")["estimates_are_sound"].passed


def test_an_estimate_of_an_experiment_that_is_not_valid_is_stopped(shop, monkeypatch):
    """The core is broken on purpose: it goes on although a check failed."""
    sound, failed = shop.result("sound"), shop.result("lopsided").integrity
    monkeypatch.setattr(report, "assess", lambda *_: sound.model_copy(update={"integrity": failed}))
    again = run(shop.definitions, shop.instance, "experiments/sound")
    found = checks(again, "experiments/sound")["estimates_are_sound"]
    assert not found.passed
    assert found.blocking
    monkeypatch.undo()
    assert run(shop.definitions, shop.instance, "experiments/sound").success


def test_one_that_needs_what_the_shop_does_not_deliver_is_left_out(shop):
    assert key("experiments/of_refunds") not in shop.definitions.resolve_asset_graph().get_all_asset_keys()


def test_the_release_has_both_and_is_made_of_them(shop):
    from tests.api.making import service

    assert run(shop.definitions, shop.instance).success
    with service(shop.settings) as client:
        listed = client.get("/v1/experiments").json()["experiments"]
        sound = client.get("/v1/experiments/sound").json()["experiment"]
        picture = client.get("/v1/experiments/sound/sequence.svg")
    assert {one["name"]: one["verdict"] for one in listed} == {
        "lopsided": "invalid",
        "sound": shop.result("sound").verdict,
    }
    assert sound == shop.result("sound").model_dump(mode="json")
    assert picture.content.startswith(b"<?xml")
    released = shop.definitions.resolve_asset_graph().get(key("serving/release")).parent_keys
    assert {key(name) for name in BY_NAME} <= released


def test_the_memo_is_printed_and_written_with_its_pictures(shop, tmp_path):
    def memo(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["experiment", "memo", *arguments])
        return f"{done.exit_code} {done.stdout}"

    assert memo("sound") == f"0 {shop.result('sound').memo}"
    assert memo("sound", "--out", str(tmp_path / "memo.md")).startswith("0")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "assignment.svg", "effects.svg", "memo.md", "sequence.svg",
    ]  # fmt: skip
    assert "](sequence.svg)" in (tmp_path / "memo.md").read_text()
    page = memo("sound", "--html")
    assert page.count("data:image/svg+xml;base64,") == 3
    assert "<h2>Effects</h2>" in page
    unknown = memo("nothing")
    assert unknown.startswith("1")


def test_a_file_that_cannot_be_used_is_an_asset_that_says_so(monkeypatch, tmp_path):
    folder = write(tmp_path / "experiments", bad_one=FORM | {"control": "old"})
    monkeypatch.setenv("CARTOGRAPH_EXPERIMENTS_DIR", str(folder))
    definitions = load_location(monkeypatch, tmp_path)
    assert key("experiments/bad_one") in definitions.resolve_asset_graph().get(key("serving/release")).parent_keys
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        said = failure(run(definitions, instance, "experiments/bad_one"), "experiments__bad_one")
    assert said.startswith(f"{folder / 'bad_one.yaml'}: the file: the control old is none of the variants")
    monkeypatch.undo()
    forget_location()


def test_a_shop_without_assignments_has_no_experiments(monkeypatch, tmp_path):
    monkeypatch.setenv("CARTOGRAPH_EXPERIMENTS_DIR", str(write(tmp_path / "experiments", sound=FORM)))
    definitions = load_location(monkeypatch, tmp_path)
    keys = definitions.resolve_asset_graph().get_all_asset_keys()
    assert not [one for one in keys if one.path[0] == "experiments"]
    monkeypatch.undo()
    forget_location()
