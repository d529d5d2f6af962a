"""The sensor on real runs: what failed is told once, also across a restart and by whichever path it failed."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster_shared.error import SerializableErrorInfo

from cartograph.alerts.ledger import Ledger
from cartograph.alerts.messages import Message
from cartograph.settings import Settings
from cartograph.trust.causes import failure_by_checks
from cartograph.trust.gate import looked_at
from cartograph.trust.overrides import tell_override
from cartograph.windows import Window
from tests.support.sensors import SensorBench


class State:
    """What the assets of the test do next; the month of 2024 that the check looks at, None for all."""

    sound, crashes, month = True, False, None
    severity = dg.AssetCheckSeverity.ERROR


@dg.asset(owners=["team:analytics"], check_specs=[dg.AssetCheckSpec("is_sound", asset="orders", blocking=True)])
def orders() -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    if State.crashes:
        raise ValueError("the disk is full")
    yield dg.MaterializeResult()
    where_it_is = f" in month {State.month}" if State.month else ""
    description = "" if State.sound else f"90 of 100{where_it_is}"
    yield dg.AssetCheckResult(
        check_name="is_sound",
        passed=State.sound,
        severity=State.severity,
        description=description,
        metadata=where(),
    )


def where() -> dict[str, str]:
    if State.month is None:
        return {}
    return looked_at(Window(datetime(2024, State.month, 1, tzinfo=UTC), datetime(2024, State.month + 1, 1, tzinfo=UTC)))


@dg.asset(deps=[orders])
def report() -> None:
    """Downstream of the check."""


IS_SOUND = dg.AssetCheckKey(orders.key, "is_sound")


@dg.asset
def release() -> None:
    """Refused, by hand and in a run of its own, for what another run found."""
    raise failure_by_checks("Nothing is released: is_sound of orders", [] if State.crashes else [IS_SOUND])


@dg.asset(check_specs=[dg.AssetCheckSpec("ties_out", asset="star", blocking=True)])
def star() -> Iterator[dg.AssetCheckResult]:
    """Says itself what failed, as the warehouse does for dbt."""
    yield dg.AssetCheckResult(check_name="ties_out", passed=False, description="2 such rows")
    raise failure_by_checks("The warehouse was not built", [dg.AssetCheckKey(star.key, "ties_out")])


@dg.asset
def looked() -> None:
    """Made of nothing, and by a job of its own: what fails elsewhere is not mended by that."""


@dg.asset(owners=["team:analytics"])
def shown(context: dg.AssetExecutionContext) -> None:
    """Published in spite of a failed check."""
    tell_override(context, f"published in spite of is_sound, by {context.run.tags['by']}")


class Bench(SensorBench):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, [orders, report], by_hand=[release, star, looked, shown])
        job = dg.define_asset_job("look_job", selection=[looked.key])
        self.definitions = dg.Definitions.merge(self.definitions, dg.Definitions(jobs=[job]))

    def run(self, *, sound: bool = True, crashes: bool = False, month: int | None = None, warns: bool = False) -> None:
        State.sound, State.crashes, State.month = sound and not warns, crashes, month
        State.severity = dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR
        self.execute()

    def run_alone(self, asset: dg.AssetsDefinition) -> None:
        self.execute(asset_selection=[asset.key])


@pytest.fixture
def bench(sensor_settings: Settings) -> Iterator[Bench]:
    with Bench(sensor_settings) as bench:
        yield bench


FAILED = ["Error: orders (is_sound, run)"]
RECOVERED = ["Recovered: orders (is_sound, run)"]


def test_a_failed_check_and_run_are_told_once_and_so_is_their_recovery(bench: Bench) -> None:
    bench.run()
    assert bench.look() == []
    bench.run(sound=False)
    assert bench.look() == FAILED
    assert bench.look() == []
    bench.run(sound=False)
    assert bench.look() == [], "it still fails, which is known"
    bench.run()
    assert bench.look() == RECOVERED
    assert [line["title"] for line in bench.logged()] == FAILED + RECOVERED
    told = bench.logged()[0]
    assert told["owner"] == "team:analytics", "whoever owns the check mends it"
    assert [signal["text"] for signal in told["failing"]] == [
        "90 of 100",
        "nightly_job stopped there; what is downstream was not made",
    ]


def test_what_happened_while_nobody_looked_is_told_afterwards(bench: Bench) -> None:
    bench.run()
    bench.look()
    bench.run(sound=False)
    bench.run()
    bench.run(sound=False)
    assert bench.look() == FAILED + RECOVERED + FAILED


def test_the_first_look_tells_what_fails_now_and_no_history(bench: Bench) -> None:
    bench.run(sound=False)
    bench.run()
    assert bench.look() == []
    bench.run(sound=False)
    assert bench.look() == FAILED


def test_the_first_look_tells_of_a_failure_that_a_later_run_did_not_come_to(bench: Bench) -> None:
    bench.run(sound=False)
    bench.run(crashes=True)
    bench.look()
    told = [signal["text"] for message in bench.logged() for signal in message["failing"]]
    assert (told[0], told[-1]) == ("90 of 100", "orders: ValueError: the disk is full")


def test_a_failure_is_over_once_its_own_partition_is_well(bench: Bench) -> None:
    bench.run()
    bench.look()
    bench.run(sound=False, month=6)
    assert bench.look() == FAILED
    bench.run(month=1)
    assert bench.look() == ["Recovered: orders (run)"], "June is as it was"
    bench.run(month=6)
    assert bench.look() == ["Recovered: orders (is_sound)"]


def test_a_failure_in_a_further_partition_is_told_and_what_stands_is_listed(bench: Bench) -> None:
    def listed() -> list[str]:
        return [failing.text for failing in Ledger(bench.settings.alerts_path).failing() if failing.name == "is_sound"]

    bench.run()
    bench.look()
    bench.run(sound=False, month=6)
    assert bench.look() == FAILED
    bench.run(sound=False, month=6)
    assert bench.look() == []
    bench.run(sound=False, month=3)
    assert bench.look() == ["Error: orders (is_sound)"]
    june, march = (f"it fails for 2024-{m:02}-01 to before 2024-{m + 1:02}-01, too" for m in (6, 3))
    assert listed() == [f"90 of 100 in month 3 ({june})"]
    bench.run(month=3)
    assert bench.look() == ["Recovered: orders (run)"]
    assert listed() == ["90 of 100 in month 6"]
    bench.run(sound=False, month=3)
    bench.run(month=6)
    assert bench.look() == [*FAILED, "Recovered: orders (run)"]
    assert listed() == ["90 of 100 in month 3"]
    assert march not in bench.logged()[-2]["failing"][0]["text"]
    State.month = None
    bench.run()
    assert bench.look() == ["Recovered: orders (is_sound)"]


def test_a_warning_elsewhere_is_no_end_of_an_error_and_an_error_after_it_is_told_again(bench: Bench) -> None:
    bench.run()
    bench.look()
    bench.run(sound=False, month=6)
    assert bench.look() == FAILED
    bench.run(warns=True, month=1)
    assert bench.look() == ["Recovered: orders (run)"], "June is as it was"
    bench.run(month=6)
    assert bench.look() == ["Warning: orders (is_sound)"], "January's, which was not told beside June's error"
    bench.run(sound=False, month=6)
    assert bench.look() == FAILED
    bench.run(month=6)
    assert bench.look() == ["Warning: orders (is_sound)"]
    assert [signal["name"] for signal in bench.logged()[-1]["recovered"]] == ["run"]
    bench.run(month=1)
    assert bench.look() == ["Recovered: orders (is_sound)"]


def test_the_first_look_tells_of_a_failure_beside_a_later_look_elsewhere(bench: Bench) -> None:
    bench.run(sound=False, month=6)
    bench.run(month=1)
    assert bench.look() == ["Error: orders (is_sound)"], "June is as it was"
    bench.run(month=6)
    assert bench.look() == ["Recovered: orders (is_sound)"]


def test_a_crash_is_told_with_its_cause(bench: Bench) -> None:
    bench.run()
    bench.look()
    bench.run(crashes=True)
    assert bench.look() == ["Error: nightly_job (run)"]
    (line,) = bench.logged()
    assert line["failing"][0]["text"].endswith("the disk is full")


def test_a_crash_after_a_failed_check_is_told_beside_it(bench: Bench) -> None:
    bench.run()
    bench.look()
    bench.run(sound=False)
    bench.run(crashes=True)
    assert bench.look() == [*FAILED, "Error: nightly_job (run)"]
    bench.run()
    assert set(bench.look()) == {*RECOVERED, "Recovered: nightly_job (run)"}


def test_the_success_of_another_job_mends_only_what_that_job_makes(bench: Bench) -> None:
    bench.run()
    bench.look()
    bench.run(sound=False)
    assert bench.look() == FAILED
    bench.execute("look_job")
    assert bench.look() == [], "it makes nothing of what failed"
    bench.run(sound=False)
    assert bench.look() == [], "which is known still"
    State.sound, State.crashes, State.month = True, True, None
    bench.execute(asset_selection=[orders.key])
    assert bench.look() == ["Error: a run of orders (run)"]
    bench.execute("look_job")
    assert bench.look() == []
    bench.run()
    assert set(bench.look()) == {*RECOVERED, "Recovered: a run of orders (run)"}


def test_a_backfill_that_dies_before_its_first_run_is_told_and_over_once_its_assets_are_made(bench: Bench) -> None:
    bench.run()
    bench.look()
    error = SerializableErrorInfo("dagster._core.errors.DagsterError: the code location is gone\n", [], "DagsterError")
    bench.instance.add_backfill(
        PartitionBackfill(
            backfill_id="dead",
            status=BulkActionStatus.FAILED,
            from_failure=False,
            tags={},
            backfill_timestamp=datetime(2024, 6, 1, tzinfo=UTC).timestamp(),
            error=error,
            asset_selection=[orders.key],
        )
    )
    assert bench.look() == ["Error: backfill dead (run)"]
    assert bench.logged()[-1]["failing"][0]["text"] == "the code location is gone"
    assert bench.look() == []
    bench.run()
    assert bench.look() == ["Recovered: backfill dead (run)"]


def test_a_run_that_was_killed_is_told_as_what_it_is(bench: Bench) -> None:
    bench.run()
    bench.look()
    run = bench.instance.create_run_for_job(bench.definitions.resolve_job_def("nightly_job"))
    bench.instance.report_run_failed(run, "The process was killed before the run ended.")
    assert bench.look() == ["Error: nightly_job (run)"]
    assert bench.logged()[0]["failing"][0]["text"] == "The process was killed before the run ended."


def test_a_release_that_failed_checks_refuse_is_told_with_the_checks_and_not_once_more(bench: Bench) -> None:
    bench.run()
    bench.look()
    bench.run(sound=False)
    assert bench.look() == FAILED
    bench.run_alone(release)
    assert bench.look() == []
    with closing(sqlite3.connect(bench.settings.alerts_path)) as ledger:
        ((message,),) = ledger.execute("SELECT message FROM outbox WHERE sink = 'log'").fetchall()
    assert "each release that is made of it is refused until it is well" in Message.model_validate_json(message).body
    State.crashes = True
    bench.run_alone(release)
    assert bench.look() == ["Error: a run of release (run)"], "no check has failed that would be told"


def test_a_run_that_fails_for_its_own_checks_only_is_told_with_them(bench: Bench) -> None:
    bench.run()
    bench.look()
    bench.run_alone(star)
    assert bench.look() == ["Error: star (ties_out, run)"]
    texts = [signal["text"] for signal in bench.logged()[0]["failing"]]
    assert texts == ["2 such rows", "a run of star stopped there; what is downstream was not made"]


def test_each_override_is_told_and_none_is_listed_as_failing(bench: Bench) -> None:
    bench.execute(asset_selection=[shown.key], tags={"by": "Eve"})
    assert bench.look() == [], "history"
    for by in ("Ada", "Bob"):
        bench.execute(asset_selection=[shown.key], tags={"by": by})
        assert bench.look() == ["Warning: shown (override)"]
        (signal,) = bench.logged()[-1]["failing"]
        assert (signal["text"], signal["owner"]) == (f"published in spite of is_sound, by {by}", "team:analytics")
        assert bench.look() == []
    assert Ledger(bench.settings.alerts_path).failing() == []


def test_a_check_that_is_run_alone_is_told_too(bench: Bench) -> None:
    bench.run()
    bench.look()
    State.sound, State.month = False, None
    bench.execute(asset_selection=[orders.key])
    assert bench.look() == FAILED
