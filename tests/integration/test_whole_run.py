"""The main job on a small simulated shop: it succeeds, and a mistake ends in one message."""

from __future__ import annotations

import json
import re
from pathlib import Path

import dagster as dg
import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from cartograph.cli.instance import open_instance
from cartograph.cli.jobs import LOCATIONS
from cartograph.erasure import Wanted, scan
from cartograph.lake import Lake
from cartograph.releases import open_store
from cartograph.shops import load_shop
from ecom_assets.personal import personal_values
from tests.support.whole_run import Bench


def test_a_run_ends_in_a_summary_and_a_verified_release(small_shop: tuple[Bench, str]) -> None:
    bench, printed = small_shop
    release = open_store(bench.settings).current()
    assert release.release_id in printed
    assert re.search(r"checks +\d+ passed, \d+ warned, 0 failed", printed)
    layers = (
        "raw",
        "staging",
        "marts",
        "published",
        "quality",
        "features",
        "models",
        "predictions",
        "causal",
        "serving",
    )
    for layer in layers:
        assert re.search(rf"\b{layer}\b", printed)
    loaded = re.search(
        r"loaded   ([\d,]+) rows delivered: ([\d,]+) accepted, ([\d,]+) merged .* ([\d,]+) quarant", printed
    )
    assert loaded is not None
    delivered, *became = (int(figure.replace(",", "")) for figure in loaded.groups())
    assert delivered == sum(became)
    assert min(became) > 0
    assert release.release_id in bench.cartograph("release", "verify")
    blocking = [check for check in release.inputs.checks if check.blocking and check.severity == "ERROR"]
    assert {(check.passed, check.basis) for check in blocking} == {(True, "current")}
    assert {check.asset_key.split("/")[0] for check in blocking} >= {"raw", "staging", "marts", "published", "features"}
    assert release.inputs.snapshots.keys() >= {"raw.orders", "published.fct_orders", "features.customer_features"}


def test_no_file_of_the_release_holds_personal_data(small_shop: tuple[Bench, str], tmp_path: Path) -> None:
    """Addresses, numbers and devices of a hundred customers, looked for in what each file says when it is decoded."""
    settings = small_shop[0].settings
    lake, released = Lake.from_settings(settings), open_store(settings).current()
    with lake.connect() as connection:
        rows = connection.execute(f"SELECT DISTINCT customer_id FROM ({lake.relation_sql('raw.customers')}) ORDER BY 1")
        customers = [customer for (customer,) in rows.fetchmany(100)]
    identifiers = frozenset(found.value for found in personal_values(lake, customers) if found.is_identifier)
    assert len(identifiers) > 100
    (tmp_path / "control.txt").write_text(f"Write to {min(identifiers)}.", encoding="utf-8")
    folder = Path(settings.resolved_release_uri) / released.release_id
    lake.close_connections()
    found = scan([folder, tmp_path], Wanted(frozenset(), identifiers), lake.connect)
    assert found.files == sum(path.is_file() for path in folder.rglob("*")) + 1
    assert [hit.partition(":")[0] for hit in found.hits] == [str(tmp_path / "control.txt")]


def test_status_tells_the_state_as_json(small_shop: tuple[Bench, str]) -> None:
    bench, _ = small_shop
    status = json.loads(bench.cartograph("status", "--json"))
    assert status["shop"] == "small"
    assert status["switched_off"] == {}
    assert {run["job"]: run["status"] for run in status["last_runs"]} == {
        job: "success" for location in LOCATIONS for job in location.jobs
    }
    assert status["release"] == open_store(bench.settings).current().release_id
    assert status["tables"]["published.fct_orders"] > 0


def test_each_check_says_what_was_expected_what_was_found_and_what_to_do(small_shop: tuple[Bench, str]) -> None:
    settings = small_shop[0].settings
    keys = [
        dg.AssetCheckKey(dg.AssetKey.from_user_string(check.asset_key), check.name)
        for check in open_store(settings).current().inputs.checks
    ]
    assert len(keys) > 250
    with open_instance(settings) as instance:
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
        told = {key: record.evaluation.metadata for key, record in latest.items() if record.evaluation is not None}
    assert told.keys() == set(keys)
    assert [key for key, said in told.items() if not said.keys() >= {"expected", "found", "samples", "runbook"}] == []
    assert all(str(said["runbook"].value).startswith("docs/runbook.md#") for said in told.values())


def test_each_dataset_and_partition_has_a_score(small_shop: tuple[Bench, str]) -> None:
    lake = Lake.from_settings(small_shop[0].settings)
    with lake.connect() as connection:
        rows = connection.execute(
            f"""
            SELECT dataset, count(*), min(score), min(reconciliation)
            FROM ({lake.relation_sql("quality.scores")}) GROUP BY ALL"""
        ).fetchall()
    assert {dataset for dataset, *_ in rows} == load_shop(small_shop[0].settings).datasets
    assert {partitions for dataset, partitions, *_ in rows if dataset in {"orders", "events", "customers"}} == {12}
    assert all(95 < lowest <= 100 for _, _, lowest, _ in rows)
    assert {reconciled for *_, reconciled in rows} == {100.0, None}, "each row is found again in the facts"


def test_published_marts_hold_what_raw_holds(small_shop: tuple[Bench, str]) -> None:
    bench, _ = small_shop
    lake = Lake.from_settings(bench.settings)
    with lake.connect() as connection:
        raw = connection.sql(f"SELECT count(DISTINCT order_id) FROM ({lake.relation_sql('raw.orders')})").fetchall()
        mart = connection.sql(f"SELECT count(*) FROM ({lake.relation_sql('published.fct_orders')})").fetchall()
        lines = connection.sql(
            f"""
            SELECT sum(round(quantity * unit_price, 2) - discount_amount)
            FROM ({lake.relation_sql("raw.order_items")})
            """
        ).fetchall()
        sold = connection.sql(
            f"SELECT sum(net_amount) FROM ({lake.relation_sql('published.fct_order_items')})"
        ).fetchall()
    assert raw == mart
    assert lines == sold


def test_the_api_serves_what_was_released(small_shop: tuple[Bench, str]) -> None:
    bench, _ = small_shop
    scores = Lake.from_settings(bench.settings).batches("predictions.churn_scores").read_all().to_pylist()
    released = open_store(bench.settings).current()
    with TestClient(create_app(bench.settings), base_url="http://localhost") as client:
        release = client.get("/v1/release").json()
        assert release["release_id"] == released.release_id
        taken = [feature["name"] for feature in release["models"][0]["features"]]
        assert client.get("/v1/causal/effects").json()["effects"]
        for score in scores[:20]:
            customer = client.get(f"/v1/customers/{score['customer_id']}").json()
            assert customer["churn"]["probability"] == pytest.approx(score["churn_probability"])
            features = {name: customer["features"][name] for name in taken}
            predicted = client.post("/v1/predict/churn", json={"features": features}).json()
            assert predicted["probability"] == pytest.approx(score["churn_probability"], abs=1e-6)
            assert predicted["model_version"] == released.inputs.models["churn_classifier"]


@pytest.mark.parametrize(
    ("variables", "arguments", "message"),
    [
        ({"CARTOGRAPH_ENV": "prod"}, ["run"], "CARTOGRAPH_ENV=prod"),
        ({"CARTOGRAPH_SHOP": "nowhere"}, ["run"], "There is no shop 'nowhere'"),
        ({}, ["run", "--shop", "nowhere"], "There is no shop 'nowhere'"),
        ({}, ["run", "--from", "2031-01-01"], "No monthly partition of small lies in --from/--to"),
        ({}, ["release", "verify"], "cartograph run"),
        ({}, ["release", "rollback"], "There is no earlier release"),
        ({}, ["release", "rollback", "--from", "2026-01-01-0123456789ab"], "There is no earlier release"),
        ({}, ["release", "rollback", "2026-01-01-0123456789ab", "--from", "x"], "give one of them"),
        ({}, ["lake", "snapshots", "raw.nothing"], "raw.nothing"),
        ({"CARTOGRAPH_DAGSTER_PORT": "0"}, ["up"], "CARTOGRAPH_DAGSTER_PORT=0"),
        ({}, ["run", "--from", "2024-03-01", "--to", "2024-01-01"], "is after --to"),
        ({"CARTOGRAPH_SHOPS_DIR": "/no/[/such]/folder"}, ["run"], "/no/[/such]/folder"),
        ({"CARTOGRAPH_SHOPS_DIR": "/no/such/folder"}, ["shops", "list"], "CARTOGRAPH_SHOPS_DIR"),
        ({"CARTOGRAPH_HOME": "/proc/home"}, ["run"], "CARTOGRAPH_HOME=/proc/home"),
    ],
)
def test_a_mistake_ends_in_its_message(
    tmp_path: Path, variables: dict[str, str], arguments: list[str], message: str
) -> None:
    bench = Bench.with_small_shop(tmp_path)
    bench.variables.update(variables)
    printed = bench.cartograph(*arguments, expect=2)
    assert message in printed
    assert "Traceback" not in printed
