"""A lake under faults: writers killed or at once, races and answers lost. A table is old or new, never between."""

import random
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from sqlalchemy.exc import OperationalError

from cartograph.lake import CommitConflict, Lake, tables
from cartograph.lake import lake as verbs
from cartograph.lake.tables import Swap
from tests.unit.lake.forking import Forking, forking
from tests.unit.lake.making import (
    TABLE,
    VISITS,
    content,
    data_paths,
    days,
    make_lake,
    make_visits,
    month,
    overwrite,
    visits_in,
)

ACROSS = [part / 9 for part in range(1, 9)]
"""Moments spread over an action, most of whose calls are in the commit."""


@pytest.fixture(scope="module")
def processes() -> Iterator[Forking]:
    with forking() as started:
        yield started


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return make_lake(tmp_path)


def notes(lake: Lake) -> list[str]:
    return sorted(row["note"] for row in content(lake))


def test_a_killed_writer_leaves_the_old_rows_or_the_new(lake: Lake, processes: Forking) -> None:
    """SIGKILL at moments spread over the overwrite of a window that cuts through a file; each next write works."""
    make_visits(lake, [0, 1], rows=8)
    home, action = lake.settings.home, "overwrite_part_of_january"
    total = processes.calls(action, home, "counted")
    chosen = random.Random(7)
    outcomes = set()
    for moment in ACROSS:
        before = content(lake)
        calls = int(total * (moment + chosen.uniform(-0.04, 0.04)))
        assert processes.run(action, home, [f"at {moment}"], after_calls=calls) == [-signal.SIGKILL]
        after = content(lake)
        new = [row for row in before if row["visited_at"] not in days(0, 20)]
        new += [{**row, "note": f"at {moment}"} for row in visits_in(days(0, 20), 3).to_pylist()]
        outcomes.add(after == before)
        assert after in (before, sorted(new, key=repr))
        assert len(after) == lake.row_count(TABLE)
    assert processes.run(action, home, ["last"]) == [0]
    assert notes(lake).count("last") == 3
    assert True in outcomes


def test_a_full_disk_leaves_the_old_rows_and_the_next_write_works(lake: Lake, processes: Forking) -> None:
    make_visits(lake, [0, 1], rows=8)
    before, home = content(lake), lake.settings.home
    (status,) = processes.run("overwrite_on_a_full_disk", home, ["full"])
    assert status not in (0, -signal.SIGKILL)
    assert content(lake) == before
    assert processes.run("overwrite_part_of_january", home, ["room again"]) == [0]
    assert notes(lake).count("room again") == 3


def test_a_writer_killed_while_it_makes_the_lake_is_no_hindrance(tmp_path: Path, processes: Forking) -> None:
    action = "create_and_overwrite_all"
    total = processes.calls(action, tmp_path / "counted", "first")
    for moment in ACROSS[::2]:
        home = tmp_path / str(moment)
        assert processes.run(action, home, ["killed"], after_calls=int(total * moment)) == [-signal.SIGKILL]
        assert processes.run(action, home, ["second"]) == [0]
        assert notes(make_lake(home)) == ["second"] * 6


def test_killed_maintenance_changes_no_row_and_is_finished_by_the_next(tmp_path: Path, processes: Forking) -> None:
    def fragmented(name: str) -> Lake:
        lake = make_visits(make_lake(tmp_path / name))
        for day in range(29, 33):
            overwrite(lake, days(day, day + 1), visits_in(days(day, day + 1), 3))
        return lake

    total = processes.calls("maintain", fragmented("counted").settings.home, "")
    for moment in ACROSS[::2]:
        lake = fragmented(str(moment))
        before = content(lake)
        home = lake.settings.home
        assert processes.run("maintain", home, [""], after_calls=int(total * moment)) == [-signal.SIGKILL]
        assert content(lake) == before
        assert processes.run("maintain", home, [""]) == [0]
        assert content(lake) == before
        assert len(data_paths(lake)) == 2


def test_writers_of_different_windows_at_once_all_land(lake: Lake, processes: Forking) -> None:
    make_visits(lake)
    assert processes.run("overwrite_months", lake.settings.home, ["0", "1", "2", "3"]) == [0, 0, 0, 0]
    assert notes(lake) == sorted(str(number % 4) for number in range(12) for _ in range(3))
    assert lake.row_count(TABLE) == 36


def test_writers_of_the_same_window_at_once_leave_the_rows_of_one(lake: Lake, processes: Forking) -> None:
    """They may even be the first ever, and find neither catalog nor table."""
    assert processes.run("create_and_overwrite_all", lake.settings.home, ["0", "1", "2"]) == [0, 0, 0]
    assert notes(lake) in [[note] * 6 for note in "012"]


def interfere(monkeypatch: pytest.MonkeyPatch, lake: Lake, *steps: tuple[object, ...]) -> None:
    """Between the plan and the commit of the next write, make one overwrite of `steps`; one for each attempt."""
    planned, waiting = verbs.swap, list(steps)

    def swap(*arguments: object, **options: object) -> Swap:
        result = planned(*arguments, **options)
        if waiting:
            step = waiting.pop(0)
            with monkeypatch.context() as patch:
                patch.setattr(verbs, "swap", planned)
                overwrite(lake, *step)
        return result

    monkeypatch.setattr(verbs, "swap", swap)


@pytest.mark.parametrize("more", [0, tables.MANY_MANIFESTS])
def test_a_lost_race_is_planned_again(lake: Lake, monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    """The other writers change another month, then the same file that this one is about to rewrite a part of.

    With many commits before, the same commit also merges manifests.
    """
    make_visits(lake, [0], rows=4)
    for number in range(2, 2 + more):
        overwrite(lake, month(number), visits_in(month(number), 1, note="before"))
    others = (month(1), visits_in(month(1), 2, note="other")), (days(20, 31), visits_in(days(20, 31), 1, note="late"))
    interfere(monkeypatch, lake, *others)
    overwrite(lake, days(0, 8), visits_in(days(0, 8), 1, note="mine"))
    assert notes(lake) == ["before"] * more + ["first", "late", "mine", "other", "other"]
    assert lake.row_count(TABLE) == 5 + more == lake.snapshots(TABLE)[-1].rows


def test_two_first_writers_of_a_window_leave_the_rows_of_one(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither finds a file to remove, so only the check of what others added keeps both from landing."""
    make_visits(lake, [1])
    interfere(monkeypatch, lake, (month(0), visits_in(month(0), 2, note="other")))
    overwrite(lake, month(0), visits_in(month(0), 3, note="mine"))
    assert notes(lake) == ["first"] * 4 + ["mine"] * 3


def test_an_upsert_that_lost_the_race_still_replaces_its_keys(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    make_visits(lake, [0], rows=4)
    interfere(monkeypatch, lake, (month(0), visits_in(month(0), 4, note="other")))
    lake.upsert(TABLE, visits_in(month(0), 2, note="mine"), ["visit_id"])
    assert notes(lake) == ["mine", "mine", "other", "other"]


def test_a_race_that_is_lost_for_ever_is_reported_and_nothing_is_written(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_visits(lake, [0])

    def refuse(*_: object) -> None:
        raise CommitFailedException("Table has been updated by another process")

    before = content(lake)
    with monkeypatch.context() as patch:
        patch.setattr(tables, "GIVE_UP_SECONDS", 0)
        patch.setattr(SqlCatalog, "commit_table", refuse)
        with pytest.raises(CommitConflict, match=r"raw\.visits could not be committed .*updated by another process"):
            overwrite(lake, month(0), visits_in(month(0), note="mine"))
    assert content(lake) == before
    report = lake.maintain(TABLE, now=datetime.now(UTC) + timedelta(hours=1), min_age=timedelta(0))
    assert report.deleted_files > 0
    assert content(lake) == before


@pytest.mark.parametrize("kind", ["append", "overwrite"])
@pytest.mark.parametrize(
    "answer", [CommitFailedException("broken off"), OperationalError("commit", None, Exception("server closed"))]
)
def test_a_commit_whose_answer_was_lost_is_made_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, kind: str, answer: Exception
) -> None:
    make_visits(lake, [0])
    commit_table = SqlCatalog.commit_table

    def lose_the_answer(*arguments: object) -> None:
        commit_table(*arguments)
        monkeypatch.setattr(SqlCatalog, "commit_table", commit_table)
        raise answer

    monkeypatch.setattr(SqlCatalog, "commit_table", lose_the_answer)
    if kind == "append":
        lake.append(TABLE, visits_in(month(1), 3))
    else:
        overwrite(lake, month(1), visits_in(month(1), 3))
    assert len(content(lake)) == lake.row_count(TABLE) == 7
    assert len(lake.snapshots(TABLE)) == 2


def test_a_table_made_by_another_process_meanwhile_is_taken(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    create = SqlCatalog.create_table

    def too_late(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(SqlCatalog, "create_table", create)
        make_visits(lake, [0])
        return create(*arguments, **options)

    monkeypatch.setattr(SqlCatalog, "create_table", too_late)
    lake.ensure(TABLE, VISITS, "monthly")
    assert lake.row_count(TABLE) == 4
