"""The whole of code location 2 run on a planted shop: its release, its repetition, and what stops it."""

from __future__ import annotations

from typing import Any

import dagster as dg
import numpy as np
import pytest

from cartograph.lake import Lake
from cartograph.releases import open_store
from cartograph.releases.contents.base import ShopCard
from cartograph.releases.contents.causal import EFFECTS
from cartograph.releases.contents.files import (
    CHURN_CARD,
    CHURN_MODEL,
    CLV_CARD,
    CLV_MODEL,
    CUSTOMERS,
    DEMAND,
    DEMAND_CARD,
    EFFECTS_FILE,
    PROPENSITY_CARD,
    PROPENSITY_MODEL,
    RECOMMENDATIONS,
    RECOMMENDER,
    RECOMMENDER_CARD,
    REORDER,
    SHOP,
    SIMILAR,
    explanation_file,
)
from cartograph.releases.contents.models import ModelCard
from cartograph.releases.contents.tables import open_customers, open_products
from cartograph.settings import get_settings
from tests.graph.cards import judge_card
from tests.graph.ml_location import failure, guard, location_in, materialized, run
from tests.model.planted import PRODUCTS, SHELVES, own_weekday, planted_shop, publish

QUESTIONS = (
    "email_winback_spend", "email_winback_conversion",
    "price_elasticity", "discount_units", "discount_margin", "stock_out_units",
)  # fmt: skip
"""The questions that Cartograph ships for each shop, of which this one has the data."""
ASSETS = {
    "features/customer_features",
    "features/product_features",
    "features/customer_product_interactions",
    "models/churn_classifier",
    "predictions/churn_scores",
    "models/customer_lifetime_value",
    "predictions/lifetime_values",
    "monitoring/customer_feature_drift",
    "monitoring/churn_backtest",
    "monitoring/churn_quality",
    "monitoring/propensity_backtest",
    "monitoring/propensity_quality",
    "monitoring/lifetime_value_backtest",
    "monitoring/lifetime_value_quality",
    "monitoring/demand_quality",
    "monitoring/recommendation_quality",
    "monitoring/served_predictions",
    "models/customer_segments",
    "predictions/customer_segments",
    "models/purchase_propensity",
    "predictions/purchase_propensities",
    "models/product_recommender",
    "predictions/product_recommendations",
    "predictions/similar_products",
    "features/daily_demand",
    "models/demand_forecaster",
    "predictions/demand_forecasts",
    "predictions/demand_explanations",
    "predictions/reorder_advice",
    "causal/customers_as_of",
    "causal/product_weeks",
    *(f"causal/{name}{part}" for name in QUESTIONS for part in ("", "_panel")),
    "causal/email_winback_spend_policy",
    "models/campaign_uplift",
    "predictions/next_best_actions",
    "serving/kpis",
    "serving/release",
}
FEATURES = "features.customer_features"
CAUSAL = {"causal.customers_as_of", "causal.email_winback_spend_policy", *(f"causal.{name}" for name in QUESTIONS)}
DEMAND_TABLES = {
    "features.daily_demand",
    "predictions.demand_forecasts",
    "predictions.demand_explanations",
    "predictions.reorder_advice",
}


class Shop:
    """The location's definitions, its instance, and what the first runs gave."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.definitions, self.instance = definitions, instance
        self.settings = get_settings()
        self.lake = Lake.from_settings(self.settings)
        planted = planted_shop(1500)
        publish(planted, self.lake)
        guard(instance, self.lake, *planted.marts)
        self.young = self.run(dates=EARLY)
        self.young_release = open_store(self.settings).current()
        self.whole = self.run()

    def run(self, *assets: str, dates: tuple[str, str] | None = None) -> dg.ExecuteInProcessResult:
        return run(self.definitions, self.instance, *assets, dates=dates)

    def tracked(self) -> list:
        import mlflow

        client = mlflow.MlflowClient(self.settings.resolved_mlflow_uri)
        return client.search_runs([found.experiment_id for found in client.search_experiments()])

    def run_of_model(self, run_id: str) -> Any:
        """The MLflow run of the churn model in a Dagster run."""
        tags = {"dagster_run_id": run_id, "dagster_asset_key": "models/churn_classifier"}
        (found,) = (one for one in self.tracked() if tags.items() <= one.data.tags.items())
        return found

    def versions(self) -> list:
        import mlflow

        return mlflow.MlflowClient(self.settings.resolved_mlflow_uri).search_model_versions("name='churn_classifier'")


MODELS = (
    "churn_classifier", "purchase_propensity", "customer_segments", "customer_lifetime_value", "product_recommender",
    "demand_forecaster", "campaign_uplift",
)  # fmt: skip
EARLY = ("2024-02-01", "2024-04-01")
OF_MODELS = (
    CHURN_MODEL, CHURN_CARD, RECOMMENDER, RECOMMENDER_CARD, RECOMMENDATIONS, SIMILAR, DEMAND, DEMAND_CARD, REORDER,
    PROPENSITY_MODEL, PROPENSITY_CARD, CLV_MODEL, CLV_CARD, explanation_file("churn_classifier"),
    explanation_file("purchase_propensity"), explanation_file("customer_lifetime_value"),
)  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with location_in(tmp_path_factory.mktemp("ml")) as location:
        yield Shop(*location)


def test_a_young_shop_is_released_without_a_model_and_told_why(shop):
    assert shop.young.success
    assert materialized(shop.young) == ASSETS
    store = open_store(shop.settings)
    folder = store.fetch(shop.young_release.release_id)
    customers = open_customers(folder / CUSTOMERS)
    assert len(customers) > 0
    assert customers["churn_probability"].null_count == len(customers)
    assert shop.young_release.inputs.models == {}
    assert not any(shop.young_release.file(name) for name in OF_MODELS)
    assert all(store.current().file(name) for name in OF_MODELS)
    assert EFFECTS.validate_json((folder / EFFECTS_FILE).read_bytes()) == ()


def test_the_checks_of_a_young_shop_pass_as_they_cannot_judge_yet_and_say_what_is_missing(shop):
    checks = {(found.asset_key.path[-1], found.check_name): found for found in shop.young.get_asset_check_evaluations()}
    assert [key for key, found in checks.items() if not found.passed] == [], "nothing is wrong, nobody is alerted"
    enough = checks["churn_classifier", "has_enough_data"].description
    assert "needs two as-of dates 90 days apart" in enough
    assert "Load at least 211 days of orders" in enough
    assert checks["churn_classifier", "beats_baseline"].description == "cannot judge yet: no model was trained"
    needed = checks["demand_forecaster", "has_enough_data"].description
    assert needed.startswith("cannot judge yet: The last 56 days are kept to test on. A forecast of 14 periods")
    overlap = checks["email_winback_spend", "has_overlap"].description
    assert overlap.startswith("cannot judge yet: No e-mail campaign has 14 whole days of orders after its first")
    abstained = shop.run_of_model(shop.young.run_id).data.tags["abstained"]
    assert enough == f"cannot judge yet: {abstained}"


def test_the_whole_location_runs_and_releases(shop):
    assert shop.whole.success
    assert materialized(shop.whole) == ASSETS
    store = open_store(shop.settings)
    manifest = store.current()
    folder = store.fetch(manifest.release_id)
    customers = open_customers(folder / CUSTOMERS)
    effects = EFFECTS.validate_json((folder / EFFECTS_FILE).read_bytes())
    card = ModelCard.model_validate_json((folder / CHURN_CARD).read_bytes())
    assert ShopCard.model_validate_json((folder / SHOP).read_bytes()).name == "planted"
    assert len(customers) == 1500
    assert customers["segment"].null_count == 0
    scored = customers.filter(customers["churn_probability"].is_valid())
    assert max(scored["recency_days"].to_pylist()) <= 180
    assert set(scored["churn_model_version"].to_pylist()) == {"1"}
    assert customers["churn_probability"].null_count > 0
    for name in ("purchase_probability", "segment_number", "behaviour_segment", "lifetime_value_amount"):
        assert customers[name].null_count == 0, f"{name}: all of this shop have ordered, active or not"
    assert {feature.name for feature in card.features} <= set(customers.column_names)
    assert set(customers["next_action_reason"].to_pylist()) == {"average_pays", "refused_email"}
    (effect,) = (one for one in effects if one.name == "email_winback_spend")
    assert (effect.verdict, effect.unit) == ("identified", "EUR per customer")


def test_each_version_says_what_it_was_trained_from(shop):
    from ml_assets.core.models.export import sha256
    from ml_assets.core.models.recipes import RECIPES, rebuild
    from ml_assets.core.registry import ModelRegistry

    registry = ModelRegistry(shop.settings.resolved_mlflow_uri)
    for name in RECIPES.keys() - {"order_fraud"}:  # this shop has no payments
        version = registry.version(name, "1")
        assert version.origin["shop_start"] == "2024-01-01"
        assert any(name.startswith("snapshot.features.") for name in version.origin)
        assert sha256(rebuild(version, shop.lake)) == version.sha256


def test_the_released_model_gives_the_released_scores(shop):
    from ml_assets.core.features.customers import column_values
    from ml_assets.core.models.export import predict

    store = open_store(shop.settings)
    folder = store.fetch(store.current_id())
    customers = open_customers(folder / CUSTOMERS)
    scored = customers.filter(customers["churn_probability"].is_valid())
    card = ModelCard.model_validate_json((folder / CHURN_CARD).read_bytes())
    matrix = column_values(scored, [feature.name for feature in card.features])
    again = predict((folder / CHURN_MODEL).read_bytes(), matrix)
    assert again == pytest.approx(scored["churn_probability"].to_numpy(), abs=0)


def test_the_api_predicts_what_was_released_and_says_why(shop):
    """Of the same features the same figures, whose explanations add up to them."""
    from tests.api.making import service

    store = open_store(shop.settings)
    customers = open_customers(store.fetch(store.current_id()) / CUSTOMERS)
    scored = customers.filter(customers["churn_probability"].is_valid()).slice(0, 12).to_pylist()
    shown = {"churn": "churn_probability", "propensity": "purchase_probability"}
    with service(shop.settings) as client:
        cards = {card["name"]: card for card in client.get("/v1/release").json()["models"]}
        takes = {name: [feature["name"] for feature in card["features"]] for name, card in cards.items()}
        for model, name in {"churn": "churn_classifier", "propensity": "purchase_propensity"}.items():
            columns = {feature: [row[feature] for row in scored] for feature in takes[name]}
            answer = client.post(f"/v1/predict/{model}/batch?explain=true", json={"features": columns}).json()
            found = np.array(answer["probabilities"])
            assert found == pytest.approx([row[shown[model]] for row in scored], abs=1e-7)
            assert answer["explanation"]["method"] == "trees"
            told = np.array(answer["explanation"]["predictions"])
            assert 1 / (1 + np.exp(-told)) == pytest.approx(found, abs=1e-5)
            why = client.get(f"/v1/customers/{scored[0]['customer_id']}/explanations/{model}").json()
            assert why["score"] == scored[0][shown[model]]
            assert why["explanation"]["prediction"] == pytest.approx(told[0], abs=1e-9)
        columns = {feature: [row[feature] for row in scored] for feature in takes["customer_lifetime_value"]}
        answer = client.post("/v1/predict/lifetime_value/batch?explain=true", json={"features": columns}).json()
        amounts = [row["lifetime_value_amount"] for row in scored]
        assert answer["amounts"] == pytest.approx(amounts)
        assert answer["explanation"]["predictions"] == pytest.approx(amounts)


def test_the_api_recommends_what_was_predicted_from_the_released_recommender(shop):
    """The lists of the lake, and what the registry's champion says of a session."""
    from ml_assets.core.models.recommendation.product_recommender import NAME, ProductRecommender
    from ml_assets.core.registry import ModelRegistry
    from tests.api.making import service

    table = shop.lake.batches("predictions.product_recommendations").read_all()
    rows = [row for row in table.to_pylist() if row["customer_id"] == "C00007"]
    shown = ("rank", "product_id", "score", "source", "because_product_id")
    champion = ModelRegistry(shop.settings.resolved_mlflow_uri).champion(NAME)
    suggestions = ProductRecommender.from_bytes(champion.content).session(["P3", "P23"], 5)
    with service(shop.settings) as client:
        answer = client.get("/v1/customers/C00007/recommendations?limit=20").json()
        session = client.post("/v1/recommendations/session", json={"products": ["P3", "P23"], "limit": 5}).json()
    assert answer["recommendations"] == [{name: row[name] for name in shown} for row in rows]
    assert [int(one["product_id"][1:]) % SHELVES for one in answer["recommendations"][:5]] == [7 % SHELVES] * 5
    assert session["recommendations"] == [{"rank": at, **one._asdict()} for at, one in enumerate(suggestions, 1)]
    assert {answer["model_version"], session["model_version"]} == {champion.version}
    assert len(set(table["customer_id"].to_pylist())) == 1500


@pytest.mark.parametrize(
    ("check", "change", "found"),
    [
        ("only_offered_products", f"SELECT * REPLACE ('P{PRODUCTS - 1}' AS product_id)", "30,000 that are not"),
        ("ranks_are_whole", "SELECT * REPLACE (rank + 1 AS rank)", "1,500 that are not"),
        ("ranks_are_whole", "SELECT * REPLACE ('P1' AS product_id)", "1,500 that are not"),
        ("all_are_covered", "SELECT * WHERE customer_id <> 'C00007'", "1 without one"),
        ("all_are_covered", "SELECT * WHERE false", "1,500 without one"),
    ],
)
def test_lists_that_are_not_as_promised_are_stopped(shop, monkeypatch, check, change, found):
    """Written by a prediction that is broken on purpose."""
    import duckdb

    from ml_assets.core.models.recommendation import lists
    from ml_assets.defs.scoring import product_recommendations

    def broken(*given):
        table = lists.product_recommendations(*given)
        select, _, where = change.partition(" WHERE ")
        sql = f"{select} FROM t {f'WHERE {where}' if where else ''}"
        return duckdb.from_arrow(table).query("t", sql).to_arrow_table().cast(table.schema)

    monkeypatch.setattr(product_recommendations, "product_recommendations", broken)
    result = shop.run("predictions/product_recommendations")
    failed = {one.check_name: one.description for one in result.get_asset_check_evaluations() if not one.passed}
    assert failed[check].startswith(found)
    monkeypatch.undo()
    assert shop.run("predictions/product_recommendations").success


def test_released_forecasts_and_advice_are_those_of_the_lake_and_of_each_product(shop):
    store = open_store(shop.settings)
    folder = store.fetch(store.current_id())
    forecasts, advice = open_products(folder, DEMAND), open_products(folder, REORDER)
    card = ModelCard.model_validate_json((folder / DEMAND_CARD).read_bytes())
    assert card.metrics["weighted_rmsse"] < min(card.baseline_metrics.values())
    products = {f"P{number}" for number in range(PRODUCTS)}
    assert set(forecasts["product_id"].to_pylist()) == set(advice["product_id"].to_pylist()) == products
    assert len(forecasts) == 14 * PRODUCTS
    assert {str(day) for day in forecasts["as_of"].to_pylist()} == {"2025-10-01"}
    assert sorted({str(day) for day in forecasts["date"].to_pylist()})[-1] == "2025-10-14"
    wednesday = [row for row in forecasts.to_pylist() if row["date"].weekday() == 2]
    own, next_one = (sum(row["mean"] for row in wednesday if own_weekday(row["product_id"]) == day) for day in (2, 3))
    assert own > 3 * next_one, "some are bought on Wednesdays, others on Thursdays"
    for row in advice.to_pylist():
        assert row["stock"] == 1 + int(row["product_id"][1:]) % 9
        assert row["order_quantity"] == max(row["reorder_point"] - row["stock"], 0)
        assert (row["lead_days"], row["review_days"], row["service_level"]) == (7, 7, 0.95)
        total = sum(one["mean"] for one in forecasts.to_pylist() if one["product_id"] == row["product_id"])
        assert row["expected_demand"] == pytest.approx(total)
    assert any(row["order_quantity"] > 0 for row in advice.to_pylist())


def test_what_came_after_a_forecast_is_held_against_it(shop):
    checks = {found.check_name: found for found in shop.whole.get_asset_check_evaluations()}
    assert checks["forecasts_came_true"].metadata["product_days"].value == PRODUCTS  # the data end a day after
    assert checks["demand_reconciles"].passed


def test_the_manifest_says_what_the_release_was_made_from(shop):
    inputs = open_store(shop.settings).current().inputs
    dimensions = {"dim_customers", "dim_products", "dim_dates", "dim_campaigns"}
    published = {"fct_orders", "fct_order_items", "fct_events", "fct_inventory_daily", "rfm_segments"} | dimensions
    published |= {"market_basket_rules", "agg_daily_sales", "conversion_funnel", "dim_geographies"}
    predictions = {
        "churn_scores", "purchase_propensities", "customer_segments", "lifetime_values", "product_recommendations",
        "similar_products", "next_best_actions",
    }  # fmt: skip
    features = {FEATURES, "features.product_features"}
    own = {*features, "serving.kpis", "serving.kpi_customers", *CAUSAL, *DEMAND_TABLES} | {
        f"predictions.{name}" for name in predictions
    }
    assert set(inputs.snapshots) == own | {f"published.{mart}" for mart in published}
    assert inputs.models == dict.fromkeys(MODELS, "1")
    assert str(inputs.as_of) == "2025-10-01"
    assert {check.name for check in inputs.checks} >= {
        "nothing_from_the_future", "features_reconcile", "beats_baseline", "onnx_parity", "no_leaking_feature",
        "is_balanced", "segments_differ", "beats_own_rate", "values_are_possible", "segments_are_named",
        "beats_popularity", "only_offered_products", "ranks_are_whole", "all_are_covered",
    }  # fmt: skip
    for identifier, snapshot in inputs.snapshots.items():
        assert snapshot in {found.snapshot_id for found in shop.lake.snapshots(identifier)}


def test_each_step_has_a_run_of_its_own_with_the_data_it_saw(shop):
    run_of_model = shop.run_of_model(shop.whole.run_id)
    assert run_of_model.info.status == "FINISHED"
    assert run_of_model.data.tags["dagster_partitions"] == "2024-02-01...2025-11-01"
    assert int(run_of_model.data.tags[f"snapshot.{FEATURES}"]) in {s.snapshot_id for s in shop.lake.snapshots(FEATURES)}
    assert run_of_model.data.metrics["auc"] > run_of_model.data.metrics["baseline_recency_rule_auc"]


CLASSIFIER = {"reliability", "precision_recall", "gains", "lift", "contributions"}
PICTURES = {
    "churn_classifier": CLASSIFIER,
    "purchase_propensity": CLASSIFIER,
    "customer_segments": {"profiles", "sizes", "explained"},
    "customer_lifetime_value": {"calibration", "gains", "residuals"},
    "product_recommender": {"recall", "ndcg", "coverage", "popularity"},
    "demand_forecaster": {"forecasts", "coverage", "residuals"},
    "campaign_uplift": {"policy", "qini"},
}


@pytest.mark.parametrize("model", MODELS)
def test_each_model_has_a_card_with_pictures_in_the_registry_the_release_and_the_ui(shop, model):
    judge_card(shop.settings, shop.whole, model, PICTURES[model])


def test_running_again_changes_nothing(shop):
    before = open_store(shop.settings).current()
    again = shop.run("models/churn_classifier", "predictions/churn_scores", "serving/release")
    assert again.success
    assert len(shop.versions()) == 1
    assert open_store(shop.settings).current() == before


def test_a_changed_model_file_is_not_used(shop):
    from pathlib import Path

    from ml_assets.core.registry import ModelRegistry, NoModel

    registry = ModelRegistry(shop.settings.resolved_mlflow_uri)
    (file,) = Path(shop.settings.shop_home / "mlflow_artifacts").rglob("churn_classifier/model.onnx")
    original = file.read_bytes()
    file.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    try:
        with pytest.raises(NoModel, match="its SHA-256 differs"):
            registry.champion("churn_classifier")
        result = shop.run("predictions/churn_scores")
        assert "Materialize models/churn_classifier again" in failure(result, "predictions__churn_scores")
    finally:
        file.write_bytes(original)


def test_a_leak_stops_what_is_downstream_and_nothing_is_released(shop, monkeypatch):
    from ml_assets.core.features import customers

    before = open_store(shop.settings).current_id()
    snapshot = shop.lake.snapshot_id("predictions.churn_scores")
    leaking = customers._ORDERS.replace("o.day < a.as_of GROUP", "o.day < a.as_of + 30 GROUP")
    assert leaking != customers._ORDERS
    monkeypatch.setattr(customers, "_ORDERS", leaking)
    result = shop.run("features/customer_features", "predictions/churn_scores")
    assert not result.success
    assert materialized(result) == {"features/customer_features"}
    assert shop.lake.snapshot_id("predictions.churn_scores") == snapshot
    monkeypatch.undo()

    refused = shop.run("serving/release")
    said = failure(refused, "serving__release")
    assert "blocking checks failed: nothing_from_the_future of features/customer_features" in said
    assert open_store(shop.settings).current_id() == before

    assert shop.run("features/customer_features").success
    assert shop.run("serving/release").success
    assert open_store(shop.settings).current_id() == before
