"""`cartograph models` on the small shop's models: what it lists, promotes, takes back and makes again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cartograph.cli.lake import trained_snapshots
from ml_assets.core.evaluation.promotion import Verdict
from ml_assets.core.registry import ModelRegistry
from tests.support.whole_run import Bench

PROPENSITY = "purchase_propensity"
BECAUSE = ("--by", "ada", "--reason", "agreed on Monday")


@pytest.fixture(scope="module")
def bench(small_shop: tuple[Bench, str], tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The small shop with two more versions of its propensity model: one that waits, one that failed a check."""
    folder = tmp_path_factory.mktemp("models")
    bench = small_shop[0].copied(folder)
    registry = registry_of(bench)
    client = registry._client()
    experiment = client.create_experiment("of_this_test", artifact_location=str(folder / "artifacts"))
    first = registry.load(PROPENSITY, "1")
    origin = registry.version(PROPENSITY, "1").origin
    card = first.card | {"metrics": first.card["metrics"] | {"auc": 0.5}}
    for number, failed in (("2", ()), ("3", ("beats_baseline",))):
        run = client.create_run(experiment).info.run_id
        content = first.content + number.encode()
        assert registry.register(run, PROPENSITY, content, card, "onnx", origin | {"git_commit": "earlier"}) == number
        verdict = Verdict(outcome="refused" if failed else "kept", reason="for a test", evidence={"gain": -0.01})
        registry.judged(PROPENSITY, number, failed, verdict)
    registry.challenge(PROPENSITY, "2")
    return bench


def registry_of(bench: Bench) -> ModelRegistry:
    return ModelRegistry(bench.settings.resolved_mlflow_uri)


def test_all_versions_are_listed_with_what_became_of_them(bench: Bench) -> None:
    listed = json.loads(bench.cartograph("models", "list", "--json"))
    found = {(one["name"], one["version"]): one for one in listed}
    assert found[PROPENSITY, "1"]["aliases"] == ["champion"]
    assert found[PROPENSITY, "2"]["aliases"] == ["challenger"]
    assert found[PROPENSITY, "3"]["failed"] == ["beats_baseline"]
    assert found["customer_lifetime_value", "1"]["as_of"] == "2025-01-01"
    printed = bench.cartograph("models", "list")
    assert "failed: beats_baseline" in printed
    assert "2024-12-01" in printed


def test_a_challenger_is_shown_beside_the_champion_with_what_the_gate_said(bench: Bench) -> None:
    compared = json.loads(bench.cartograph("models", "compare", PROPENSITY, "--json"))
    assert compared["versions"] == ["1", "2"]
    assert compared["figures"]["auc"][1] == 0.5 < compared["figures"]["auc"][0]
    assert compared["gate"]["outcome"] == "kept"
    assert compared["realised"] is None, "no prediction's outcome is known yet"
    assert "version 3 was refused: for a test" in bench.cartograph("models", "compare", PROPENSITY, "3")


def test_a_card_tells_all_that_the_registry_knows_of_a_version(bench: Bench) -> None:
    printed = bench.cartograph("models", "card", PROPENSITY)
    first = registry_of(bench).load(PROPENSITY, "1")
    assert printed.startswith("# purchase_propensity, version 1\n")
    assert f"| auc | {first.card['metrics']['auc']:.4g} |" in printed
    assert all(f"| {feature['name']} | {feature['type']} |" in printed for feature in first.card["features"])
    assert "| promoted: version 1 | training run " in printed
    assert "reproduce purchase_propensity 1` trains it again" in printed
    assert "| blocking checks failed | beats_baseline |" in bench.cartograph("models", "card", PROPENSITY, "3")


def test_the_cards_of_all_champions_are_written_with_their_pictures_and_an_index(bench: Bench, tmp_path: Path) -> None:
    bench.cartograph("models", "cards", str(tmp_path))
    index = (tmp_path / "README.md").read_text(encoding="utf-8")
    written = {path.stem for path in tmp_path.glob("*.md")} - {"README"}
    assert written == set(re.findall(r"\]\((\w+)\.md\)", index)) >= {PROPENSITY, "customer_lifetime_value"}
    for name in written:
        pictures = re.findall(r"!\[\w+\]\((\S+)\)", (tmp_path / f"{name}.md").read_text(encoding="utf-8"))
        assert pictures or name == "campaign_uplift", "so small a shop has no action"
        assert all((tmp_path / picture).read_bytes().startswith(b"<?xml") for picture in pictures)


def test_the_log_begins_with_the_training_that_gave_the_first_champion(bench: Bench) -> None:
    first = json.loads(bench.cartograph("models", "log", PROPENSITY, "--json"))[0]
    assert (first["version"], first["previous"], first["is_gate"]) == ("1", None, True)
    assert first["by"].startswith("training run ")


def test_what_failed_a_check_is_promoted_only_by_who_answers_for_it_and_a_rollback_takes_it_back(bench: Bench) -> None:
    refused = bench.cartograph("models", "promote", PROPENSITY, "3", *BECAUSE, expect=2)
    assert "Version 3 of purchase_propensity did not pass beats_baseline" in refused
    assert "--reason 10 to" in bench.cartograph(
        "models", "promote", PROPENSITY, "2", "--by", "ada", "--reason", "so", expect=2
    )
    assert "is the champion already" in bench.cartograph("models", "promote", PROPENSITY, "1", *BECAUSE, expect=2)
    assert registry_of(bench).aliases(PROPENSITY) == {"champion": "1", "challenger": "2"}

    assert "promoted version 3 in place of 1" in bench.cartograph(
        "models", "promote", PROPENSITY, "3", *BECAUSE, "--override"
    )
    assert "promoted version 2 in place of 3" in bench.cartograph("models", "promote", PROPENSITY, "2", *BECAUSE)
    assert "back to version 3 in place of 2" in bench.cartograph("models", "rollback", PROPENSITY)
    assert "back to version 1 in place of 3" in bench.cartograph(
        "models", "rollback", PROPENSITY, "--by", "bob", "--reason", "it errs"
    )
    assert "no earlier champion to go back to" in bench.cartograph("models", "rollback", PROPENSITY, expect=2)

    log = json.loads(bench.cartograph("models", "log", PROPENSITY, "--json"))
    assert [(one["version"], one["previous"]) for one in log] == [
        ("1", None), ("3", "1"), ("2", "3"), ("3", "2"), ("1", "3")
    ]  # fmt: skip
    assert log[1]["evidence"] == {"gain": -0.01, "gate": "refused: for a test", "overridden": "beats_baseline"}
    assert (log[4]["action"], log[4]["by"], log[4]["reason"]) == ("rolled back", "bob", "it errs")
    assert "agreed on Monday" in bench.cartograph("models", "log")


def test_a_version_is_made_again_from_its_registry_entry(bench: Bench) -> None:
    for name in (PROPENSITY, "customer_lifetime_value"):
        assert "the same bytes" in bench.cartograph("models", "reproduce", name, "1")


def test_maintenance_keeps_what_the_champion_was_trained_on(bench: Bench) -> None:
    kept = trained_snapshots(bench.settings)
    trained_on = registry_of(bench).version(PROPENSITY, "1").snapshots
    assert trained_on.keys() == {"features.customer_features", "published.fct_orders"}
    assert all(snapshot in kept[table] for table, snapshot in trained_on.items())


def test_a_version_that_comes_out_differently_says_why(bench: Bench) -> None:
    printed = bench.cartograph("models", "reproduce", PROPENSITY, "2", expect=1)
    assert "comes out differently" in printed
    assert "trained by the code of commit earlier" in printed
    client = registry_of(bench)._client()
    client.set_model_version_tag(PROPENSITY, "3", "snapshot.published.fct_orders", "1")
    gone = bench.cartograph("models", "reproduce", PROPENSITY, "3", expect=1)
    assert "its data are gone. published.fct_orders has no snapshot 1" in gone


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compare", "oracle"), "There is no model 'oracle'. There are: campaign_uplift, customer_lifetime_value, "),
        (("rollback", "oracle"), "There is no model 'oracle'"),
        (("promote", PROPENSITY, "9", *BECAUSE), "has no version 9: there are 1, 2, 3"),
        (("reproduce", PROPENSITY, "9"), "has no version 9"),
    ],
)
def test_a_mistake_is_named(bench: Bench, arguments: tuple[str, ...], message: str) -> None:
    printed = bench.cartograph("models", *arguments, expect=2)
    assert message in printed
    assert "Traceback" not in printed


def test_a_shop_that_has_no_model_is_told_so_and_nothing_is_made(tmp_path: Path) -> None:
    shop = Bench.with_corner_shop(tmp_path)
    assert "No model yet" in shop.cartograph("models", "list")
    assert json.loads(shop.cartograph("models", "list", "--json")) == []
    assert "corner_shop has no model yet" in shop.cartograph("models", "rollback", PROPENSITY, expect=2)
    assert not (shop.root / "home").exists()
