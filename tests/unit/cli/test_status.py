"""What the last runs found is told once: by `cartograph status`, and by `alerts list` before any sensor ran."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from cartograph.alerts.ledger import Ledger
from cartograph.cli.alerts import list_alerts
from cartograph.cli.instance import open_instance, prepare_home
from cartograph.cli.status import collect, status
from cartograph.lake import Lake
from cartograph.settings import load_settings
from cartograph.shops import load_shop
from ecom_assets.attribution.markov import CONTRACT
from tests.unit.warehouse.making import tiny_shop


@dg.asset(check_specs=[dg.AssetCheckSpec(name, asset="gated", blocking=True) for name in ("has_rows", "has_sums")])
def gated() -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    yield dg.MaterializeResult()
    yield dg.AssetCheckResult(check_name="has_rows", passed=False, description="no row came")
    yield dg.AssetCheckResult(
        check_name="has_sums", passed=False, description="no sum, either", severity=dg.AssetCheckSeverity.WARN
    )


@dg.asset
def broken() -> None:
    raise dg.Failure(description="no file matches data/*.csv: mount the folder")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CARTOGRAPH_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


def run(*assets: dg.AssetsDefinition) -> None:
    prepare_home(load_settings())
    with open_instance(load_settings()) as instance:
        dg.materialize(assets, instance=instance, raise_on_error=False)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("command", [status, list_alerts])
def test_a_failed_check_is_told_once(command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    run(gated)
    command()
    printed = capsys.readouterr().out
    assert [printed.count(reason) for reason in ("gated has_rows: no row came", "no row came", "no sum, either")] == [
        1,
        1,
        1,
    ]
    assert "0 passed, 1 warned, 1 failed" in printed


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("command", [status, list_alerts])
def test_what_an_asset_says_of_its_failure_is_told_once(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    run(broken)
    command()
    assert capsys.readouterr().out.count("broken: no file matches data/*.csv: mount the folder") == 1


@pytest.mark.usefixtures("home")
def test_a_mart_without_a_row_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    run(broken)
    lake = Lake.from_settings(load_settings())
    for name in ("published.hollow", "published.full"):
        lake.ensure(name, CONTRACT, None)
        with lake.overwriting(name, None) as writer:
            row = {
                "channel": "email",
                "removal_effect": 1,
                "credit_share": 1,
                "orders_credited": 0,
                "revenue_amount": 0,
            }
            rows = [row] if name == "published.full" else []
            writer.write(pa.Table.from_pylist(rows, schema=CONTRACT.arrow_schema()))
    status()
    assert "\nempty     hollow: what the shop delivers gives no row" in capsys.readouterr().out
    status(as_json=True)
    assert json.loads(capsys.readouterr().out)["empty_marts"] == ["hollow"]


def test_what_python_makes_of_a_dataset_is_absent_with_it(tmp_path: Path) -> None:
    without, with_events = (tiny_shop(tmp_path / str(number), *names) for number, names in enumerate([(), ("events",)]))
    absent = collect(without, load_shop(without)).absent_marts["events"]
    assert "markov_attribution" in absent
    assert absent == sorted(absent)
    assert "events" not in collect(with_events, load_shop(with_events)).absent_marts


def test_alerts_before_any_run_say_where_they_come_from(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    list_alerts()
    assert "cartograph up" in capsys.readouterr().out
    assert list(home.iterdir()) == [], "looking makes nothing"


@pytest.mark.usefixtures("home")
def test_alerts_are_those_of_the_sensors_once_these_ran(capsys: pytest.CaptureFixture[str]) -> None:
    run(gated)
    Ledger(load_settings().alerts_path)
    list_alerts()
    assert capsys.readouterr().out == "Nothing fails.\n"
