"""How dbt is called, and what its project says of itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
import yaml
from sqlglot import exp

from cartograph.settings import Settings
from cartograph.windows import Window
from ecom_assets.contracts import CONTRACTS
from ecom_assets.warehouse import dbt_project
from ecom_assets.warehouse.dbt_project import (
    PARSES_KEPT,
    DbtProjectError,
    dbt_environment,
    environment_of,
    failures,
    looks_at_window,
    offending_rows,
    parsed_project,
    parsed_projects,
    read_manifest,
)
from ecom_assets.warehouse.marts import event_time, marts
from tests.unit.warehouse.making import at, tiny_shop

MODELS = {
    model["name"]: model
    for path in dbt_project.PROJECT_DIR.glob("models/**/_*__models.yml")
    for model in yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
}
RENAMED = {
    "stg_shop__products": {"name": "product_name"},
    "stg_shop__campaigns": {"name": "campaign_name"},
    "stg_shop__payments": {"method": "payment_method", "status": "payment_status"},
    "stg_shop__orders": {"subtotal_amount": "gross_amount"},
    "stg_shop__reviews": {"body": "review_text"},
}
DERIVED = {"fct_sessions", "dim_dates", "dim_geographies", "dim_payment_methods"}
"""Models of the star whose rows are not those of a dataset."""
LOGIC = (exp.Func, exp.Binary, exp.Literal, exp.Join, exp.Where, exp.Group, exp.Distinct, exp.SetOperation, exp.Limit)
"""What SQL may have besides columns of one relation."""
TYPES = {
    "string": "varchar",
    "bigint": "bigint",
    "double": "double precision",
    "money": "decimal(18, 2)",
    "price": "decimal(18, 4)",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamptz",
}


def sizes(model: str) -> set[str]:
    """The columns of a model that can be summed exactly: amounts and counts."""
    return {c["name"] for c in MODELS[model]["columns"] if c["data_type"].startswith(("decimal", "bigint"))}


def reconciled(model: str) -> dict[str, Any]:
    """The arguments of a model's test `reconciles_with`."""
    (found,) = [t["reconciles_with"] for t in MODELS[model]["data_tests"] if "reconciles_with" in t]
    return {"measures": [], **found["arguments"]}


def write(path: Path) -> None:
    path.write_text("{}", encoding="utf-8")


def names(columns: list[str]) -> set[str]:
    return {column.split(" as ")[-1] for column in columns}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return tiny_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def parsed(settings: Settings) -> Path:
    return parsed_project(settings, set(CONTRACTS))


def test_the_environment_leads_dbt_to_this_shop(settings: Settings) -> None:
    variables = dbt_environment(settings, {"orders", "customers"}, window=Window(at("2024-01-01"), at("2024-03-01")))
    assert variables["CARTOGRAPH_SHOP"] == "tiny"
    assert variables["CARTOGRAPH_HOME"] == str(settings.home)
    assert variables["CARTOGRAPH_DBT_WAREHOUSE"] == str(settings.warehouse_path)
    assert variables["CARTOGRAPH_DBT_DATASETS"] == "customers,orders"
    assert (variables["CARTOGRAPH_DBT_MIN_DATE"], variables["CARTOGRAPH_DBT_MAX_DATE"]) == ("2024-01-01", "2024-03-01")
    assert "CARTOGRAPH_LAKE_URI" not in variables, "what is unset must stay unset"


def test_an_environment_lasts_as_long_as_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTOGRAPH_A", "before")
    monkeypatch.delenv("CARTOGRAPH_B", raising=False)
    with environment_of({"CARTOGRAPH_A": "now", "CARTOGRAPH_B": "now"}):
        assert (os.environ["CARTOGRAPH_A"], os.environ["CARTOGRAPH_B"]) == ("now", "now")
    assert os.environ["CARTOGRAPH_A"] == "before"
    assert "CARTOGRAPH_B" not in os.environ


def test_a_project_that_has_not_changed_is_not_parsed_again_for_any_home(
    tmp_path: Path, parsed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbt_project, "dbt_executable", lambda: "/no/such/dbt")
    elsewhere = tiny_shop(tmp_path)
    assert parsed_project(elsewhere, set(CONTRACTS)) == parsed
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        parsed_project(elsewhere, set(CONTRACTS))


def test_each_set_of_datasets_and_each_grain_has_a_parse_and_the_latest_are_kept(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(dbt_project, "_parse", lambda _settings, _datasets, target: write(target / "manifest.json"))
    first = parsed_project(settings, {"orders"})
    assert parsed_project(settings.model_copy(update={"partition_grain": "weekly"}), {"orders"}) != first
    later = [parsed_project(settings, {"orders", f"dataset_{number}"}) for number in range(PARSES_KEPT)]
    assert set(parsed_projects(settings).glob("[!.]*")) == set(later)


def test_a_parse_starts_from_an_earlier_one_of_the_same_folder_and_datasets_only(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Started from a parse of fewer datasets, dbt leaves the unit tests disabled that were so there.

    Started from one of a project elsewhere, it looks for the seeds there.
    """
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    started: list[tuple[str, bool]] = []

    def parse(_: Settings, datasets: set[str], target: Path) -> None:
        started.append((",".join(sorted(datasets)), (target / "partial_parse.msgpack").is_file()))
        for name in ("manifest.json", "partial_parse.msgpack"):
            (target / name).write_text("{}")

    monkeypatch.setattr(dbt_project, "_parse", parse)
    parsed_project(settings, {"orders"})
    parsed_project(settings, {"orders", "events"})
    parsed_project(settings.model_copy(update={"partition_grain": "daily"}), {"orders"})
    assert started == [("orders", False), ("events,orders", False), ("orders", True)]
    shutil.copytree(dbt_project.PROJECT_DIR, tmp_path / "moved", ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.setattr(dbt_project, "PROJECT_DIR", tmp_path / "moved")
    parsed_project(settings, {"orders"})
    assert started[-1] == ("orders", False)


def test_where_the_python_environment_cannot_be_written_the_home_has_the_parse(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "absent"))
    assert parsed_projects(settings).is_relative_to(settings.shop_home)


def test_a_project_that_does_not_parse_is_told_in_dbts_words(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "dbt_project"
    (broken / "models").mkdir(parents=True)
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(dbt_project.PROJECT_DIR / name, broken)
    (broken / "models" / "broken.sql").write_text("select * from {{ ref('no_such_model') }}")
    monkeypatch.setattr(dbt_project, "PROJECT_DIR", broken)
    with pytest.raises(DbtProjectError, match=r"(?s)cannot be parsed:.*no_such_model.*log is in"):
        parsed_project(settings, set(CONTRACTS))
    assert not list(parsed_projects(settings).glob(".parsing-*")), "nothing is left of the attempt"


def test_failures_name_the_test_its_words_and_its_sql(tmp_path: Path) -> None:
    nodes = {
        "test.a": {"resource_type": "test", "name": "unique_x", "compiled_path": "/t/compiled/unique_x.sql"},
        "model.b": {"resource_type": "model", "name": "b", "original_file_path": "models/b.sql"},
    }
    results = [
        {"unique_id": "test.a", "status": "fail", "message": "Got 2 results"},
        {"unique_id": "model.b", "status": "error", "message": "Binder Error"},
        {"unique_id": "test.c", "status": "pass", "message": None},
    ]
    assert failures(tmp_path) == []
    (tmp_path / "manifest.json").write_text(json.dumps({"nodes": nodes}))
    (tmp_path / "run_results.json").write_text(json.dumps({"results": results}))
    assert failures(tmp_path) == [
        "test unique_x: Got 2 results (compiled SQL: /t/compiled/unique_x.sql)",
        f"model b: Binder Error (compiled SQL: {dbt_project.PROJECT_DIR / 'models/b.sql'})",
    ]


def test_everything_that_is_published_has_a_contract(parsed: Path) -> None:
    found = {mart.name: mart.contract for mart in marts(read_manifest(parsed))}
    assert {name: contract.event_time for name, contract in found.items()} == {
        "abandoned_touches": None,
        "agg_daily_sales": "order_date",
        "agg_customer_metrics": None,
        "agg_product_performance": "sales_date",
        "category_affinity": None,
        "customer_cohorts": None,
        "customer_lifetime_value": None,
        "customer_product_interactions": None,
        "market_basket_rules": None,
        "campaign_performance": None,
        "category_funnel": "session_date",
        "channel_attribution": None,
        "conversion_funnel": "session_date",
        "dim_campaigns": None,
        "dim_customers": None,
        "dim_dates": None,
        "dim_geographies": None,
        "dim_payment_methods": None,
        "dim_products": None,
        "discount_impact": None,
        "fct_events": "occurred_at",
        "fct_experiment_assignments": "assigned_at",
        "fct_inventory_daily": "snapshot_date",
        "fct_marketing_spend": "spend_date",
        "fct_order_items": "ordered_at",
        "fct_orders": "ordered_at",
        "fct_payments": "paid_at",
        "fct_refunds": "refunded_at",
        "fct_reviews": "reviewed_at",
        "inventory_status": None,
        "payment_mix": None,
        "fct_sessions": "started_at",
        "order_touches": None,
        "rfm_segments": None,
        "sales_by_geography": None,
        "weekday_sales": None,
    }
    assert found["dim_customers"].column("email").pii == "email"
    assert found["fct_orders"].column("customer_id").nullable
    assert not found["fct_orders"].column("customer_key").nullable


def test_every_test_belongs_to_a_model_so_that_it_becomes_a_check(parsed: Path) -> None:
    for node in read_manifest(parsed)["nodes"].values():
        if node["resource_type"] == "test" and node.get("attached_node") is None:
            named = node["config"]["meta"].get("dagster", {}).get("ref", {}).get("name")
            assert len(node["depends_on"]["nodes"]) == 1 or named in MODELS, f"{node['name']} belongs to no model"


def test_nothing_is_disabled_where_everything_is_delivered(parsed: Path) -> None:
    """dbt disables a test that reads a source which is not declared, and says so in its log only."""
    manifest = read_manifest(parsed)
    nodes = {unique_id: node["config"]["enabled"] for unique_id, node in manifest["nodes"].items()}
    assert [unique_id for unique_id, enabled in nodes.items() if not enabled] == []
    assert list(manifest["disabled"]) == []


def test_names_of_models_and_unit_tests_are_short_enough_for_postgres(parsed: Path) -> None:
    manifest = read_manifest(parsed)
    models = [node["name"] for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    unit_tests = [test["name"] for test in manifest["unit_tests"].values()]
    assert [name for name in models + unit_tests if len(name) > 63] == []


def test_each_model_with_logic_has_a_unit_test(parsed: Path) -> None:
    manifest = read_manifest(parsed)
    models = {node["name"]: node["raw_code"] for node in manifest["nodes"].values() if node["resource_type"] == "model"}
    tested = {test["model"] for test in manifest["unit_tests"].values()}
    assert [name for name, sql in models.items() if has_logic(sql) and name not in tested] == []
    assert {name for name, sql in models.items() if not has_logic(sql)} == {"dim_campaigns", "fct_marketing_spend"}


def test_a_test_that_looks_at_the_window_only_is_known_as_such(parsed: Path) -> None:
    tests = [node for node in read_manifest(parsed)["nodes"].values() if node["resource_type"] == "test"]
    own = [test for test in tests if not test.get("test_metadata")]
    windowed = {test["name"] for test in own if "macro.cartograph.in_window" in test["depends_on"]["macros"]}
    assert windowed == {test["name"] for test in own if looks_at_window(test)} != set()
    generic = {test["name"] for test in tests if test not in own and looks_at_window(test)}
    assert {"reconciles_fct_orders", "reconciles_fct_order_items"} <= generic
    assert "unique_fct_orders" not in generic


def has_logic(sql: str) -> bool:
    """Whether a model does more than choose columns of one other and the rows of the run's window."""
    plain = re.sub(r"\{\{ config\(.*?\) \}\}", "", sql, flags=re.DOTALL)
    plain = re.sub(r"\{\{ (ref|source)\(.*?\) \}\}", "model", plain)
    plain = re.sub(r"where \{\{ in_window\(.*?\) \}\}", "", plain)
    if "{{" in plain or "{%" in plain:
        return True
    return sqlglot.parse_one(plain, read="duckdb").find(*LOGIC) is not None


@pytest.mark.parametrize(
    "logic",
    [
        *("amount * 2 FROM one", "DISTINCT amount FROM one", "row_number() OVER (ORDER BY amount) FROM one"),
        *("amount FROM one JOIN two USING (id)", "amount FROM one GROUP BY amount", "amount FROM one WHERE is_sold"),
        *("amount FROM one UNION ALL SELECT 1", "CASE WHEN is_sold THEN amount END FROM one", "1 AS rank FROM one"),
        *("CAST(amount AS int) FROM one", "{{ utc_date('paid_at') }} FROM one", "amount FROM one LIMIT 1"),
    ],
)
def test_logic_is_all_that_a_unit_test_could_prove_of_a_model(logic: str) -> None:
    assert has_logic(f"SELECT {logic}")


@pytest.mark.parametrize("name", MODELS)
def test_each_model_is_described_and_owned(name: str, parsed: Path) -> None:
    node = read_manifest(parsed)["nodes"][f"model.cartograph.{name}"]
    assert node["description"].endswith(".")
    assert node["config"]["group"] in {"data_platform", "analytics"}
    assert node["config"]["meta"]["domain"]
    assert node["columns"]
    for column in node["columns"].values():
        assert column["description"], f"{name}.{column['name']}"
        assert column["data_type"], f"{name}.{column['name']}"


@pytest.mark.parametrize("dataset", CONTRACTS)
def test_staging_has_the_columns_of_the_contract(dataset: str) -> None:
    name = f"stg_shop__{dataset}"
    renamed = RENAMED.get(name, {})
    described: list[tuple[Any, ...]] = [
        (c["name"], c["data_type"], c.get("config", {}).get("meta", {}).get("pii")) for c in MODELS[name]["columns"]
    ]
    assert described == [(renamed.get(c.name, c.name), TYPES[c.type], c.pii) for c in CONTRACTS[dataset].columns]


def test_offending_rows_are_told_by_their_keys_and_by_how_much_they_are_wrong(tmp_path: Path) -> None:
    selects = {
        "keys": "SELECT 'o1' AS order_id, 'placed' AS status",
        "pairs": "SELECT 'o1' AS order_id, 5.00 AS amount, NULL AS found_amount, 7 AS other",
        "sums": "SELECT DATE '2024-01-02' AS order_date, 0 AS missing_units, -0.01 AS missing_amount",
        "neither": "SELECT 7 AS rows, 8 AS columns UNION ALL SELECT 9, 10",
    }
    results = [{"status": "fail", "unique_id": name, "compiled_code": sql} for name, sql in selects.items()]
    results += [{"status": "pass", "unique_id": "sound", "compiled_code": "SELECT 1 AS id"}]
    (tmp_path / "run_results.json").write_text(json.dumps({"results": results}))
    with duckdb.connect() as connection:
        assert offending_rows(connection, tmp_path, 1) == {
            "keys": ["order_id=o1"],
            "pairs": ["order_id=o1, amount=5.00, found_amount=None"],
            "sums": ["order_date=2024-01-02, missing_units=0, missing_amount=-0.01"],
            "neither": ["rows=7"],
        }


@pytest.mark.parametrize("dataset", sorted(CONTRACTS))
def test_each_staging_model_is_held_against_its_dataset_in_all_amounts_and_counts(dataset: str) -> None:
    model, contract = f"stg_shop__{dataset}", CONTRACTS[dataset]
    told = reconciled(model)
    assert told["origin"] == f"source('shop', '{dataset}')"
    assert told["event_time"] == contract.event_time
    assert set(told["keys"]) | {told.get("version")} >= set(contract.key)
    assert names(told["measures"]) | set(told["keys"]) >= sizes(model)


@pytest.mark.parametrize("fact", sorted(m for m in MODELS if m.startswith(("fct_", "dim_")) and m not in DERIVED))
def test_each_fact_is_held_against_staging_in_all_amounts_and_counts_that_it_takes_over(fact: str) -> None:
    told = reconciled(fact)
    staged = told["origin"].removeprefix("ref('").removesuffix("')")
    assert staged.startswith("stg_shop__")
    taken_over = sizes(staged) & sizes(fact) - {"line_number"}
    assert names(told["measures"]) == taken_over


def test_what_a_bare_dbt_leaves_in_the_project_changes_no_parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project = tmp_path / "dbt_project"
    shutil.copytree(dbt_project.PROJECT_DIR / "models", project / "models")
    monkeypatch.setattr(dbt_project, "PROJECT_DIR", project)
    settings = tiny_shop(tmp_path)
    asked = parsed_projects(settings) / "anything"
    monkeypatch.setattr(dbt_project, "_parse_into", lambda folder, *_: parses.append(folder))
    parses: list[Path] = []
    parsed_project(settings, ["orders"])
    compiled = project / "target" / "compiled" / "cartograph" / "models" / "_intermediate__models.yml"
    compiled.mkdir(parents=True)
    (compiled / "test.sql").write_text("select 1", encoding="utf-8")
    (project / "logs").mkdir()
    (project / "logs" / "notes.md").write_text("x", encoding="utf-8")
    parsed_project(settings, ["orders"])
    assert parses[0] == parses[1]
    assert parses[0].parent == asked.parent


def test_a_mart_says_of_which_others_it_reads_rows_outside_its_window(parsed: Path) -> None:
    models = [node for node in read_manifest(parsed)["nodes"].values() if node["resource_type"] == "model"]
    windowed = {model["name"]: model for model in models if event_time(model)}
    said = {name: model["config"]["meta"].get("looks_up", []) for name, model in windowed.items()}
    assert {name: sorted(looked_up) for name, looked_up in said.items()} == {
        name: sorted(looked_up_in(model["raw_code"]) & windowed.keys()) for name, model in windowed.items()
    }
    assert said["fct_refunds"], "an order that is refunded is mostly of an earlier day"


def looked_up_in(sql: str) -> set[str]:
    """What a model's CTEs read without binding it to the window, which is of what stands after FROM."""
    found = set()
    for part in re.split(r"^\w+ as \($|^with \w+ as \($", sql, flags=re.MULTILINE):
        for word, name in re.findall(r"(from|join) {{ ref\('(\w+)'\) }}", part):
            if word == "join" or "in_window(" not in part:
                found.add(name)
    return found
