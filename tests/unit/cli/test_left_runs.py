"""Runs of a `cartograph up` that was killed are closed by the next command, and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from cartograph.cli.instance import close_dead_runs, close_runs_of_up, only_up, open_instance, prepare_home
from cartograph.settings import Settings
from cartograph.shops import ShopError

POOL = "warehouse"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path)
    prepare_home(settings)
    return settings


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with open_instance(settings) as instance:
        yield instance


def begun(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A run at work that holds the pool."""

    @dg.job
    def nightly() -> None:
        """Of nothing."""

    run = instance.create_run_for_job(nightly, status=dg.DagsterRunStatus.STARTED)
    instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
    instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "step")
    return run


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus | None:
    found = instance.get_run_by_id(run.run_id)
    return found.status if found else None


def claimed(instance: dg.DagsterInstance) -> set[str]:
    return {slot.run_id for slot in instance.event_log_storage.get_concurrency_info(POOL).claimed_slots}


def test_what_a_killed_up_left_is_closed_and_frees_its_pool(settings, instance):
    with only_up(settings):
        run = begun(instance)
        assert claimed(instance) == {run.run_id}
        assert close_dead_runs(instance, settings) == 0, "it is at work"
    assert close_dead_runs(instance, settings) == 1
    assert status(instance, run) == dg.DagsterRunStatus.FAILURE
    assert claimed(instance) == set()
    assert close_dead_runs(instance, settings) == 0


def test_up_itself_closes_what_it_leaves(settings, instance):
    with only_up(settings) as lock:
        run = begun(instance)
        assert close_runs_of_up(instance, lock) == 1
    assert status(instance, run) == dg.DagsterRunStatus.FAILURE
    later = begun(instance)
    assert close_dead_runs(instance, settings) == 0
    assert status(instance, later) == dg.DagsterRunStatus.STARTED, "of a daemon that somebody else has started since"


def test_one_that_was_killed_twice_forgets_nothing(settings, instance):
    with only_up(settings):
        first = begun(instance)
    with only_up(settings):
        second = begun(instance)
    assert close_dead_runs(instance, settings) == 2
    assert {status(instance, run) for run in (first, second)} == {dg.DagsterRunStatus.FAILURE}


def test_runs_of_another_daemon_are_left_alone(settings, instance):
    run = begun(instance)
    assert close_dead_runs(instance, settings) == 0
    with only_up(settings):
        pass
    assert close_dead_runs(instance, settings) == 0
    assert status(instance, run) == dg.DagsterRunStatus.STARTED


def test_a_second_up_of_a_shop_is_refused(settings):
    with only_up(settings), pytest.raises(ShopError, match="Another `cartograph up`"), only_up(settings):
        pass
