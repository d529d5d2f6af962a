"""The sensor has changed sources looked at, and then each repair done, one after the other and each once."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from cartograph.cli.instance import open_instance, prepare_home
from cartograph.settings import get_settings
from cartograph.trust.automation import RANGE_TAGS as RANGE
from ecom_assets.defs.quality.late_data import KEY, LOOK, TAG, Look, Request, Watch, step
from ecom_assets.unfinished_repairs import note_begun, unfinished
from tests.support.whole_run import EXAMPLE

ONE = Request(first="2024-01-01", last="2024-01-01", datasets=("orders",), is_last=False)
TWO = Request(first="2024-03-01", last="2024-04-01", datasets=("events",), is_last=True)
RAW = ("customers", "products", "orders", "order_items")


def test_a_changed_source_is_looked_at_once() -> None:
    watch, asked = step(Watch(), None, lambda: {"orders": "a"})
    assert asked == LOOK
    assert step(watch, None, lambda: {"orders": "a"}) == (watch, None)
    assert step(watch, None, lambda: {"orders": "b"})[1] == LOOK


def test_the_repairs_of_a_look_are_asked_for_one_by_one_and_once() -> None:
    look, asked, watch = Look(7, (ONE, TWO)), [], Watch(fingerprints={"orders": "a"})
    for _ in range(4):
        watch, request = step(watch, look, lambda: {"orders": "a"})
        asked.append(request)
    assert asked == [ONE, TWO, None, None]
    assert step(watch, Look(8, (TWO,)), lambda: {"orders": "a"})[1] == TWO


def test_a_repair_that_fails_is_asked_for_again_a_few_times_and_then_the_next() -> None:
    look, asked, watch = Look(7, (ONE, TWO)), [], Watch(fingerprints={"orders": "a"})
    for has_failed in (False, True, True, True, False, False):
        watch, request = step(watch, look, lambda: {"orders": "a"}, has_failed=has_failed)
        asked.append(request)
    assert asked == [ONE, ONE, ONE, TWO, None, None]


def test_a_failed_repair_is_forgotten_after_a_newer_look() -> None:
    watch, _ = step(Watch(fingerprints={"orders": "a"}), Look(7, (ONE,)), lambda: {"orders": "a"})
    assert step(watch, Look(8, ()), lambda: {"orders": "a"}, has_failed=True)[1] is None


def test_what_is_remembered_survives_being_written_down() -> None:
    watch, _ = step(Watch(), Look(7, (ONE, TWO)), dict)
    assert Watch.model_validate_json(watch.model_dump_json()) == watch


class Bench:
    """The example shop, its location and an instance; `tick` evaluates the sensor as the daemon does."""

    def __init__(self, root: Path, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.sales = root / "docs/examples/corner_shop/data/sales/2024-01.csv"
        self.definitions, self.instance = definitions, instance
        self.cursor: str | None = None

    def tick(self) -> dg.RunRequest | None:
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, repository_def=self.definitions.get_repository_def()
        )
        found = self.definitions.get_sensor_def("late_data_sensor")(context)
        if isinstance(found, dg.SkipReason):
            return None
        self.cursor = found.cursor
        assert len(found.run_requests or ()) <= 1
        return found.run_requests[0] if found.run_requests else None

    def end(self, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
        """Leave a run of the request in the instance that ended so."""
        job = self.definitions.resolve_job_def(str(request.job_name))
        self.instance.create_run_for_job(job, tags=request.tags, status=status)

    def execute(self, job: str, keys: list[dg.AssetKey], tags: dict[str, str]) -> None:
        definition = self.definitions.resolve_job_def(job)
        definition.execute_in_process(instance=self.instance, asset_selection=keys, tags=tags)


def forget_location() -> None:
    """Make the next import of the location read the settings anew."""
    get_settings.cache_clear()
    for name in [name for name in sys.modules if name.startswith(("ecom_assets.defs", "ecom_assets.definitions"))]:
        del sys.modules[name]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    shops = tmp_path / "docs/examples/corner_shop"
    shutil.copytree(EXAMPLE, shops)
    monkeypatch.chdir(tmp_path)
    for name, value in (("HOME", tmp_path / "home"), ("SHOPS_DIR", shops), ("SHOP", "corner_shop")):
        monkeypatch.setenv(f"CARTOGRAPH_{name}", str(value))
    forget_location()
    defs = importlib.import_module("ecom_assets.definitions").defs
    prepare_home(get_settings())
    with open_instance(get_settings()) as instance:
        yield Bench(tmp_path, defs(), instance)
    monkeypatch.undo()
    forget_location()


def test_a_late_line_leads_to_the_repair_of_its_partition_and_of_what_is_made_of_it(bench: Bench) -> None:
    assert bench.tick() is None, "nothing was loaded yet"
    span = dict(zip(RANGE, ("2024-01-01", "2024-02-01"), strict=True))
    bench.execute("warehouse_job", [dg.AssetKey(["raw", name]) for name in RAW], span)
    look = bench.tick()
    assert look is not None
    assert look.job_name == "late_data_job"
    bench.execute("late_data_job", [KEY], {})
    assert bench.tick() is None, "nothing is late"

    good = bench.sales.read_text("latin-1")
    bench.sales.write_text(
        good + good.splitlines()[-1].replace(good.splitlines()[-1].split(";")[0], "9001") + "\n", "latin-1"
    )
    assert bench.tick() is not None
    bench.execute("late_data_job", [KEY], {})
    repair = bench.tick()
    assert repair is not None
    assert repair.job_name == "repair_job"
    assert {name: repair.tags[name] for name in RANGE} == dict.fromkeys(RANGE, "2024-01-01")
    asked = {key.to_user_string() for key in repair.asset_selection or ()}
    assert {"raw/orders", "raw/order_items", "marts/fct_orders", "published/fct_orders", "quality/rebuild"} <= asked
    assert not asked & {"raw/customers", "raw/products", "marts/dim_customers", "quality/late_data"}
    for again in (2, 3):
        bench.end(repair, dg.DagsterRunStatus.FAILURE)
        repeated = bench.tick()
        assert repeated is not None, again
        assert (repeated.tags, repeated.asset_selection) == (repair.tags, repair.asset_selection)
    bench.end(repair, dg.DagsterRunStatus.FAILURE)
    assert bench.tick() is None, "it was tried three times"


def test_a_repair_is_noted_until_it_has_succeeded(bench: Bench) -> None:
    """So that `cartograph repair` goes on with it, should whoever runs it be killed."""
    settings = get_settings()
    bench.cursor = Watch(look=1, waiting=(ONE,)).model_dump_json()
    repair = bench.tick()
    assert repair is not None
    noted = unfinished(settings)
    assert {(dataset, window.key) for dataset, window in noted} == {(name, ONE.first) for name in ONE.datasets}
    bench.end(repair, dg.DagsterRunStatus.FAILURE)
    assert bench.tick() is not None
    assert unfinished(settings) == noted
    bench.end(repair, dg.DagsterRunStatus.SUCCESS)
    assert bench.tick() is None
    assert not unfinished(settings)
    note_begun(settings, noted)
    assert bench.tick() is None
    assert unfinished(settings) == noted, "somebody else's repair of the same"


def test_a_repair_that_a_person_ended_is_not_asked_for_again(bench: Bench) -> None:
    watch = Watch(look=1, asked=ONE, tries=1)
    bench.cursor = watch.model_dump_json()
    bench.end(dg.RunRequest(job_name="repair_job", tags={TAG: "true"}), dg.DagsterRunStatus.CANCELED)
    assert bench.tick() is None
    bench.end(dg.RunRequest(job_name="repair_job", tags={TAG: "true"}), dg.DagsterRunStatus.FAILURE)
    assert bench.tick() is not None


def test_nothing_is_asked_for_while_a_run_of_the_sensor_lasts(bench: Bench) -> None:
    bench.execute("warehouse_job", [dg.AssetKey(["raw", "products"])], dict.fromkeys(RANGE, "2024-01-01"))
    job = bench.definitions.resolve_job_def("late_data_job")
    running = bench.instance.create_run_for_job(job, tags={TAG: "true"}, status=dg.DagsterRunStatus.STARTED)
    assert bench.tick() is None
    bench.instance.report_run_failed(running)
    assert bench.tick() is not None
