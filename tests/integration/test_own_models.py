"""A shop's own model through code location 2: trained, released, served; a worse one, a leak, a bad file stopped."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
import yaml

from cartograph.lake import Lake
from cartograph.releases import open_store
from cartograph.releases.contents.files import OWN_PREDICTIONS
from cartograph.releases.contents.tables import PREDICTION_COLUMNS, open_lists
from cartograph.settings import get_settings
from cartograph.windows import Window, at_midnight
from ml_assets.core.monitoring.backtests import POINTS
from tests.api.making import problem, service
from tests.graph.ml_location import failure, forget_location, guard, key, load_location, location_in, materialized, run
from tests.model.planted import planted_shop, publish

EXAMPLE = Path(__file__).parents[2] / "models" / "refund_soon.yaml"
LARGE = {
    "description": "Who orders for more than 60 within 30 days.",
    "owner": "team:marketing",
    "target": {
        "events": "select customer_id, ordered_at as happened_at from fct_orders -- that stand\n"
        "where total_amount > 60 and not is_cancelled;",
        "within_days": 30,
    },
    "features": ["recency_days", "orders_180d", "orders_count", "spend_365d_amount", "mean_gap_days"],
    "estimator": {"path": "sklearn.linear_model.LogisticRegression", "params": {"C": 0.5}},
    "baseline": {"feature": "spend_amount"},
}
REFUND = LARGE | {
    "target": {"events": "select customer_id, refunded_at as happened_at from fct_refunds", "within_days": 30}
}
FEATURES, MODEL, PREDICTIONS = "features/customer_features", "models/large_order", "predictions/large_order_predictions"


def write(folder: Path, **files: dict) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


class Shop:
    """The location with one own model, and what a run of that gave."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        from ml_assets.core.registry import ModelRegistry

        self.definitions, self.instance, self.settings = definitions, instance, get_settings()
        self.registry = ModelRegistry(self.settings.resolved_mlflow_uri)
        self.lake = Lake.from_settings(self.settings)
        planted = planted_shop(1500)
        publish(planted, self.lake)
        guard(instance, self.lake, *planted.marts)
        self.first = run(definitions, instance, FEATURES, MODEL, PREDICTIONS)

    def train(self, name: str, *only: str, **changed: object) -> dg.ExecuteInProcessResult:
        """Train and score another own model, on the features that are there, or make `only` these of its assets."""
        from ml_assets.components import CustomerModel
        from ml_assets.defs.resources import defs as resources

        made = CustomerModel.resolve_from_dict({"name": name, **LARGE, **changed}).build_defs(None)
        job = dg.Definitions.merge(made, resources()).resolve_implicit_global_asset_job_def()
        chosen = only or (f"models/{name}", f"predictions/{name}_predictions")
        return job.execute_in_process(
            instance=self.instance, raise_on_error=False, asset_selection=[key(one) for one in chosen]
        )

    def predicted(self, table: str, month: int, rows: pa.Table) -> None:
        """Write the predictions `rows` as if they had been made on the first of a month of 2025."""
        as_of, until = date(2025, month, 1), date(2025, month + 1, 1)
        place = rows.schema.get_field_index("as_of_date")
        with self.lake.overwriting(table, Window(at_midnight(as_of), at_midnight(until))) as writer:
            writer.write(rows.set_column(place, "as_of_date", pa.array([as_of] * len(rows))))


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    environment = {"CARTOGRAPH_MODELS_DIR": write(folder / "models", large_order=LARGE, refunded=REFUND)}
    with location_in(folder, environment=environment) as location:
        yield Shop(*location)


def rows(shop: Shop) -> list[dict]:
    return shop.lake.batches("predictions.large_order_predictions").read_all().to_pylist()


def failed(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {found.check_name: found for found in result.get_asset_check_evaluations() if not found.passed}


def test_a_file_becomes_a_model_with_checks_a_champion_and_predictions(shop):
    assert shop.first.success
    assert materialized(shop.first) == {FEATURES, MODEL, PREDICTIONS}
    found = {one.check_name for one in shop.first.get_asset_check_evaluations() if one.asset_key == key(MODEL)}
    assert found == {
        "has_enough_data", "beats_baseline", "onnx_parity", "no_leaking_feature", "is_calibrated", "challenger_is_fit",
    }  # fmt: skip
    version = shop.registry.version("large_order", "1")
    assert (version.aliases, version.failed) == (("champion",), ())
    card = shop.registry.load("large_order", "1").card
    assert {feature["name"] for feature in card["features"]} == set(LARGE["features"])
    assert card["metrics"]["auc"] > card["baseline_metrics"]["spend_amount_rule.auc"]


def share_of(shop: Shop, as_of: date, amount: int) -> float:
    """The share of a date's customers who order for more than `amount` within 30 days, by the orders themselves."""
    with shop.lake.connect() as con:
        features = shop.lake.relation_sql("features.customer_features")
        orders = shop.lake.relation_sql("published.fct_orders")
        (share,) = con.execute(
            f"""
            SELECT avg(CAST(EXISTS (
                FROM ({orders}) o WHERE o.customer_id = f.customer_id AND o.total_amount > $amount
                    AND NOT o.is_cancelled AND o.order_date >= f.as_of_date AND o.order_date < f.as_of_date + 30
            ) AS INT)) FROM ({features}) f WHERE as_of_date = $as_of""",
            {"as_of": as_of, "amount": amount},
        ).fetchone()
    return share


def test_its_label_is_what_its_target_says(shop):
    """The share of the holdout that it is true of."""
    card = shop.registry.load("large_order", "1").card
    share = share_of(shop, date.fromisoformat(card["as_of"]), 60)
    assert card["metrics"]["is_positive_rate"] == pytest.approx(share)
    assert 0 < share < 1


def test_the_model_is_made_again_from_its_registry_entry_alone(shop):
    from ml_assets.core.models.export import sha256
    from ml_assets.core.models.recipes import rebuild

    version = shop.registry.version("large_order", "1")
    assert sha256(rebuild(version, shop.lake)) == version.sha256


def test_a_model_that_needs_what_the_shop_does_not_deliver_is_left_out(shop):
    assert key("models/refunded") not in shop.definitions.resolve_asset_graph().get_all_asset_keys()


def test_one_that_is_worse_than_its_baseline_is_blocked(shop):
    """Its feature tells nothing of orders; the baseline's does."""
    result = shop.train("worse", features=["email_opt_in"], baseline={"feature": "recency_days", "order": "ascending"})
    assert not result.success
    found = failed(result)["beats_baseline"]
    assert found.blocking
    assert "that of the recency days rule" in found.description
    assert shop.registry.aliases("worse") == {}
    assert shop.registry.latest("worse").failed == ("beats_baseline",)
    assert not shop.lake.exists("predictions.worse_predictions")


def test_a_feature_that_knows_the_answer_is_caught(shop):
    """The target is who wants e-mail, on each day on which anybody orders: no fact of before says that day."""
    events = (
        "select c.customer_id, o.ordered_at as happened_at from dim_customers c "
        "join (select min(ordered_at) as ordered_at from fct_orders group by order_date) o "
        "on o.ordered_at >= c.registered_at where is_email_opt_in"
    )
    result = shop.train(
        "leaking", features=["email_opt_in", "recency_days"], target={"events": events, "within_days": 30}
    )
    assert not result.success
    found = failed(result)["no_leaking_feature"]
    assert "email_opt_in alone has an AUC of 1.000" in found.description
    assert shop.registry.aliases("leaking") == {}


@pytest.mark.parametrize(
    ("name", "happened_at", "said"),
    [
        ("shifted", "ordered_at + interval 60 day", "what it asks is known before"),
        ("backwards", "ordered_at - interval 60 day", "what comes after a window decides on it"),
    ],
)
def test_a_target_whose_labels_are_not_of_their_windows_is_not_trained(shop, name, happened_at, said):
    events = f"select customer_id, {happened_at} as happened_at from fct_orders"
    result = shop.train(name, target={"events": events, "within_days": 30})
    assert failure(result, f"models__{name}").startswith(f"target.events: {said}: ")
    assert name not in shop.registry.names()


def test_what_a_target_cannot_read_is_one_message(shop):
    target = {"events": "select customer_id, paid_at as happened_at from fct_orders", "within_days": 30}
    result = shop.train("wrong_column", target=target)
    said = failure(result, "models__wrong_column")
    assert "target.events: its SELECT cannot be run" in said
    assert "paid_at" in said


def test_a_target_reaches_no_file_but_the_lakes(shop):
    """The parser lets no function of files through; were there a way, the connection has none."""
    import duckdb

    with shop.lake.connect_shut_in() as con:
        for sql in ("FROM read_text('/etc/hostname')", "COPY (SELECT 1) TO '/tmp/x.csv'", "SET threads = 1"):
            with pytest.raises(duckdb.Error, match=r"disabled|locked|Permission"):
                con.execute(sql)


def test_training_again_changes_nothing(shop):
    before = rows(shop)
    assert run(shop.definitions, shop.instance, MODEL, PREDICTIONS).success
    assert len(shop.registry.versions("large_order")) == 1
    assert rows(shop) == before


def test_a_champion_of_another_question_is_no_opponent_and_predicts_nothing(shop):
    """A file whose target or population was changed was judged against, and answered by, what it had asked before."""
    changed = {"population": "orders_90d = 0", "baseline": None}
    predictions = "predictions/spent_much_predictions"
    assert shop.train("spent_much").success
    table = shop.lake.batches(predictions.replace("/", ".")).read_all()
    assert set(table["model_version"].to_pylist()) == {"1"}
    assert shop.train("spent_much", predictions, **changed).success
    assert not shop.lake.batches(predictions.replace("/", ".")).read_all().num_rows
    assert shop.train("spent_much", **changed).success
    promoted = shop.registry.versions("spent_much")[-1]
    assert (promoted.aliases, promoted.verdict.outcome) == (("champion",), "promoted")
    assert "another target or population" in promoted.verdict.reason
    assert shop.lake.batches(predictions.replace("/", ".")).read_all().num_rows


def test_a_target_that_is_written_otherwise_and_gives_the_same_labels_has_a_model(shop):
    """Its bytes are those of the version before, of which nobody knows that it was asked the same."""
    events = LARGE["target"]["events"]
    again = {"target": LARGE["target"] | {"events": events.replace("that stand", "not cancelled")}}
    assert shop.train("reworded").success
    assert shop.train("reworded", **again).success
    table = shop.lake.batches("predictions.reworded_predictions").read_all()
    assert set(table["model_version"].to_pylist()) == set(shop.registry.aliases("reworded").values())


def test_it_is_watched_by_its_owner_from_the_marts_of_its_target(shop):
    graph = shop.definitions.resolve_asset_graph()
    marts = {key(FEATURES), key("published/fct_orders")}
    assert graph.get(key("monitoring/large_order_backtest")).parent_keys == marts
    assert graph.get(key("monitoring/large_order_quality")).parent_keys == marts | {key(PREDICTIONS)}
    assert {tuple(graph.get(key(f"monitoring/large_order_{one}")).owners) for one in ("backtest", "quality")} == {
        (LARGE["owner"],)
    }
    absent = {key("monitoring/refunded_backtest"), key("monitoring/refunded_quality")}
    assert not absent & graph.get_all_asset_keys(), "the shop delivers no refunds"


def test_its_recipe_is_tried_at_past_dates(shop):
    result = run(shop.definitions, shop.instance, "monitoring/large_order_backtest")
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert check.passed, check.description
    table = shop.lake.batches("monitoring.large_order_backtest").read_all().to_pylist()
    bars = [row for row in table if row["metric"] == "auc"]
    assert len(bars) == POINTS
    rules = {row["as_of_date"]: row["value"] for row in table if row["metric"] == "spend_amount_rule_auc"}
    assert {row["as_of_date"]: row["at_least"] for row in bars} == rules


def test_its_predictions_are_held_against_what_came_and_those_for_another_target_are_not(shop):
    """Those for dates of months ago, as either version would have made them; the first was asked of more than 60."""
    more = {"target": LARGE["target"] | {"events": LARGE["target"]["events"].replace("> 60", "> 30")}}
    quality, predictions = "monitoring/outgrown_quality", "predictions.outgrown_predictions"
    assert shop.train("outgrown").success
    first = shop.lake.batches(predictions).read_all()
    assert shop.train("outgrown", **more).success
    second = shop.lake.batches(predictions).read_all()
    assert {"1"} == set(first["model_version"].to_pylist())
    assert {"2"} == set(second["model_version"].to_pylist())
    shop.predicted(predictions, 5, second)
    shop.predicted(predictions, 6, first)
    result = shop.train("outgrown", quality, **more)
    assert result.success
    table = shop.lake.batches(quality.replace("/", ".")).read_all().to_pylist()
    assert {(row["as_of_date"], row["model_version"]) for row in table} == {(date(2025, 5, 1), "2")}
    found = {row["metric"]: row["value"] for row in table}
    assert found["is_positive_rate"] == pytest.approx(share_of(shop, date(2025, 5, 1), 30))
    assert shop.train("outgrown", quality).success, "the file asks as it did at first"
    table = shop.lake.batches(quality.replace("/", ".")).read_all().to_pylist()
    assert {(row["as_of_date"], row["model_version"]) for row in table} == {(date(2025, 6, 1), "1")}
    found = {row["metric"]: row["value"] for row in table}
    assert found["is_positive_rate"] == pytest.approx(share_of(shop, date(2025, 6, 1), 60))


def test_what_came_of_the_predictions_of_two_versions_is_compared(shop):
    """The champion's, and aside the challenger's, which knows less."""
    from cartograph.cli.models import realised

    table = "predictions.compared_predictions"
    assert shop.train("compared").success
    assert shop.train("compared", features=["orders_count"], baseline=None).success
    assert shop.registry.aliases("compared") == {"champion": "1", "challenger": "2"}
    assert realised(shop.settings, "compared", "1", "2") is None, "no outcome is known yet"
    for one in (table, f"{table}_shadow"):
        shop.predicted(one, 6, shop.lake.batches(one).read_all())
    assert shop.train("compared", "monitoring/compared_quality").success
    as_of, figures = realised(shop.settings, "compared", "1", "2")
    assert as_of == date(2025, 6, 1)
    assert figures["auc"][0] > figures["auc"][1]
    assert figures["is_positive_rate"] == (pytest.approx(share_of(shop, as_of, 60)),) * 2


def test_the_release_has_it_and_the_api_predicts_as_the_batch_did(shop):
    """After a run of all the rest of the location."""
    assert run(shop.definitions, shop.instance).success
    store = open_store(shop.settings)
    manifest = store.current()
    released = open_lists(store.fetch(manifest.release_id) / OWN_PREDICTIONS, PREDICTION_COLUMNS).to_pylist()
    scored = {row["customer_id"]: row for row in rows(shop)}
    assert manifest.inputs.models["large_order"] == "1"
    assert {row["customer_id"] for row in released} == set(scored)
    assert any(check.asset_key == MODEL and check.name == "beats_baseline" for check in manifest.inputs.checks)
    with service(shop.settings) as client:
        card = next(one for one in client.get("/v1/release").json()["models"] if one["name"] == "large_order")
        for row in released[:25]:
            customer = client.get(f"/v1/customers/{row['customer_id']}").json()
            given = {feature["name"]: customer["features"][feature["name"]] for feature in card["features"]}
            answer = client.post("/v1/predict/large_order", json={"features": given})
            assert answer.status_code == 200, answer.text
            expected = scored[row["customer_id"]]["probability"]
            assert answer.json()["probability"] == pytest.approx(expected, abs=1e-6)
            assert customer["predictions"]["large_order"]["probability"] == expected
        unknown = client.post("/v1/predict/small_order", json={"features": {}})
        assert "it has large_order" in problem(unknown, 404, "no-model")["detail"]
        problem(client.post("/v1/predict/large_order", json={"features": {"recency_days": 3}}), 422, "invalid-request")


def test_a_file_that_cannot_be_used_is_an_asset_that_says_so_and_all_else_is_there(monkeypatch, tmp_path):
    worse = LARGE | {"features": ["recency_day"]}
    folder = write(
        tmp_path / "models", bad_one=worse, churn_classifier=LARGE, refund_soon=yaml.safe_load(EXAMPLE.read_text())
    )
    monkeypatch.setenv("CARTOGRAPH_MODELS_DIR", str(folder))
    definitions = load_location(monkeypatch, tmp_path)
    graph = definitions.resolve_asset_graph()
    released = graph.get(key("serving/release")).parent_keys
    assert {key("models/bad_one"), key("models/unusable_churn_classifier_yaml")} <= released
    assert key("models/churn_classifier") in released
    assert key("models/refund_soon") not in released, (
        "the planted shop delivers no refunds, of which it takes a feature"
    )
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        result = run(definitions, instance, "models/bad_one")
    said = failure(result, "models__bad_one")
    assert said.startswith(
        f"{folder / 'bad_one.yaml'}: features: there is no customer feature recency_day. Is recency_days"
    )
    monkeypatch.undo()
    forget_location()
