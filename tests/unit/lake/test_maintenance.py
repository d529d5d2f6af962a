"""Maintenance changes no row, takes away what nobody refers to, and nothing that somebody may still need."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cartograph.lake import Lake, MaintenanceReport, SnapshotMissing, maintenance, tables
from tests.unit.lake.making import TABLE, content, data_paths, days, make_visits, month, overwrite, visits_in

HOUR = timedelta(hours=1)


def maintain(lake: Lake, *, min_age: timedelta = timedelta(0), **options: object) -> MaintenanceReport:
    """Maintenance an hour from now, when all that is there has an age."""
    options = {"keep_snapshots": 1, **options}
    return lake.maintain(TABLE, now=datetime.now(UTC) + HOUR, min_age=min_age, **options)


def files_on_disk(lake: Lake) -> set[Path]:
    return {path for path in (lake.settings.shop_home / "lake" / "raw" / "visits").rglob("*") if path.is_file()}


def fragmented(lake: Lake) -> Lake:
    """Two months that were written day by day, the first twice."""
    make_visits(lake)
    for day in (*range(28, 34), *range(28, 31)):
        overwrite(lake, days(day, day + 1), visits_in(days(day, day + 1), 3))
    return lake


def test_small_files_become_one_for_each_partition_and_the_rows_stay(lake: Lake) -> None:
    before = content(fragmented(lake))
    report = maintain(lake)
    assert (report.compacted_files, report.written_files) == (6, 2)
    assert content(lake) == before
    assert data_paths(lake) == {path for path in data_paths(lake) if str(path) in lake.relation_sql(TABLE)}
    assert len(data_paths(lake)) == 2
    assert lake.row_count(TABLE) == len(before) == lake.snapshots(TABLE)[-1].rows


def test_maintenance_again_finds_nothing_to_do(lake: Lake) -> None:
    fragmented(lake)
    maintain(lake)
    maintain(lake)  # The metadata file that the first one's last commit replaced.
    before = files_on_disk(lake)
    assert maintain(lake) == MaintenanceReport(TABLE, 0, 0, 0, 0, 0)
    assert files_on_disk(lake) == before


def test_files_are_put_together_up_to_the_target(lake: Lake) -> None:
    make_visits(lake)
    for day in range(6):
        overwrite(lake, days(day, day + 1), visits_in(days(day, day + 1), 200))
    size = max(path.stat().st_size for path in data_paths(lake))
    report = maintain(lake, target_bytes=3 * size)
    assert (report.compacted_files, report.written_files) == (6, 2)
    assert maintain(lake, target_bytes=size).compacted_files == 0


def test_a_week_can_still_be_replaced_after_compaction(lake: Lake) -> None:
    before = content(fragmented(lake))
    maintain(lake)
    window = days(29, 30)
    overwrite(lake, window, visits_in(window, 1, note="again"))
    assert content(lake) != before
    assert [row for row in content(lake) if row["visited_at"] not in window] == [
        row for row in before if row["visited_at"] not in window
    ]


def test_kept_snapshots_still_read_and_others_are_gone(lake: Lake) -> None:
    make_visits(lake, [0])
    pinned, before = lake.snapshot_id(TABLE), content(lake)
    assert pinned is not None
    overwrite(lake, None, visits_in(month(1), 2))
    lost = lake.snapshot_id(TABLE)
    overwrite(lake, None, visits_in(month(2), 3))
    report = maintain(lake, keep=[pinned])
    assert report.expired_snapshots == 1
    assert report.deleted_files > 1
    assert content(lake, snapshot_id=pinned) == before
    assert lake.row_count(TABLE) == 3
    with pytest.raises(SnapshotMissing):
        lake.relation_sql(TABLE, lost)


def test_the_newest_snapshots_are_kept(lake: Lake) -> None:
    make_visits(lake, [0, 1, 2, 3])
    kept = [snapshot.snapshot_id for snapshot in lake.snapshots(TABLE)][-2:]
    maintain(lake, keep_snapshots=2)
    assert [snapshot.snapshot_id for snapshot in lake.snapshots(TABLE)] == kept


def test_nothing_young_is_taken_away(lake: Lake) -> None:
    """Neither an orphan, which may be a writer's that has not committed yet, nor a snapshot that a reader may hold."""
    make_visits(lake, [0])
    pinned = lake.snapshot_id(TABLE)
    with lake.overwriting(TABLE, month(0)) as writer:
        writer.write(visits_in(month(0), 200_000))
        before = data_paths(lake)
        assert len(before) == 2
        report = maintain(lake, min_age=2 * HOUR)
        assert (report.expired_snapshots, report.deleted_files) == (0, 0)
    assert lake.row_count(TABLE) == 200_000
    assert lake.row_count(TABLE, pinned) == 4


def test_orphans_are_deleted_once_they_are_old(lake: Lake) -> None:
    make_visits(lake, [0])
    table = lake.settings.shop_home / "lake" / "raw" / "visits"
    orphans = [table / "data" / "lost.parquet", table / "metadata" / "lost-m0.avro"]
    for path in orphans:
        path.write_bytes(b"x" * 10)
    neighbour = table.parent / "visits_of_others" / "data.parquet"
    neighbour.parent.mkdir()
    neighbour.write_bytes(b"x")
    report = maintain(lake)
    assert not any(path.exists() for path in orphans)
    assert neighbour.exists()
    assert report.deleted_bytes >= 20
    assert len(content(lake)) == 4


def test_a_compaction_that_lost_the_race_leaves_the_other_writers_rows(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragmented(lake)
    commit = tables.commit

    def after_another_writer(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(tables, "commit", commit)
        overwrite(lake, days(28, 29), visits_in(days(28, 29), 1, note="newer"))
        return commit(*arguments, **options)

    monkeypatch.setattr(tables, "commit", after_another_writer)
    report = maintain(lake)
    assert (report.compacted_files, report.written_files) == (3, 1)
    assert [row["note"] for row in content(lake)].count("newer") == 1
    assert lake.row_count(TABLE) == 16


@pytest.mark.parametrize("step", ["_expire", "_delete_unreferenced"])
def test_a_run_that_stops_between_steps_is_finished_by_the_next(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = content(fragmented(lake))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(maintenance, step, stop)
        with pytest.raises(KeyboardInterrupt):
            maintain(lake)
    assert content(lake) == before
    maintain(lake)
    assert content(lake) == before
    assert len(data_paths(lake)) == 2


def test_manifests_stay_few_however_many_commits_there_are(lake: Lake) -> None:
    make_visits(lake, range(2 * tables.MANY_MANIFESTS + 3), rows=1)
    for number in range(3):
        overwrite(lake, month(number), visits_in(month(number), 2, note="second"))
    table = tables.load(lake.settings, TABLE)
    snapshot = table.current_snapshot()
    assert snapshot is not None
    assert len(snapshot.manifests(table.io)) <= tables.MANY_MANIFESTS + 1
    rows = content(lake)
    assert len(rows) == lake.row_count(TABLE) == lake.snapshots(TABLE)[-1].rows == 2 * tables.MANY_MANIFESTS + 6
    assert sum(row["note"] == "second" for row in rows) == 6
