"""Dagster's event log with connections that stay open holds what Dagster's own does, in the same files."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from cartograph.cli import event_log
from cartograph.cli.event_log import PooledEventLog
from cartograph.cli.instance import open_instance, prepare_home
from cartograph.settings import Settings, load_settings


@dg.asset(check_specs=[dg.AssetCheckSpec("is_sound", asset="thing")])
def thing() -> dg.MaterializeResult:
    result = dg.AssetCheckResult(check_name="is_sound", passed=True)
    return dg.MaterializeResult(metadata={"rows": 3}, check_results=[result])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = load_settings(home=tmp_path)
    prepare_home(settings)
    return settings


def told(instance: dg.DagsterInstance, run_id: str) -> list[tuple[str, str]]:
    return [(log.step_key or "", log.get_dagster_event().event_type_value) for log in instance.all_logs(run_id)
            if log.is_dagster_event]  # fmt: skip


def test_a_home_has_this_log_and_dagsters_own_reads_it(settings: Settings) -> None:
    with open_instance(settings) as instance:
        assert isinstance(instance.event_log_storage, PooledEventLog)
        run = dg.materialize([thing], instance=instance)
        events = told(instance, run.run_id)
        assert ("thing", "ASSET_CHECK_EVALUATION") in events
    own = SqliteEventLogStorage(str(settings.dagster_home / "history" / "runs"))
    assert len(own.get_logs_for_run(run.run_id)) >= len(events)
    assert own.get_latest_materialization_events([dg.AssetKey("thing")])[dg.AssetKey("thing")] is not None


def test_a_second_instance_sees_what_the_first_writes(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "MOST_OPEN", 2)
    with open_instance(settings) as writer, open_instance(settings) as reader:
        for _ in range(4):  # more runs than databases that stay open
            run = dg.materialize([thing], instance=writer)
            assert told(reader, run.run_id) == told(writer, run.run_id) != []


def test_after_everything_is_deleted_runs_are_written_again(settings: Settings) -> None:
    with open_instance(settings) as instance:
        first = dg.materialize([thing], instance=instance)
        instance.wipe()
        assert told(instance, first.run_id) == []
        again = dg.materialize([thing], instance=instance)
        assert told(instance, again.run_id) != []
