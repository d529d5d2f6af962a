"""When assets run by themselves, by real ticks: after a warning of a blocking check, and not after an error."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time

from cartograph.trust.automation import automation_sensor, when_trusted

DAYS = dg.DailyPartitionsDefinition("2024-01-01")
FIRST_NIGHT, SECOND_NIGHT = (datetime(2024, 3, day, 1, tzinfo=UTC) for day in (2, 3))
ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


@dg.asset(partitions_def=DAYS, check_specs=[dg.AssetCheckSpec("is_usual", asset="orders", blocking=True)])
def orders() -> dg.MaterializeResult:
    """Each day's load."""
    return dg.MaterializeResult()


@dg.asset(partitions_def=DAYS, deps=[orders], automation_condition=when_trusted())
def sales() -> None:
    """What is made of each day."""


class Ticks:
    """The conditions, evaluated after each load."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance, self.cursor = instance, None
        self.definitions = dg.Definitions(assets=[orders, sales], sensors=[automation_sensor()])

    def asked_for(self) -> set[str]:
        """The days that a tick asks for."""
        found = dg.evaluate_automation_conditions(self.definitions, self.instance, cursor=self.cursor)
        self.cursor = found.cursor
        return set(found.get_requested_partitions(sales.key))

    def load(self, day: str, *, passed: bool, severity: dg.AssetCheckSeverity = ERROR) -> set[str]:
        """Load a day; the days that a tick then asks for."""
        self.instance.report_runless_asset_event(dg.AssetMaterialization(orders.key, partition=day))
        self.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(orders.key, "is_usual", passed, severity=severity, blocking=True)
        )
        return self.asked_for()


@pytest.fixture
def ticks() -> Iterator[Ticks]:
    with dg.DagsterInstance.ephemeral() as instance, freeze_time(FIRST_NIGHT):
        ticks = Ticks(instance)
        assert ticks.asked_for() == set()
        yield ticks


def test_after_a_warning_what_is_downstream_runs_and_so_it_does_the_next_day(ticks: Ticks) -> None:
    assert ticks.load("2024-03-01", passed=False, severity=WARN) == {"2024-03-01"}
    with freeze_time(SECOND_NIGHT):
        assert ticks.load("2024-03-02", passed=True) == {"2024-03-02"}


def test_after_an_error_nothing_downstream_runs_until_it_passes_or_warns(ticks: Ticks) -> None:
    assert ticks.load("2024-03-01", passed=False) == set()
    assert ticks.load("2024-03-01", passed=False, severity=WARN) == {"2024-03-01"}


def test_the_sensor_evaluates_the_conditions_in_the_code_location(ticks: Ticks) -> None:
    repository = ticks.definitions.get_repository_def()
    assert [sensor.name for sensor in repository.sensor_defs] == ["default_automation_condition_sensor"], "and no other"
    (sensor,) = repository.sensor_defs

    def tick(cursor: str | None) -> tuple[set[str | None], str | None]:
        with dg.build_sensor_context(instance=ticks.instance, repository_def=repository, cursor=cursor) as context:
            found = sensor.evaluate_tick(context)
        return {request.partition_key for request in found.run_requests or ()}, found.cursor

    asked, cursor = tick(None)
    assert asked == set()
    ticks.load("2024-03-01", passed=False, severity=WARN)
    assert tick(cursor)[0] == {"2024-03-01"}
