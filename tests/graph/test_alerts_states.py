"""What the sensor tells of states on real runs: partitions that a failed run left unmade, assets not made in time."""

import asyncio
import random
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.loader import LoadingContextForTest
from dagster._core.test_utils import freeze_time
from dagster._daemon.freshness import FreshnessDaemon

from cartograph.settings import Settings, get_settings
from cartograph.shops import load_shop
from cartograph.trust.freshness import with_freshness
from cartograph.trust.states import failed_partitions
from cartograph.trust.watching import watched
from tests.support.sensors import SensorBench

MONTHS = dg.StaticPartitionsDefinition([f"2024-{month:02}-01" for month in range(1, 13)])
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


class State:
    """The months of 2024 whose orders cannot be made, and whether the report can be."""

    broken: Collection[int] = ()
    report_breaks = False


@dg.asset(owners=["team:data-platform"], partitions_def=MONTHS, backfill_policy=dg.BackfillPolicy.single_run())
def orders(context: dg.AssetExecutionContext) -> None:
    if any(int(key[5:7]) in State.broken for key in context.partition_keys):
        raise ValueError("the disk is full")


@dg.asset(owners=["team:analytics"], deps=[orders])
def view() -> None:
    """Has no partitions, and stands between assets that have."""


@dg.asset(
    owners=["team:data-platform"],
    partitions_def=MONTHS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[view],
)
def lines() -> None:
    """Made of the orders, month by month."""


@dg.asset(owners=["team:analytics"], deps=[dg.AssetDep(lines, partition_mapping=dg.AllPartitionMapping())])
def report() -> None:
    if State.report_breaks:
        raise ValueError("no paper")


class Bench(SensorBench):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, [orders, view, lines, report])

    def make(self, first: int, last: int | None = None, broken: Collection[int] = (), **how: Any) -> None:
        """Run for some months of 2024, those that are `broken` without success."""
        State.broken, State.report_breaks = broken, False
        months = f"2024-{first:02}-01", f"2024-{last or first:02}-01"
        self.execute(tags=dict(zip(RANGE, months, strict=True)), **how)


@pytest.fixture
def bench(sensor_settings: Settings) -> Iterator[Bench]:
    with Bench(sensor_settings) as bench:
        yield bench


PARTITIONS = "partitions of team:data-platform (no_partition_failed)"
RUN = "nightly_job (run)"


def told(bench: Bench) -> str:
    (failing,) = bench.logged()[-1]["failing"]
    return str(failing["text"])


def test_a_partition_stays_failed_until_it_is_made_whatever_else_succeeds(bench: Bench) -> None:
    bench.make(1)
    assert bench.look() == []
    bench.make(2, broken={2})
    assert bench.look() == [f"Error: {RUN}", f"Error: {PARTITIONS}"]
    assert told(bench) == "a run that was to make them failed: orders 2024-02-01", "lines wait for the orders"
    assert bench.logged()[-1]["run_id"] == bench.logged()[-2]["run_id"]
    bench.make(3)
    assert bench.look() == []
    bench.make(2, broken={2})
    assert bench.look() == [f"Error: {RUN}"], "view and report were well; that February has failed is known"
    bench.make(2)
    assert bench.look() == [f"Recovered: {RUN}", f"Recovered: {PARTITIONS}"]
    assert bench.look() == []


def test_a_restart_tells_nothing_twice_and_forgets_nothing(bench: Bench) -> None:
    bench.make(1)
    bench.look()
    bench.make(2, broken={2})
    bench.restart()
    assert f"Error: {PARTITIONS}" in bench.look()
    bench.restart()
    assert bench.look() == []
    bench.make(2)
    bench.restart()
    assert f"Recovered: {PARTITIONS}" in bench.look()
    assert bench.look() == []


def test_a_further_partition_is_told_and_recovery_waits_for_the_last(bench: Bench) -> None:
    bench.make(1, 2, broken={2})
    assert f"Error: {PARTITIONS}" in bench.look()
    assert told(bench).endswith("orders 2024-01-01, 2024-02-01")
    bench.make(5, broken={5})
    assert bench.look() == [f"Error: {RUN}", f"Error: {PARTITIONS}"]
    assert told(bench).endswith("orders 2024-01-01, 2024-02-01, 2024-05-01")
    bench.make(1, 2)
    assert bench.look() == [], "May is left"
    bench.make(2, broken={2})
    assert bench.look() == [f"Error: {RUN}", f"Error: {PARTITIONS}"], "February was well in between"
    bench.make(2)
    bench.make(5)
    assert bench.look() == [f"Recovered: {RUN}", f"Recovered: {PARTITIONS}"]


def test_a_run_over_many_partitions_is_mended_by_those_that_make_them_all(bench: Bench) -> None:
    only_orders = {"asset_selection": [orders.key]}
    run = "a run of orders (run)"
    bench.make(1, 6, broken={4}, **only_orders)
    assert bench.look()[0] == f"Error: {run}"
    (failing,) = bench.logged()[0]["failing"]
    span = ["2024-01-01T00:00:00+00:00", "2024-07-01T00:00:00+00:00"]
    assert failing["parts"] == [{"name": "orders", "span": span}]
    bench.make(8, **only_orders)
    bench.make(4, 6, **only_orders)
    assert bench.look() == []
    bench.make(2, broken={2}, **only_orders)
    assert bench.look() == [], "it is among those that are known"
    bench.make(1, 3, **only_orders)
    assert bench.look()[0] == f"Recovered: {run}"
    bench.make(2, broken={2}, **only_orders)
    assert bench.look()[0] == f"Error: {run}"


def test_what_waits_downstream_is_told_once_it_is_what_is_left(bench: Bench) -> None:
    bench.make(2, broken={2})
    bench.look()
    bench.make(2, asset_selection=[orders.key])
    assert bench.look() == [f"Error: {PARTITIONS}"]
    assert told(bench).endswith("failed: lines 2024-02-01")
    bench.make(2, asset_selection=[lines.key])
    assert f"Recovered: {PARTITIONS}" in bench.look()


def test_many_partitions_are_told_by_the_first_ten(bench: Bench) -> None:
    bench.make(1, 12, broken={7})
    bench.look()
    assert told(bench).endswith("2024-10-01, and 2 more")


def test_a_failure_after_which_all_partitions_are_made_concerns_none(bench: Bench) -> None:
    bench.make(1)
    bench.look()
    State.report_breaks = True
    bench.execute(asset_selection=[report.key])
    assert bench.look() == ["Error: a run of report (run)"]


def test_nothing_is_looked_up_while_no_run_fails(bench: Bench) -> None:
    bench.make(1, broken={1})
    what = watched(bench.definitions.get_repository_def(), "team:platform", "warning")
    now = datetime.now(UTC)
    first = failed_partitions(bench.instance, what, {}, "run 1", now)
    assert [signal.healthy for signal in first.signals] == [True, False]
    bench.make(1)
    assert failed_partitions(bench.instance, what, first.positions, "run 1", now).signals[1].healthy
    well = failed_partitions(bench.instance, what, first.positions, "run 1", now).positions
    assert failed_partitions(bench.instance, what, well, "run 1", now) == ([], {})


def test_in_whatever_order_runs_fail_and_succeed_each_change_is_told_once(bench: Bench) -> None:
    chance = random.Random(12)
    known: set[int] = set()
    failed: set[int] = set()
    seen = []
    for _ in range(14):
        month, succeeds = chance.randint(1, 2), chance.random() < 0.5
        bench.make(month, broken=set() if succeeds else {month}, asset_selection=[orders.key])
        failed = failed - {month} if succeeds else failed | {month}
        if chance.random() < 0.3:
            continue
        bench.restart()
        expected = [f"Error: {PARTITIONS}"] if failed - known else []
        expected = [f"Recovered: {PARTITIONS}"] if known and not failed else expected
        assert [title for title in bench.look() if PARTITIONS in title] == expected
        known, seen = set(failed), seen + [title[0] for title in expected]
    assert "".join(seen) == "EEREERE", "the seed has a further failure, recoveries of one and of both"


STALE = "(is_up_to_date)"
BOTH = [f"Warning: assets of {owner} {STALE}" for owner in ("team:analytics", "team:data-platform")]
ALL_WELL = [f"Recovered: assets of {owner} {STALE}" for owner in ("team:analytics", "team:data-platform")]
MONDAY = datetime(2027, 3, 1, tzinfo=UTC)


SHOP = """
title: A shop that goes on
currency: EUR
start: 2024-01-01
sources: [{type: files, datasets: [orders]}]
"""


class Clock(Bench):
    """A bench on which time goes by: `at` is hours after the first midnight, a Monday's."""

    def keep(self, more: str = "") -> None:
        """Hold the assets to what the shop's file says, with `more` lines."""
        folder = self.settings.resolved_shops_dir
        folder.mkdir()
        (folder / "open.yaml").write_text(SHOP + more, encoding="utf-8")
        self.definitions = with_freshness(self.definitions, load_shop(self.settings))

    def made(self, at: float, *assets: dg.AssetsDefinition) -> None:
        with freeze_time(MONDAY + timedelta(hours=at)):
            for asset in assets or (orders, view, lines, report):
                self.instance.report_runless_asset_event(dg.AssetMaterialization(asset.key))

    def look_at(self, at: float) -> list[str]:
        """What the sensor tells after the freshness daemon has looked."""
        nodes = self.definitions.resolve_asset_graph().asset_nodes
        with freeze_time(MONDAY + timedelta(hours=at)):
            for node in nodes:
                asyncio.run(FreshnessDaemon()._evaluate_asset(LoadingContextForTest(self.instance), node))
        self.restart()
        return self.look()


@pytest.fixture
def clock(sensor_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    monkeypatch.setenv("CARTOGRAPH_SHOP", "open")
    monkeypatch.setenv("CARTOGRAPH_SHOPS_DIR", str(sensor_settings.home / "shops"))
    get_settings.cache_clear()
    with Clock(get_settings()) as clock:
        yield clock


def test_a_night_without_a_run_is_told_once_to_each_owner_and_so_is_its_end(clock: Clock) -> None:
    clock.keep()
    assert clock.look_at(3) == [], "nothing was ever made"
    clock.made(3)
    for at in (4, 10, 24, 32.9):
        assert clock.look_at(at) == []
    assert clock.look_at(33.1) == BOTH, "nothing was made on Tuesday by nine"
    (failing,) = clock.logged()[-1]["failing"]
    assert failing["text"] == "2 of 2 were not made in time: orders, lines"
    assert [clock.look_at(at) for at in (34, 57.1)] == [[], []], "that is known"
    clock.made(58, orders)
    assert clock.look_at(58.1) == [], "the lines are still to be made"
    clock.made(59, lines, view, report)
    assert clock.look_at(59.1) == ALL_WELL
    assert clock.look_at(60) == []


def test_a_further_asset_that_is_not_made_is_told(clock: Clock) -> None:
    clock.keep("freshness: {severity: error}")
    clock.made(3)
    clock.made(27, orders, view, report)
    assert clock.look_at(33.1) == ["Error: assets of team:data-platform (is_up_to_date)"]
    assert clock.look_at(57.1) == [title.replace("Warning", "Error") for title in BOTH]
    (failing,) = clock.logged()[-1]["failing"]
    assert failing["text"] == "2 of 2 were not made in time: orders, lines"


@pytest.mark.parametrize("says", ["end: 2026-01-01", "freshness: {every: never}"])
def test_a_shop_that_is_complete_or_says_so_is_never_late(clock: Clock, says: str) -> None:
    clock.keep(says)
    clock.made(3)
    assert [clock.look_at(at) for at in (33.1, 24 * 30)] == [[], []]


def test_a_shop_that_is_run_each_week_has_until_monday(clock: Clock) -> None:
    clock.keep("freshness: {every: week, hour: 12}")
    clock.made(20)
    assert [clock.look_at(at) for at in (33.1, 7 * 24 + 12.1)] == [[], []]
    assert clock.look_at(14 * 24 + 12.1) == BOTH


def test_what_no_run_makes_is_not_late(clock: Clock) -> None:
    clock.definitions = dg.Definitions.merge(clock.definitions, dg.Definitions(assets=[dg.AssetSpec("delivery")]))
    clock.keep()
    graph = clock.definitions.resolve_asset_graph()
    assert graph.get(orders.key).freshness_policy is not None
    assert graph.get(dg.AssetKey("delivery")).freshness_policy is None
