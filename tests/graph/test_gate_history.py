"""The gate on the history of real runs: what stands after many of them, and after one that came to no result."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from cartograph.releases import CheckOutcome
from cartograph.trust.asset_graph import GuardedAsset
from cartograph.trust.automation import RANGE_TAGS
from cartograph.trust.gate import check_outcomes, looked_at
from cartograph.windows import Window, at_midnight

MONTHS = dg.MonthlyPartitionsDefinition("2024-01-01", end_date="2025-01-01")
STOCK = GuardedAsset("stock", (), {"is_usual": True})


@dataclass
class Load:
    """What the load of the test does next."""

    passed: bool = True
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
    dies: bool = False
    meanwhile: Callable[[dg.DagsterInstance], object] = lambda _: None


LOAD = Load()


@dg.asset(
    partitions_def=MONTHS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[dg.AssetCheckSpec("is_usual", asset="stock", blocking=True)],
)
def stock(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Writes its rows first; a run that dies then has neither materialisation nor result."""
    LOAD.meanwhile(context.instance)
    if LOAD.dies:
        raise ValueError("killed")
    yield dg.MaterializeResult()
    first, last = context.partition_time_window
    window = looked_at(Window(first.replace(tzinfo=UTC), last.replace(tzinfo=UTC)))
    yield dg.AssetCheckResult(passed=LOAD.passed, severity=LOAD.severity, metadata=window)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def load(instance: dg.DagsterInstance, first: int, last: int | None = None, **what: Any) -> None:
    """Load a month of 2024, or those from `first` to `last`."""
    LOAD.__dict__.update(Load(**what).__dict__)
    keys = [f"2024-{month:02d}-01" for month in (first, last or first)]
    tags = dict(zip(RANGE_TAGS, keys, strict=True)) if last else {"dagster/partition": keys[0]}
    job = dg.Definitions(assets=[stock]).resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)


def outcome(instance: dg.DagsterInstance) -> CheckOutcome:
    (found,) = check_outcomes(instance, [STOCK])
    return found


def test_a_load_that_died_before_its_check_keeps_back_until_its_partitions_are_loaded_again(instance):
    load(instance, 1, 12)
    assert not outcome(instance).forbids
    load(instance, 3, 4, dies=True)
    assert (outcome(instance).basis, outcome(instance).forbids) == ("outdated", True)
    load(instance, 3)
    assert outcome(instance).forbids, "April is as the dead load left it"
    load(instance, 4)
    assert not outcome(instance).forbids


def test_a_load_that_has_not_ended_counts_as_unchecked_whether_it_is_at_work_or_was_killed(instance):
    load(instance, 1, 12)
    seen = []
    load(instance, 3, meanwhile=lambda instance: seen.append(outcome(instance)))
    assert [(found.basis, found.forbids) for found in seen] == [("outdated", True)]
    assert not outcome(instance).forbids


def test_the_whole_history_loaded_again_is_enough_after_any_death(instance):
    load(instance, 5, dies=True)
    assert outcome(instance).basis == "missing"
    load(instance, 1, 12)
    load(instance, 2, dies=True)
    load(instance, 1, 12)
    assert outcome(instance) == CheckOutcome(
        asset_key="stock", name="is_usual", passed=True, severity="ERROR", blocking=True, basis="current"
    )


@pytest.mark.parametrize(
    ("definition", "keys"),
    [
        (
            dg.WeeklyPartitionsDefinition("2024-01-01", end_date="2025-01-01", day_offset=1),
            ("2024-01-01", "2024-12-23"),
        ),
        (dg.DailyPartitionsDefinition("2024-01-01", end_date="2025-01-01"), ("2024-01-01", "2024-12-31")),
    ],
    ids=["weekly", "daily"],
)
def test_a_load_of_another_grain_that_died_is_over_once_all_is_loaded(instance, definition, keys):
    """As where somebody tried `CARTOGRAPH_PARTITION_GRAIN`, which is refused in the load."""

    @dg.asset(
        name="stock",
        partitions_def=definition,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[dg.AssetCheckSpec("is_usual", asset="stock", blocking=True)],
    )
    def other_stock() -> dg.MaterializeResult:
        raise ValueError("the table has monthly partitions")

    load(instance, 1, 12)
    job = dg.Definitions(assets=[other_stock]).resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=instance, tags=dict(zip(RANGE_TAGS, keys, strict=True)), raise_on_error=False)
    assert outcome(instance).forbids
    load(instance, 1, 11)
    assert outcome(instance).forbids, "nobody looked at December"
    load(instance, 12)
    assert not outcome(instance).forbids


def test_a_run_that_ended_before_the_load_began_changes_nothing(instance):
    load(instance, 1, 12)
    planned = dg.Definitions(assets=[stock]).resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(planned, asset_selection=frozenset([stock.key]))
    instance.report_run_failed(run, "The process was killed before the run ended.")
    assert not outcome(instance).forbids


def test_a_killed_load_whose_run_was_deleted_counts_as_unchecked_until_any_later_look(instance):
    load(instance, 1, 12)
    load(instance, 3, dies=True)
    (killed, *_) = instance.get_runs(limit=1)
    instance.delete_run(killed.run_id)
    assert (outcome(instance).basis, outcome(instance).forbids) == ("outdated", True)
    load(instance, 4)
    assert not outcome(instance).forbids, "nobody knows any more which partitions it was to load"


def test_a_failure_is_not_forgotten_however_often_other_partitions_pass(instance):
    load(instance, 3, passed=False)
    for number in range(205):
        report(instance, date(2024, 4, 1) + timedelta(days=number))
    assert (outcome(instance).passed, outcome(instance).basis) == (False, "current")
    report(instance, date(2024, 3, 1), days=31)
    assert outcome(instance).passed


def report(instance: dg.DagsterInstance, start: date, days: int = 1) -> None:
    """A look at some days that found nothing."""
    (record,) = instance.get_asset_records([stock.key])
    target = record.asset_entry.last_materialization_record
    window = Window(at_midnight(start), at_midnight(start + timedelta(days=days)))
    metadata = {name: dg.MetadataValue.text(text) for name, text in looked_at(window).items()}
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            stock.key,
            "is_usual",
            True,
            metadata,
            AssetCheckEvaluationTargetMaterializationData(
                storage_id=target.storage_id, run_id=target.run_id, timestamp=target.timestamp
            ),
            blocking=True,
        )
    )


def test_a_warning_elsewhere_does_not_hide_an_error(instance):
    load(instance, 1, 12)
    load(instance, 4, passed=False)
    load(instance, 3, passed=False, severity=dg.AssetCheckSeverity.WARN)
    assert (outcome(instance).severity, outcome(instance).forbids) == ("ERROR", True)
    load(instance, 4)
    assert (outcome(instance).severity, outcome(instance).forbids) == ("WARN", False), "March still warns"


def test_a_standing_warning_does_not_make_up_for_a_check_that_is_older_than_its_data(instance):
    load(instance, 1, 12)
    load(instance, 3, passed=False, severity=dg.AssetCheckSeverity.WARN)
    load(instance, 4)
    instance.report_runless_asset_event(dg.AssetMaterialization(stock.key, partition="2024-05-01"))
    assert outcome(instance).basis == "outdated"
