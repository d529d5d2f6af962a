"""Rows are changed where they are, in the files that hold them, and afterwards nothing tells what they were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from cartograph.lake import Lake, tables
from cartograph.lake.tables import Swap
from tests.unit.lake.making import TABLE, content, data_paths, days, make_visits, month, overwrite, visits_in

LATER = timedelta(hours=1)


def without_secrets(rows: pa.Table) -> pa.Table:
    """Rows with `secret` blanked; the very same table where there is none."""
    secret = pc.equal(rows["note"], "secret")
    if not pc.any(secret).as_py():
        return rows
    position = rows.column_names.index("note")
    return rows.set_column(position, "note", pc.if_else(secret, pa.scalar(None, pa.string()), rows["note"]))


def test_only_the_files_that_change_are_written_anew(lake: Lake) -> None:
    make_visits(lake, [0, 2])
    overwrite(lake, month(1), visits_in(month(1), note="secret"))
    before, files = content(lake), {str(path) for path in data_paths(lake)}
    assert lake.rewrite(TABLE, without_secrets) == 1
    assert sum(path in lake.relation_sql(TABLE) for path in files) == 2
    expected = [{**row, "note": None if row["note"] == "secret" else row["note"]} for row in before]
    assert content(lake) == sorted(expected, key=repr)
    snapshots = lake.snapshots(TABLE)
    assert lake.rewrite(TABLE, without_secrets) == 0
    assert lake.snapshots(TABLE) == snapshots


def test_the_order_of_rows_stays(lake: Lake) -> None:
    make_visits(lake)
    overwrite(lake, month(0), visits_in(month(0), rows=1000, note="secret"))
    before = lake.batches(TABLE).read_all()["visit_id"]
    lake.rewrite(TABLE, without_secrets)
    assert lake.batches(TABLE).read_all()["visit_id"] == before


def test_rows_that_come_meanwhile_are_changed_too(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    make_visits(lake)
    overwrite(lake, month(0), visits_in(month(0), note="secret"))
    commit, plans = tables.commit, []

    def disturbed(settings: object, identifier: str, plan: object, **options: object) -> object:
        def planned(table: object) -> Swap:
            swap = plan(table)
            if not plans:
                plans.append(swap)
                monkeypatch.setattr(tables, "commit", commit)
                overwrite(lake, days(40, 41), visits_in(days(40, 41), note="secret"))
            return swap

        return commit(settings, identifier, planned, **options)

    monkeypatch.setattr(tables, "commit", disturbed)
    assert lake.rewrite(TABLE, without_secrets) == 2
    assert {row["note"] for row in content(lake)} == {None}
    assert len(content(lake)) == 8


def test_nothing_is_left_of_rows_that_were_changed(lake: Lake) -> None:
    make_visits(lake, [0])
    overwrite(lake, month(1), visits_in(month(1), note="secret"))
    lake.rewrite(TABLE, without_secrets)
    rows = content(lake)
    lake.forget(TABLE, now=datetime.now(UTC) + LATER)
    assert content(lake) == rows
    assert len(lake.snapshots(TABLE)) == 1
    assert len(data_paths(lake)) == 2
    current = tables.load(lake.settings, TABLE)
    snapshot = current.current_snapshot()
    assert snapshot is not None
    assert [manifest.deleted_files_count for manifest in snapshot.manifests(current.io)] == [0] * len(
        snapshot.manifests(current.io)
    )
    files = {path for path in (lake.settings.shop_home / "lake").rglob("*") if path.is_file()}
    lake.forget(TABLE, now=datetime.now(UTC) + LATER)
    assert {path for path in (lake.settings.shop_home / "lake").rglob("*") if path.is_file()} == files


def test_a_table_without_rows_has_nothing_to_forget(lake: Lake) -> None:
    make_visits(lake)
    assert lake.rewrite(TABLE, without_secrets) == 0
    lake.forget(TABLE, now=datetime.now(UTC) + LATER)
    assert content(lake) == []
