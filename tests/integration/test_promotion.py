"""The gate at work in code location 2: what is trained, promoted, scored and released, and what a person changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import dagster as dg
import pyarrow as pa
import pytest

from cartograph.lake import Lake
from cartograph.releases import open_store
from cartograph.releases.contents.files import CUSTOMERS
from cartograph.releases.contents.tables import open_customers
from cartograph.settings import get_settings
from cartograph.windows import Window, at_midnight
from tests.graph.ml_location import failure, guard, key, location_in, run
from tests.model.planted import planted_shop, publish

MODEL = "churn_classifier"
TRAIN = ("models/churn_classifier", "predictions/churn_scores", "serving/release")
SHADOW = "predictions.churn_scores_shadow"
EARLY = ("2024-02-01", "2024-04-01")
"""As-of dates at which the shop is too young for a model: all that a release is made of is there, at little cost."""


class Shop:
    """The location on a planted shop, run for the first dates, and then once for all with one model."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        from ml_assets.core.registry import ModelRegistry

        self.definitions, self.instance, self.settings = definitions, instance, get_settings()
        self.registry = ModelRegistry(self.settings.resolved_mlflow_uri)
        self.lake = Lake.from_settings(self.settings)
        planted = planted_shop(1500)
        publish(planted, self.lake)
        guard(instance, self.lake, *planted.marts)
        assert run(definitions, instance, dates=EARLY).success
        self.whole = self.run("features/customer_features", *TRAIN)
        self.first_decisions, self.first_released = self.registry.log(MODEL), self.released()
        self.had_shadow = self.lake.exists(SHADOW)

    def run(self, *assets: str) -> dg.ExecuteInProcessResult:
        return run(self.definitions, self.instance, *assets)

    def released(self) -> tuple[str, set[str]]:
        """The version of the released model, and those by which the released customers were scored."""
        store = open_store(self.settings)
        manifest = store.current()
        customers = open_customers(store.fetch(manifest.release_id) / CUSTOMERS)
        return manifest.inputs.models[MODEL], set(customers["churn_model_version"].drop_null().to_pylist())

    def state(self) -> State:
        champion, decisions = self.registry.aliases(MODEL)["champion"], len(self.registry.log(MODEL))
        return State(champion, decisions, open_store(self.settings).current_id(), self.released())

    def shadowed(self) -> set[str]:
        rows = self.lake.batches(SHADOW).read_all()
        return set(rows["churn_model_version"].to_pylist())


def check_of(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (found,) = (
        one
        for one in result.get_asset_check_evaluations()
        if (one.check_name, one.asset_key) == ("challenger_is_fit", key(f"models/{MODEL}"))
    )
    return found


def said_of_promotion(result: dg.ExecuteInProcessResult) -> str:
    (found,) = (
        event.materialization.metadata["promotion"].value
        for event in result.get_asset_materialization_events()
        if event.asset_key == key(f"models/{MODEL}")
    )
    return found


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with location_in(tmp_path_factory.mktemp("promotion")) as location:
        yield Shop(*location)


class State(NamedTuple):
    """Who is the champion, by how many decisions, and what is released."""

    champion: str
    decisions: int
    release_id: str
    released: tuple[str, set[str]]


class Challenge(NamedTuple):
    """A training of a worse model, what was there before and after it, and the versions that predict aside."""

    result: dg.ExecuteInProcessResult
    before: State
    after: State
    version: str
    shadowed: set[str]


@contextmanager
def worse_training() -> Iterator[None]:
    """Every third label is taken for a churned customer: it ranks nearly as well, and is wrong about how many churn."""
    from ml_assets.core.models import churn, classifier

    sound = classifier.train

    def mistaught(question: Any, rows: pa.Table, names: Sequence[str]) -> Any:
        if question is churn.QUESTION:
            labels = classifier.target(question, rows).copy()
            labels[::3] = 1
            rows = rows.set_column(rows.schema.get_field_index("churned"), "churned", pa.array(labels))
        return sound(question, rows, names)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "train", mistaught)
        yield


@pytest.fixture(scope="module")
def challenged(shop):
    before = shop.state()
    with worse_training():
        result = shop.run(*TRAIN)
    return Challenge(result, before, shop.state(), shop.registry.aliases(MODEL)["challenger"], shop.shadowed())


@pytest.fixture
def other_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """As good a training that gives other bytes."""
    from ml_assets.core.models import classifier

    sound = classifier.boosting
    monkeypatch.setattr(classifier, "boosting", lambda rows: sound(rows) | {"max_iter": sound(rows)["max_iter"] - 1})


def test_the_first_model_becomes_the_champion_by_its_checks_alone(shop):
    assert shop.whole.success
    assert said_of_promotion(shop.whole) == "promoted: it passed its checks, and there is no champion yet"
    (decision,) = shop.first_decisions
    assert (decision.version, decision.previous, decision.is_gate) == ("1", None, True)
    assert decision.by == f"training run {shop.whole.run_id}"
    assert check_of(shop.whole).passed
    assert shop.first_released == ("1", {"1"})
    assert not shop.had_shadow, "nothing waits"


def test_a_worse_challenger_is_neither_promoted_nor_released(shop, challenged):
    assert challenged.result.success, "nothing blocks: the champion goes on"
    assert shop.registry.version(MODEL, challenged.version).failed == (), "its own checks pass: the gate decides"
    assert said_of_promotion(challenged.result).startswith("refused: ")
    found = check_of(challenged.result)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert challenged.after == challenged.before
    assert challenged.version != challenged.after.champion
    assert challenged.shadowed == {challenged.version}, "it predicts aside, to be held against what happens"


def test_the_predictions_of_both_are_held_against_what_came(shop, challenged):
    """Those for a date of five months ago, as either would have made them."""
    from ml_assets.core.models.churn_scores import churn_scores
    from ml_assets.core.monitoring.quality import side_by_side

    champion, challenger = challenged.before.champion, challenged.version
    may, june = date(2025, 5, 1), date(2025, 6, 1)
    with shop.lake.connect() as con:
        features = shop.lake.relation_sql("features.customer_features")
        for version, table in ((champion, "predictions.churn_scores"), (challenger, SHADOW)):
            rows = churn_scores(con, features, shop.registry.load(MODEL, version), may)
            with shop.lake.overwriting(table, Window(at_midnight(may), at_midnight(june))) as writer:
                writer.write(rows)
    result = shop.run("monitoring/churn_quality")
    assert result.success
    table = shop.lake.batches("monitoring.churn_quality").read_all()
    assert set(zip(table["role"].to_pylist(), table["model_version"].to_pylist(), strict=True)) == {
        ("champion", champion),
        ("challenger", challenger),
    }
    as_of, figures = side_by_side(table, champion, challenger)
    assert as_of == may
    assert figures["brier"][0] < figures["brier"][1], "the challenger takes too many for gone"
    assert figures["churned_rate"][0] == figures["churned_rate"][1], "of the same customers"
    (held,) = result.get_asset_check_evaluations()
    assert held.metadata["brier"].value == figures["brier"][0], "the champion is judged"


def test_training_the_champion_again_changes_nothing(shop):
    before = shop.state()
    result = shop.run(*TRAIN)
    assert said_of_promotion(result) == "kept: it is the champion already"
    assert shop.state() == before


@pytest.mark.usefixtures("other_training")
def test_a_person_promotes_and_a_rollback_reaches_the_next_release(shop):
    def decide(**more: Any) -> dict[str, Any]:
        return {"by": "ada", "reason": "as agreed on Monday", "at": datetime(2026, 1, 5, tzinfo=UTC)} | more

    before = shop.state()
    assert shop.run(*TRAIN).success
    version = shop.registry.latest(MODEL).version
    assert shop.registry.latest(MODEL).verdict.outcome != "promoted", "as good is not better"
    shop.registry.promote(MODEL, version, is_gate=False, evidence={}, **decide())

    refused = shop.run("serving/release")
    assert f"and the champion is version {version}" in failure(refused, "serving__release")
    assert shop.run("predictions/churn_scores", "serving/release").success
    assert shop.released() == (version, {version})

    decision = shop.registry.roll_back(MODEL, **decide(by="bob"))
    assert (decision.version, decision.previous, decision.by) == (before.champion, version, "bob")
    again = shop.run(*TRAIN)
    assert said_of_promotion(again).startswith("kept: somebody has put another version in its place")
    assert shop.released() == before.released
    assert [found.action for found in shop.registry.log(MODEL)][before.decisions :] == ["promoted", "rolled back"]


def test_a_champion_that_takes_a_feature_that_is_gone_has_to_go(shop):
    from ml_assets.core.registry import NoModel
    from ml_assets.defs.training import steps

    def broken(_: Any) -> None:
        raise NoModel("Version 1 takes loyalty_score, which the feature table does not have.")

    candidate = steps.Candidate(MODEL, b"", {}, "onnx", broken)
    found = steps.compare(shop.registry, candidate, shop.state().champion)
    assert (found.outcome, "loyalty_score" in found.reason) == ("promoted", True)


def test_what_fails_a_check_that_blocks_is_refused_and_does_not_even_wait(shop, monkeypatch):
    from ml_assets.core.models import churn, classifier

    knows = lambda rows: classifier.target(churn.QUESTION, rows).astype(float)  # noqa: E731 - a rule as any
    monkeypatch.setitem(churn.QUESTION.rules, "recency_rule", knows)
    before = shop.state()
    result = shop.run("models/churn_classifier")
    assert said_of_promotion(result) == "refused: it did not pass beats_baseline"
    assert shop.registry.latest(MODEL).failed == ("beats_baseline",)
    assert shop.state() == before
