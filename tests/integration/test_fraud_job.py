"""Code location 2 on a simulated shop that delivers payments and refunds: order risk, fraud model, scores, release."""

from __future__ import annotations

from datetime import date
from math import exp

import dagster as dg
import duckdb
import pytest

from cartograph.lake import Lake
from cartograph.releases import open_store
from cartograph.releases.contents.files import FRAUD_CARD, FRAUD_MODEL, ORDER_HISTORY
from cartograph.releases.contents.models import ModelCard
from cartograph.settings import get_settings
from tests.api.making import service
from tests.graph.cards import judge_card, sections_of
from tests.graph.ml_location import forget_location, guard, key, load_location, location_in, materialized, run
from tests.model.planted import publish_marts
from tests.model.simulated import MARTS, simulated_marts

DATASETS = ("customers", "products", "orders", "order_items", "payments", "refunds", "marketing_spend")
RISK, MODEL, SCORES = "features/order_risk", "models/order_fraud", "predictions/fraud_scores"
EARLY = ("2024-02-01", "2024-04-01")


class Shop:
    """The location's definitions, its instance, and what a run over the first months and one over all gave.

    What the release is made of besides is made for the first months only, for which no other model is trained.
    """

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.definitions, self.instance = definitions, instance
        self.settings = get_settings()
        self.lake = Lake.from_settings(self.settings)
        with duckdb.connect() as con:
            con.execute("SET TimeZone = 'UTC'")
            selects = simulated_marts(con, customers=3000, end=date(2025, 10, 2))
            publish_marts({name: con.execute(select).to_arrow_table() for name, select in selects.items()}, self.lake)
        guard(instance, self.lake, *MARTS)
        self.young = self.run(RISK, MODEL, SCORES, dates=EARLY)
        self.young_scores = self.rows("predictions.fraud_scores")
        assert self.run(dates=EARLY).success
        self.whole = self.run(RISK, MODEL, SCORES, "serving/release")

    def run(self, *assets: str, dates: tuple[str, str] | None = None) -> dg.ExecuteInProcessResult:
        return run(self.definitions, self.instance, *assets, dates=dates)

    def rows(self, table: str) -> list[dict]:
        return [row for batch in self.lake.batches(table) for row in batch.to_pylist()]


def checks(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], object]:
    return {(one.asset_key.path[-1], one.check_name): one for one in result.get_asset_check_evaluations()}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with location_in(tmp_path_factory.mktemp("fraud"), datasets=DATASETS) as location:
        yield Shop(*location)


def test_a_young_shop_has_risks_but_no_model_and_is_told_why(shop):
    assert shop.young.success
    assert materialized(shop.young) == {RISK, MODEL, SCORES}
    found = checks(shop.young)
    assert [name for name, one in found.items() if not one.passed] == []
    enough = found["order_fraud", "has_enough_data"].description
    assert "120 days in which chargebacks come. Data from 2024-01-01 to 2024-04-01 are 91 days" in enough
    assert "Load at least 420 days" in enough
    assert shop.young_scores == []


def test_the_whole_run_trains_scores_and_releases_the_fraud_model(shop):
    assert shop.whole.success
    assert {RISK, MODEL, SCORES, "serving/release"} <= materialized(shop.whole)
    found = checks(shop.whole)
    names = {"has_enough_data", "beats_rules", "expected_loss_below_rules", "onnx_parity", "no_leaking_feature"}
    assert all(found["order_fraud", name].passed for name in names)
    assert found["order_risk", "nothing_from_the_future"].passed
    assert found["order_risk", "features_reconcile"].passed
    store = open_store(shop.settings)
    manifest = store.current()
    folder = store.fetch(manifest.release_id)
    card = ModelCard.model_validate_json((folder / FRAUD_CARD).read_bytes())
    assert manifest.inputs.models["order_fraud"] == card.version == "1"
    assert manifest.file(FRAUD_MODEL)
    assert manifest.file(ORDER_HISTORY)
    assert (card.review.amount, card.review.cost) == ("total_amount", 5.0)
    assert card.metrics["auprc"] > card.baseline_metrics["rules.auprc"]


def test_the_orders_of_the_latest_partition_are_scored_and_each_order_has_its_risk_in_its_partition(shop):
    orders = {row["order_id"]: row for row in shop.rows("published.fct_orders")}
    risks = {row["order_id"]: row["order_date"] for row in shop.rows("features.order_risk")}
    assert risks == {order: row["order_date"] for order, row in orders.items()}
    scores = shop.rows("predictions.fraud_scores")
    latest = {o for o, row in orders.items() if row["order_date"] >= date(2025, 10, 1) and not row["is_cancelled"]}
    assert {row["order_id"] for row in scores} == latest
    assert {row["fraud_model_version"] for row in scores} == {"1"}


def test_the_released_model_scores_a_row_as_the_batch_did_and_so_does_the_api(shop):
    scored = {row["order_id"]: row for row in shop.rows("predictions.fraud_scores")}
    risks = {row["order_id"]: row for row in shop.rows("features.order_risk") if row["order_id"] in scored}
    with service(shop.settings) as client:
        cards = {card["name"]: card for card in client.get("/v1/release").json()["models"]}
        names = [feature["name"] for feature in cards["order_fraud"]["features"]]
        for order, row in list(risks.items())[:25]:
            answer = client.post("/v1/predict/order_fraud", json={"features": {name: row[name] for name in names}})
            assert answer.status_code == 200, answer.text
            assert answer.json()["probability"] == pytest.approx(scored[order]["fraud_probability"], abs=1e-7)
            assert answer.json()["decision"] == ("review" if scored[order]["is_review"] else "accept")
        why = client.post(
            "/v1/predict/order_fraud?explain=true", json={"features": {name: row[name] for name in names}}
        ).json()
        assert 1 / (1 + exp(-why["explanation"]["prediction"])) == pytest.approx(why["probability"], abs=1e-5)
        assert why["probability"] == answer.json()["probability"]


def test_an_order_after_the_release_is_judged_with_what_the_shop_knew(shop):
    as_of = open_store(shop.settings).current().inputs.as_of
    known = [row for row in shop.rows("published.fct_orders") if row["customer_id"] and row["order_date"] < as_of]
    customer = known[-1]["customer_id"]
    before = [row for row in known if row["customer_id"] == customer]
    line = {"product_id": "P1", "quantity": 1, "unit_price": 30}
    placed = {"order_id": "new", "customer_id": customer, "lines": [line], "placed_at": f"{as_of}T20:15:00Z"}
    with service(shop.settings) as client:
        answer = client.post("/v1/orders/risk", json=placed)
    assert answer.status_code == 200, answer.text
    assert answer.json()["features"]["orders_before"] == len(before) > 0
    assert answer.json()["features"]["amount_to_own_mean"] == pytest.approx(
        30 * len(before) / float(sum(row["total_amount"] for row in before))
    )
    assert answer.json()["features"]["events_1h"] is None, "this shop delivers no events"
    assert "events_1h" not in shop.rows("features.order_risk")[0]


def test_a_budget_is_released_and_served_where_the_channels_are_shown_and_only_there(shop, monkeypatch):
    """So few orders do not show what the channels do; in the second run the fit is said to be good enough."""
    from cartograph.releases.contents.causal import Budget
    from cartograph.releases.contents.files import BUDGET_FILE
    from ml_assets.core.budget.response import Fitted

    assets = ("causal/channel_response", "causal/budget_allocation", "serving/release")
    store = open_store(shop.settings)
    assert not checks(shop.run(*assets[:2]))["channel_response", "channels_tell_held_out_weeks"].passed
    assert shop.run("serving/release").success, "it warns"
    assert store.current().file(BUDGET_FILE) is None
    with service(shop.settings) as client:
        assert client.get("/v1/causal/budget").json()["budget"] is None

    monkeypatch.setattr(Fitted, "is_shown", True)
    assert shop.run(*assets).success
    manifest = store.current()
    budget = Budget.model_validate_json((store.fetch(manifest.release_id) / BUDGET_FILE).read_bytes())
    assert [line.channel for line in budget.lines] == ["affiliate", "display", "search", "social"]
    assert {check.name for check in manifest.inputs.checks} >= {"budget_within_limits", "shares_sum_to_one"}
    assert "causal.budget_allocation" in manifest.inputs.snapshots
    with service(shop.settings) as client:
        assert Budget.model_validate(client.get("/v1/causal/budget").json()["budget"]) == budget
    monkeypatch.undo()
    assert shop.run(*assets).success


def test_the_version_can_be_made_again_from_its_registry_entry(shop):
    from ml_assets.core.models.export import sha256
    from ml_assets.core.models.recipes import rebuild
    from ml_assets.core.registry import ModelRegistry

    version = ModelRegistry(shop.settings.resolved_mlflow_uri).version("order_fraud", "1")
    assert sha256(rebuild(version, shop.lake)) == version.sha256


def test_the_model_has_a_card_that_says_whom_it_flags_though_honest(shop):
    pictures = {"reliability", "precision_recall", "gains", "loss", "contributions"}
    judge_card(shop.settings, shop.whole, "order_fraud", pictures)
    with service(shop.settings) as client:
        card = client.get("/v1/models/order_fraud/card").text
    groups = sections_of(card)["Subgroups"]
    assert "reviewed_though_honest" in groups
    assert "| a guest |" in groups


def test_running_again_changes_nothing(shop):
    before = open_store(shop.settings).current_id(), shop.rows("predictions.fraud_scores")
    assert shop.run(RISK, MODEL, SCORES, "serving/release").success
    assert (open_store(shop.settings).current_id(), shop.rows("predictions.fraud_scores")) == before


def test_a_leak_stops_the_model(shop, monkeypatch):
    from ml_assets.core.features import order_risk

    sound = order_risk._STEPS["customary"]
    leaking = sound.replace("PARTITION BY actor ORDER BY us", "PARTITION BY actor ORDER BY us DESC")
    assert leaking != sound
    monkeypatch.setitem(order_risk._STEPS, "customary", leaking)
    result = shop.run(RISK, MODEL, SCORES)
    assert not result.success
    assert materialized(result) == {RISK}
    monkeypatch.undo()
    assert shop.run(RISK).success


@pytest.mark.parametrize("missing", ["payments", "refunds"])
def test_a_shop_without_payments_or_refunds_has_no_fraud_model(monkeypatch, tmp_path, missing):
    datasets = [name for name in DATASETS if name != missing]
    graph = load_location(monkeypatch, tmp_path, datasets=datasets).resolve_asset_graph()
    monkeypatch.undo()
    forget_location()
    assert not {key(name) for name in (RISK, MODEL, SCORES)} & set(graph.get_all_asset_keys())
