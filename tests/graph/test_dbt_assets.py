"""The warehouse in the asset graph: its assets' names, partitions and checks, and what is absent with its dataset."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from ecom_assets.defs.dbt.warehouse import failure_of, warehouse_definitions
from ecom_assets.defs.publishing.published import published_definitions
from ecom_assets.warehouse.dbt_project import PROJECT_DIR, parsed_project, read_manifest
from ecom_assets.warehouse.marts import marts_enabled_by
from tests.unit.warehouse.making import REQUIRED, tiny_shop

BY_WINDOW = ("fct_orders", "fct_order_items", "fct_refunds", "agg_daily_sales", "agg_product_performance")
WHOLE = (
    "dim_customers",
    "dim_products",
    "dim_dates",
    "dim_geographies",
    "rfm_segments",
    "sales_by_geography",
    "weekday_sales",
    "discount_impact",
    "agg_customer_metrics",
    "customer_lifetime_value",
    "customer_cohorts",
    "customer_product_interactions",
    "category_affinity",
    "market_basket_rules",
)
INTERMEDIATE = (
    "int_customers_versioned",
    "int_customers_current",
    "int_products_versioned",
    "int_products_current",
    "int_orders_settled",
    "int_refunds_summed",
    "int_customers_summed",
)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.AssetGraph]:
    settings = tiny_shop(tmp_path_factory.mktemp("shop"), "refunds")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("home", "shop", "shops_dir"):
            patch.setenv(f"CARTOGRAPH_{name.upper()}", str(getattr(settings, name)))
        get_settings.cache_clear()
        yield dg.Definitions.merge(warehouse_definitions(), published_definitions()).resolve_asset_graph()
    get_settings.cache_clear()


def key(path: str) -> dg.AssetKey:
    return dg.AssetKey(path.split("/"))


def test_a_model_whose_dataset_is_not_delivered_is_absent(graph: dg.AssetGraph) -> None:
    built = {k.to_user_string() for k in graph.materializable_asset_keys}
    staged = {f"staging/stg_shop__{dataset}" for dataset in (*REQUIRED, "refunds")}
    made = {f"{layer}/{mart}" for layer in ("marts", "published") for mart in (*BY_WINDOW, *WHOLE)}
    assert built == staged | made | {f"intermediate/{model}" for model in INTERMEDIATE} | {"seeds/holidays"}


def test_marts_are_absent_for_the_dataset_that_their_model_names(graph: dg.AssetGraph) -> None:
    enabled = marts_enabled_by(PROJECT_DIR)
    assert enabled["payments"] == ["dim_payment_methods", "fct_payments", "payment_mix"]
    everywhere = {path.stem for path in (PROJECT_DIR / "models" / "marts").rglob("*.sql")}
    absent = {mart for dataset, marts in enabled.items() if dataset != "refunds" for mart in marts}
    assert {k.path[-1] for k in graph.materializable_asset_keys if k.path[0] == "marts"} == everywhere - absent


def test_the_lineage_runs_from_raw_to_published(graph: dg.AssetGraph) -> None:
    for path, parents in {
        "staging/stg_shop__orders": {"raw/orders"},
        "marts/fct_orders": {"staging/stg_shop__orders", "marts/fct_order_items", "marts/dim_customers"},
        "marts/dim_dates": {"staging/stg_shop__orders", "seeds/holidays"},
        "marts/rfm_segments": {"intermediate/int_customers_summed"},
        "published/fct_orders": {"marts/fct_orders"},
    }.items():
        assert graph.get(key(path)).parent_keys == {key(parent) for parent in parents}


def test_facts_are_cut_into_the_shops_windows_and_dimensions_are_not(graph: dg.AssetGraph) -> None:
    for layer in ("marts", "published"):
        for mart in BY_WINDOW:
            node = graph.get(key(f"{layer}/{mart}"))
            assert node.partitions_def is not None
            assert node.partitions_def.get_partition_keys() == ["2024-01-01", "2024-02-01", "2024-03-01"]
            assert node.backfill_policy == dg.BackfillPolicy.single_run()
        for mart in WHOLE:
            assert graph.get(key(f"{layer}/{mart}")).partitions_def is None


def test_assets_say_who_owns_them_and_whether_they_hold_personal_data(graph: dg.AssetGraph) -> None:
    customers, orders = graph.get(key("marts/dim_customers")), graph.get(key("marts/fct_orders"))
    assert (customers.owners, orders.owners) == (["team:analytics"], ["team:analytics"])
    assert graph.get(key("staging/stg_shop__orders")).owners == ["team:data-platform"]
    assert graph.get(key("seeds/holidays")).owners == ["team:data-platform"]
    assert (customers.tags["pii"], customers.tags["domain"]) == ("true", "customers")
    assert "pii" not in orders.tags
    assert orders.kinds == {"dbt", "duckdb"}
    assert graph.get(key("published/fct_orders")).kinds == {"iceberg", "duckdb"}


def test_each_model_links_to_its_page_in_dbts_documentation(graph: dg.AssetGraph) -> None:
    links = {
        k.to_user_string(): graph.get(k).metadata["dbt_docs"].value
        for k in graph.materializable_asset_keys
        if k.path[0] != "published"
    }
    assert links["marts/fct_orders"] == f"{get_settings().dbt_docs_url}#!/model/model.cartograph.fct_orders"
    assert all(re.search(r"#!/(model/model|seed/seed)\.cartograph\.", link) for link in links.values())


def test_every_dbt_test_is_a_check_that_blocks_unless_it_only_warns(graph: dg.AssetGraph) -> None:
    settings = get_settings()
    nodes = read_manifest(parsed_project(settings, load_shop(settings).datasets))["nodes"].values()
    tests = [node for node in nodes if node["resource_type"] == "test" and node["config"]["enabled"]]
    checks = {k.name: graph.get(k).blocking for k in graph.asset_check_keys if k.asset_key.path[0] != "published"}
    assert checks == {test["name"]: test["config"]["severity"].upper() == "ERROR" for test in tests}
    assert sum(not is_blocking for is_blocking in checks.values()) <= 2, "a warning is an exception"
    published = {k.name for k in graph.asset_check_keys if k.asset_key.path[0] == "published"}
    assert published == {"rows_match_mart"}


def test_state_stays_out_of_the_repository(graph: dg.AssetGraph) -> None:
    del graph
    repository = Path(__file__).parents[2] / "dbt_project"
    assert not [name for name in ("target", "logs", "dbt_packages") if (repository / name).exists()]


@pytest.mark.parametrize(("status", "by_checks"), [("pass", True), ("error", False)])
def test_a_failure_of_dbt_names_the_checks_where_nothing_else_failed(
    tmp_path: Path, status: str, by_checks: bool
) -> None:
    nodes = {
        "test.sums": {"resource_type": "test", "name": "sums", "compiled_path": "/t/sums.sql"},
        "model.orders": {"resource_type": "model", "name": "orders", "original_file_path": "models/orders.sql"},
    }
    results = [
        {"unique_id": "test.sums", "status": "fail", "message": "Got 2 results"},
        {"unique_id": "model.orders", "status": status, "message": "Binder Error"},
    ]
    (tmp_path / "manifest.json").write_text(json.dumps({"nodes": nodes}))
    (tmp_path / "run_results.json").write_text(json.dumps({"results": results}))
    failed, warned = (
        dg.AssetCheckResult(
            passed=False,
            asset_key=key("marts/orders"),
            check_name=name,
            severity=severity,
            metadata={"dagster_dbt/failed_row_count": 2},
        )
        for name, severity in (("sums", dg.AssetCheckSeverity.ERROR), ("few", dg.AssetCheckSeverity.WARN))
    )
    failure = failure_of(tmp_path, [failed, warned])
    assert failure is not None
    assert "test sums: Got 2 results" in str(failure.description)
    told = {name: value.value for name, value in failure.metadata.items()}
    assert told == ({"failed_checks": [[["marts", "orders"], "sums"]]} if by_checks else {})


def test_what_the_warehouse_lacks_is_said_with_the_cure_before_dbts_sql(tmp_path: Path) -> None:
    node = {"resource_type": "model", "name": "rfm_segments", "original_file_path": "models/rfm_segments.sql"}
    message = (
        "Runtime Error in model rfm_segments\n  Catalog Error: Table with name "
        '"intermediate.int_customers_summed" does not exist because schema "intermediate" does not exist.\n  LINE 4: …'
    )
    result = {"unique_id": "model.rfm", "status": "error", "message": message}
    (tmp_path / "manifest.json").write_text(json.dumps({"nodes": {"model.rfm": node}}))
    (tmp_path / "run_results.json").write_text(json.dumps({"results": [result]}))
    failure = failure_of(tmp_path, [])
    assert failure is not None
    first, *rest = str(failure.description).splitlines()
    assert first == (
        "The warehouse lacks intermediate.int_customers_summed, of which what was chosen is made. Run over the whole "
        "history once: `cartograph run` without --select, or all partitions in the UI."
    )
    assert "LINE 4" in "".join(rest)


def test_dbt_that_ran_nothing_names_no_failure(tmp_path: Path) -> None:
    assert failure_of(tmp_path, []) is None
