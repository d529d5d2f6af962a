"""Following a run tells its assets, their rows, the checks and the first cause of a failure, from real event logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from cartograph.cli.progress import RunLog, follow
from cartograph.cli.run import summarise
from cartograph.settings import Settings

PARTITIONS = dg.StaticPartitionsDefinition(["a", "b", "c"])


@dg.asset(partitions_def=PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run())
def orders() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"dagster/row_count": 42})


@dg.asset
def customers() -> dg.MaterializeResult[None]:
    figures = {"delivered_rows": 12, "accepted_rows": 7, "merged_duplicates": 2, "quarantined_rows": 3}
    return dg.MaterializeResult(metadata={"dagster/row_count": 7, **figures})


@dg.asset(deps=[orders], check_specs=[dg.AssetCheckSpec("totals_agree", asset="report")])
def report() -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    yield dg.MaterializeResult()
    yield dg.AssetCheckResult(check_name="totals_agree", passed=False, severity=dg.AssetCheckSeverity.WARN)


@dg.asset(check_specs=[dg.AssetCheckSpec("has_rows", asset="gated", blocking=True)])
def gated() -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    yield dg.MaterializeResult()
    yield dg.AssetCheckResult(check_name="has_rows", passed=False, description="no row came")


@dg.asset
def broken() -> None:
    try:
        raise OSError("disk full")
    except OSError as error:
        raise RuntimeError("could not write") from error


@dg.asset
def mistaken() -> None:
    raise dg.Failure(description="no file matches data/*.csv: mount the folder")


@dg.asset
def broken_too() -> None:
    raise dg.Failure(description="no such column: prize")


def logged(*assets: dg.AssetsDefinition) -> RunLog:
    log = RunLog()
    tags = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "c"}
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(assets, instance=instance, tags=tags, raise_on_error=False)
        follow(instance, result.run_id, log)
        assert follow(instance, result.run_id, log) == []
    return log


def test_an_asset_is_told_once_whatever_the_number_of_partitions() -> None:
    log = logged(orders, report)
    assert {key: done.rows for key, done in log.assets.items()} == {"orders": 42, "report": None}
    assert log.checks == {("report", "totals_agree"): "warned"}
    assert log.complaints == {("report", "totals_agree"): "did not pass"}
    assert log.succeeded
    assert log.first_cause is None


def test_what_became_of_delivered_rows_is_summed_over_all_loads() -> None:
    log = logged(customers, orders)
    assert log.loaded == {"delivered_rows": 12, "accepted_rows": 7, "merged_duplicates": 2, "quarantined_rows": 3}


def test_rows_that_nobody_counted_are_not_told_as_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = logged(orders, report)
    log.succeeded = False
    summarise(Settings(home=tmp_path), [log], 1.0)
    told = [line.split("│")[1:4] for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [[cell.strip() for cell in cells] for cells in told] == [["orders", "1", "42"], ["report", "1", "–"]]


@pytest.mark.parametrize(
    ("asset", "cause"),
    [
        (gated, "The check has_rows of gated failed: no row came"),
        (broken, "broken: OSError: disk full"),
        (mistaken, "mistaken: no file matches data/*.csv: mount the folder"),
    ],
)
def test_the_first_cause_is_named(asset: dg.AssetsDefinition, cause: str) -> None:
    log = logged(asset)
    assert not log.succeeded
    assert log.first_cause == cause


def test_further_causes_are_told_and_not_what_a_check_stopped() -> None:
    log = logged(broken, broken_too, gated)
    assert log.first_cause == "broken: OSError: disk full"
    assert log.further_causes == ["broken_too: no such column: prize"]
    assert log.complaints == {("gated", "has_rows"): "no row came"}
