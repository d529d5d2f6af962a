"""Causal questions through code location 2: answered, refused without an estimate, abstaining, or failing."""

from __future__ import annotations

import json

import dagster as dg
import pytest
import yaml

from cartograph.lake import Lake
from cartograph.settings import get_settings
from tests.graph.ml_location import failure, forget_location, guard, key, load_location, materialized, run
from tests.model.planted import EFFECT, NO_OVERLAP, OBSERVED, SELECTED, planted_shop, publish

WINBACK = {
    "description": "What does the win-back e-mail add?",
    "owner": "team:marketing",
    "treatment": {"campaign": OBSERVED},
    "outcome": {"measure": "net_spend", "within_days": 14},
    "population": "email_opt_in is distinct from 0",
}
QUESTIONS = {
    "winback": WINBACK,
    "to_all": WINBACK | {"treatment": {"campaign": NO_OVERLAP}},
    "by_hunch": WINBACK | {"treatment": {"campaign": SELECTED}, "unrecorded": ["a hunch"]},
    "never_sent": WINBACK | {"treatment": {"campaign": "email_of_next_year"}},
    "of_refunds": WINBACK
    | {"outcome": {"select": "select customer_id, refunded_at as happened_at, amount from fct_refunds"}},
    "elsewhere": WINBACK | {"shops": ["another"]},
    "misspelt": {**WINBACK, "treatmnt": {}},
    "no_column": WINBACK | {"outcome": {"select": "select customer_id, ordered_at as happened_at from fct_orders"}},
}
FEATURES, SHARED = "features/customer_features", "causal/customers_as_of"


class Shop:
    """The location with these questions, and what a run of them gave."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.definitions, self.settings = definitions, get_settings()
        self.lake = Lake.from_settings(self.settings)
        planted = planted_shop(1500)
        publish(planted, self.lake)
        guard(instance, self.lake, *planted.marts)
        self.causal = sorted(
            one.to_user_string()
            for one in definitions.resolve_asset_graph().get_all_asset_keys()
            if (one.path[0] == "causal" and one.path[1] in {"customers_as_of", "product_weeks", "misspelt"})
            or one.path[1].removesuffix("_panel") in QUESTIONS
        )
        self.result = run(definitions, instance, FEATURES, *self.causal)

    def row(self, question: str) -> dict:
        (found,) = self.lake.batches(f"causal.{question}").read_all().to_pylist()
        return found

    def metadata(self, asset: str) -> dict:
        (found,) = [e for e in self.result.get_asset_materialization_events() if e.asset_key == key(asset)]
        return found.materialization.metadata

    def failed(self, question: str) -> set[str]:
        return {
            one.check_name
            for one in self.result.get_asset_check_evaluations()
            if one.asset_key == key(f"causal/{question}") and not one.passed
        }


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    patch, folder = pytest.MonkeyPatch(), tmp_path_factory.mktemp("questions")
    place = folder / "questions"
    place.mkdir()
    for name, content in QUESTIONS.items():
        (place / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    patch.setenv("CARTOGRAPH_QUESTIONS_DIR", str(place))
    definitions = load_location(patch, folder)
    with dg.DagsterInstance.ephemeral(tempdir=str(folder)) as instance:
        yield Shop(definitions, instance)
    patch.undo()
    forget_location()


def test_each_file_that_the_shop_has_the_data_for_becomes_a_panel_and_an_answer(shop):
    asked = {"winback", "to_all", "by_hunch", "never_sent", "no_column"}
    assert set(shop.causal) == {SHARED, "causal/misspelt"} | {
        f"causal/{name}{part}" for name in asked for part in ("", "_panel")
    }


def test_an_identified_effect_is_stored_with_its_interval_its_memo_and_its_pictures(shop):
    row, told = shop.row("winback"), shop.metadata("causal/winback")
    assert row["verdict"] == "identified", row["memo"]
    assert row["ci_low"] <= EFFECT <= row["ci_high"]
    assert shop.failed("winback") == set()
    assert "**IDENTIFIED**" in row["memo"]
    assert "| Treatment | was sent email_winback |" in row["memo"]
    assert {"picture_graph", "picture_overlap", "picture_effects", "picture_tests"} <= set(told)
    assert "![" not in told["memo"].value, "the UI serves no files beside the text"


@pytest.mark.parametrize(("question", "check"), [("to_all", "has_overlap"), ("by_hunch", "choice_is_recorded")])
def test_an_effect_that_is_not_identified_has_no_number_anywhere(shop, question, check):
    row = shop.row(question)
    assert check in shop.failed(question)
    assert "refused_has_no_estimate" not in shop.failed(question)
    assert (row["verdict"], row["estimate"], row["ci_low"], row["ci_high"]) == ("not identified", None, None, None)
    effect, answer = json.loads(row["effect"]), json.loads(row["answer"])
    assert (effect["estimate"], effect["ci_low"], effect["ci_high"]) == (None, None, None)
    assert effect["reasons"]
    assert answer["finding"]["estimates"] == []
    assert "do not act on any number" in row["memo"]
    assert "effects.svg" not in row["memo"]


def test_a_question_without_data_abstains_and_says_so(shop):
    told = shop.metadata("causal/never_sent")
    assert told["abstained"].value.startswith("No campaign email_of_next_year with 14 whole days")
    assert shop.failed("never_sent") == set()
    assert shop.lake.batches("causal.never_sent").read_all().num_rows == 0


def test_files_that_cannot_be_used_fail_with_the_cure_and_nothing_else_does(shop):
    assert "treatmnt: there is no such key. Is treatment meant?" in failure(shop.result, "causal__misspelt")
    assert "outcome.select: its SELECT gives customer_id, happened_at, and needs amount" in failure(
        shop.result, "causal__no_column"
    )
    assert {"causal/winback", "causal/to_all", "causal/by_hunch"} <= materialized(shop.result)


def test_panels_hold_what_was_known_before_the_treatment(shop):
    with shop.lake.connect() as con:
        panel = shop.lake.relation_sql("causal.winback_panel")
        events = shop.lake.relation_sql("published.fct_events")
        late, treated = con.execute(
            f"SELECT count(*) FILTER (as_of_date > CAST(asked_at AS DATE)), sum(treatment) FROM ({panel})"
        ).fetchone()
        sent = con.execute(
            f"""SELECT count(DISTINCT customer_id) FROM ({events}) JOIN ({panel}) USING (customer_id)
            WHERE event_type = 'email_sent' AND campaign_id = '{OBSERVED}'"""
        ).fetchone()[0]
    assert late == 0
    assert treated == sent > 100
