"""The definitions of code location 2: partitions, what is left out for a shop, and when assets run by themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.freshness import CronFreshnessPolicy, TimeWindowFreshnessPolicy
from dagster._core.test_utils import freeze_time

from cartograph.windows import at_midnight
from ml_assets.definitions import LIBRARIES
from tests.graph.ml_location import EVERYTHING, forget_location, key, load_location

FEATURES, MODEL, SCORES = (
    key("features/customer_features"),
    key("models/churn_classifier"),
    key("predictions/churn_scores"),
)
OWN_MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture
def load(monkeypatch, tmp_path):
    yield lambda **options: load_location(monkeypatch, tmp_path, **options)
    monkeypatch.undo()
    forget_location()


def partitions(definitions: dg.Definitions) -> dg.TimeWindowPartitionsDefinition:
    return definitions.resolve_asset_graph().get(FEATURES).partitions_def


@pytest.mark.parametrize(
    ("grain", "end", "first", "last", "count"),
    [
        ("monthly", "2025-01-01", "2024-02-01", "2025-01-01", 12),
        ("monthly", "2024-12-10", "2024-02-01", "2025-01-01", 12),
        ("weekly", "2024-02-01", "2024-01-08", "2024-02-05", 5),
        ("daily", "2024-01-11", "2024-01-02", "2024-01-11", 10),
        ("monthly", "2099-01-01", "2024-02-01", "2099-01-01", 900),
    ],
)
def test_as_of_dates_are_the_ends_of_the_shops_windows(load, grain, end, first, last, count):
    from cartograph.settings import get_settings
    from cartograph.shops import load_shop

    keys = partitions(load(grain=grain, end=end)).get_partition_keys()
    assert (keys[0], keys[-1], len(keys)) == (first, last, count)
    whole = load_shop(get_settings()).windows(grain, at_midnight(date(2024, 1, 1)))
    assert keys == [window.end.date().isoformat() for window in whole]


def test_a_shop_that_goes_on_has_the_as_of_dates_that_have_come(load):
    found = partitions(load(end=None)).get_partition_keys()
    today = date.today()  # noqa: DTZ011 - Dagster's own clock decides here
    assert found[-1] == today.replace(day=1).isoformat()


def test_models_may_be_as_old_as_a_month_and_all_else_as_the_shop_says(load):
    nodes = load(end=None).resolve_asset_graph().asset_nodes
    policies = {node.key: node.to_asset_spec().freshness_policy for node in nodes}
    assert isinstance(policies[MODEL], TimeWindowFreshnessPolicy)
    assert isinstance(policies[SCORES], CronFreshnessPolicy)


@pytest.mark.parametrize(
    ("grain", "as_of", "window"), [("monthly", "2024-03-01", "2024-02-01"), ("weekly", "2024-01-15", "2024-01-08")]
)
def test_an_as_of_date_depends_on_the_window_that_ends_on_it(load, grain, as_of, window):
    load(grain=grain, end="2024-12-31")
    from ml_assets.defs.partitions import _CRON, WINDOW_BEFORE, as_of_partitions

    upstream = dg.TimeWindowPartitionsDefinition(
        start="2024-01-01", end="2025-01-06", fmt="%Y-%m-%d", cron_schedule=_CRON[grain]
    )
    found = WINDOW_BEFORE.get_upstream_mapped_partitions_result_for_partitions(
        as_of_partitions().subset_with_partition_keys([as_of]), as_of_partitions(), upstream
    )
    assert list(found.partitions_subset.get_partition_keys()) == [window]


@pytest.mark.parametrize(
    ("grain", "end", "last_day", "expected", "before"),
    [
        ("monthly", "2025-01-01", "2024-12-31", "2025-01-01", "2024-12-01"),
        ("monthly", "2025-01-01", "2024-12-20", "2025-01-01", "2024-12-01"),
        ("monthly", "2024-12-10", "2024-12-09", "2024-12-01", "2024-11-01"),
        ("weekly", None, "2024-01-14", "2024-01-15", "2024-01-08"),
        ("daily", None, "2024-01-14", "2024-01-15", "2024-01-14"),
    ],
)
def test_demand_is_forecast_from_the_latest_as_of_date_up_to_which_days_are_complete(
    load, grain, end, last_day, expected, before
):
    load(grain=grain, end=end)
    from ml_assets.defs.partitions import as_of_after, window_before

    as_of = as_of_after(date.fromisoformat(last_day))
    assert as_of == date.fromisoformat(expected)
    window = window_before(as_of, as_of)
    assert window.end == at_midnight(as_of)
    assert window.key == before


@pytest.mark.parametrize("missing", ["events", "campaigns"])
def test_a_shop_without_events_or_campaigns_has_no_campaign_effect(load, missing):
    everything = ["customers", "products", "orders", "order_items", "refunds", "events", "campaigns"]
    graph = load(datasets=[name for name in everything if name != missing]).resolve_asset_graph()
    of_campaigns = {
        "causal/email_winback_spend",
        "causal/customers_as_of",
        "models/campaign_uplift",
        "predictions/next_best_actions",
    }
    assert graph.get_all_asset_keys().isdisjoint(map(key, of_campaigns))
    parents = graph.get(key("serving/release")).parent_keys
    quality = {key("quality/asset_graph"), key("quality/scores")}
    made = {
        key(name)
        for name in (
            "models/churn_classifier", "models/purchase_propensity", "models/customer_segments",
            "models/customer_lifetime_value", "models/product_recommender", "models/demand_forecaster",
            "predictions/churn_scores", "predictions/purchase_propensities", "predictions/customer_segments",
            "predictions/lifetime_values", "predictions/product_recommendations", "predictions/similar_products",
            "predictions/demand_forecasts", "predictions/demand_explanations",
            "published/dim_products", "features/product_features",
            "causal/price_elasticity", "causal/discount_units", "causal/discount_margin", "serving/kpis",
        )
    }  # fmt: skip
    assert parents == {FEATURES, *made, key("published/rfm_segments"), *quality}
    assert (key("published/fct_events") in graph.get(FEATURES).parent_keys) == (missing != "events")


@pytest.mark.parametrize("counts_stock", [True, False])
def test_a_shop_that_counts_no_stock_has_forecasts_and_no_reorder_advice(load, counts_stock):
    everything = ["customers", "products", "orders", "order_items", *(["inventory"] if counts_stock else [])]
    graph = load(datasets=everything).resolve_asset_graph()
    advice, released = key("predictions/reorder_advice"), graph.get(key("serving/release")).parent_keys
    assert key("predictions/demand_forecasts") in released
    assert (advice in graph.get_all_asset_keys()) == (advice in released) == counts_stock
    stock = key("published/fct_inventory_daily")
    assert (stock in graph.get(key("features/daily_demand")).parent_keys) == counts_stock


def test_no_asset_of_the_other_location_is_defined_here(load):
    graph = load().resolve_asset_graph()
    external = {k for k in graph.get_all_asset_keys() if k.path[0] == "published"}
    assert external
    assert not any(graph.get(k).is_materializable for k in external)


def test_nothing_runs_downstream_of_a_failed_blocking_check(load):
    definitions = load()
    with dg.DagsterInstance.ephemeral() as instance:

        def requested(cursor=None):
            result = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
            return result, result.get_num_requested(SCORES)

        def report(*, passed):
            instance.report_runless_asset_event(dg.AssetMaterialization(MODEL))
            for name in ("beats_baseline", "onnx_parity", "no_leaking_feature"):
                instance.report_runless_asset_event(dg.AssetCheckEvaluation(MODEL, name, passed=passed, blocking=True))

        for partition in partitions(definitions).get_partition_keys():
            instance.report_runless_asset_event(dg.AssetMaterialization(FEATURES, partition=partition))
        for name in ("nothing_from_the_future", "features_reconcile"):
            instance.report_runless_asset_event(dg.AssetCheckEvaluation(FEATURES, name, passed=True, blocking=True))
        report(passed=True)
        instance.report_runless_asset_event(dg.AssetMaterialization(SCORES))
        first, _ = requested()
        report(passed=False)
        second, count = requested(first.cursor)
        assert count == 0
        report(passed=True)
        assert requested(second.cursor)[1] == 1


def test_loading_the_graph_imports_none_of_what_trains_models():
    heavy = ["mlflow", "econml", "sklearn", "lightgbm", "statsforecast", "onnx", "onnxruntime", "scipy", "pandas"]
    heavy += ["dagster_aws", "dagster_dbt"]
    code = f"""
import sys
import ml_assets.definitions
ml_assets.definitions.defs()
print([name for name in {heavy} if name in sys.modules])"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_what_steps_import_when_they_need_it_is_imported_ahead_by_a_worker_that_waits() -> None:
    """Not what comes with the others, is for few (S3), reads settings, or is taken by `cartograph bench` only."""
    found: set[str] = set()
    for path in (Path(__file__).parents[2] / "ml_assets" / "src").rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.ImportFrom):
                        found.add(str(node.module).split(".")[0])
                    elif isinstance(node, ast.Import):
                        found.update(alias.name.split(".")[0] for alias in node.names)
    others = {"numpy", "threadpoolctl", "dagster_aws", "ml_assets"}
    assert found - others == {library.split(".")[0] for library in LIBRARIES}


class Ticks:
    """The conditions of a shop whose tables have all been made, evaluated at moments of our choosing."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.definitions, self.instance, self.cursor = definitions, instance, None
        self.graph = definitions.resolve_asset_graph()
        self.models = [asset for asset in self.graph.get_all_asset_keys() if asset.path[0] == "models"]
        for asset in self.graph.get_all_asset_keys():
            self.made(asset)

    def made(self, asset: dg.AssetKey, *, fails: str | None = None) -> None:
        """An asset was materialised; all its checks passed but one."""
        node = self.graph.get(asset)
        partitions = node.partitions_def.get_partition_keys() if node.partitions_def else [None]
        for partition in partitions:
            self.instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=partition))
        for check in node.check_keys:
            self.instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset, check.name, passed=check.name != fails, blocking=self.graph.get(check).blocking
                )
            )

    def asked_for(self) -> set[str]:
        """The models that a tick asks for."""
        found = dg.evaluate_automation_conditions(
            self.definitions, self.instance, asset_selection=dg.AssetSelection.keys(*self.models), cursor=self.cursor
        )
        self.cursor = found.cursor
        return {asset.path[-1] for asset in self.models if found.get_num_requested(asset)}

    def ask_for_training(self) -> bool:
        """Whether a tick asks for the churn model."""
        return MODEL.path[-1] in self.asked_for()


@pytest.fixture
def ticks(load, monkeypatch) -> Iterator[Ticks]:
    monkeypatch.setenv("CARTOGRAPH_MODELS_DIR", str(OWN_MODELS))
    with dg.DagsterInstance.ephemeral() as instance, freeze_time(datetime(2025, 2, 10, tzinfo=UTC)):
        yield Ticks(load(datasets=(*EVERYTHING, "payments", "refunds")), instance)


def test_a_model_is_trained_on_the_first_data_of_a_month_and_not_on_each_load(ticks):
    def load_at(*moment: int) -> bool:
        with freeze_time(datetime(2025, *moment, tzinfo=UTC)):
            for asset in ticks.graph.get(MODEL).parent_keys:
                ticks.made(asset)
            return ticks.ask_for_training()

    assert not ticks.ask_for_training()
    assert not load_at(2, 11)
    with freeze_time(datetime(2025, 3, 1, 0, 10, tzinfo=UTC)):
        assert not ticks.ask_for_training(), "March has no data yet"
    assert load_at(3, 1, 6)
    assert not load_at(3, 2, 6)
    assert not load_at(3, 31, 6)
    assert load_at(4, 2, 6)


def test_a_model_is_trained_when_what_watches_it_begins_to_warn_but_not_on_refused_data(ticks):
    drift = key("monitoring/customer_feature_drift")
    assert not ticks.ask_for_training()
    ticks.made(drift, fails="inputs_are_usual")
    assert ticks.ask_for_training()
    assert not ticks.ask_for_training(), "it has been asked for"
    ticks.made(drift)
    assert not ticks.ask_for_training()
    ticks.made(FEATURES, fails="nothing_from_the_future")
    ticks.made(drift, fails="inputs_are_usual")
    assert not ticks.ask_for_training()
    ticks.made(FEATURES)
    assert ticks.ask_for_training(), "the warning still stands"


def test_a_warning_asks_for_the_models_that_it_is_about_and_no_other(ticks):
    checks = {"drift": "inputs_are_usual", "backtest": "has_beaten_the_baseline", "quality": "predictions_held"}
    of_customers = {"churn_classifier", "purchase_propensity", "customer_lifetime_value", "refund_soon"}
    assert ticks.asked_for() == set()
    for watcher, wanted in {
        "customer_feature_drift": of_customers,
        "churn_backtest": {"churn_classifier"},
        "propensity_backtest": {"purchase_propensity"},
        "propensity_quality": {"purchase_propensity"},
        "lifetime_value_backtest": {"customer_lifetime_value"},
        "lifetime_value_quality": {"customer_lifetime_value"},
        "demand_quality": {"demand_forecaster"},
        "recommendation_quality": {"product_recommender"},
        "fraud_quality": {"order_fraud"},
        "refund_soon_backtest": {"refund_soon"},
        "refund_soon_quality": {"refund_soon"},
    }.items():
        ticks.made(key(f"monitoring/{watcher}"), fails=checks[watcher.split("_")[-1]])
        assert ticks.asked_for() == wanted, watcher
        ticks.made(key(f"monitoring/{watcher}"))
        for model in wanted:
            ticks.made(key(f"models/{model}"))
        assert ticks.asked_for() == set(), f"{watcher} warns no more"
