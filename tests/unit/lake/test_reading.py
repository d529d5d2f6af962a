"""Reading a snapshot: as it was, only what is asked for, and without copying the table."""

from datetime import UTC, datetime

import duckdb
import pyarrow as pa
import pytest

from cartograph.lake import Lake, SnapshotMissing, TableMissing
from cartograph.lake.reading import scan_sql
from cartograph.lake.schema import iceberg_schema
from tests.unit.lake.making import TABLE, VISITS, content, days, make_lake, make_visits, month, overwrite, visits_in


def test_a_snapshot_reads_as_it_was(lake: Lake) -> None:
    make_visits(lake, [0, 1])
    then, before = lake.snapshot_id(TABLE), content(lake)
    overwrite(lake, month(0), visits_in(month(0), 1, note="second"))
    assert content(lake, snapshot_id=then) == before
    assert (lake.row_count(TABLE, then), lake.row_count(TABLE)) == (8, 5)
    assert lake.pin([TABLE]) == {TABLE: lake.snapshot_id(TABLE)} != {TABLE: then}
    with pytest.raises(SnapshotMissing, match=r"raw\.visits has no snapshot 7: .*cartograph lake snapshots"):
        lake.relation_sql(TABLE, 7)


def test_a_pinned_reader_is_not_disturbed_by_writers(lake: Lake) -> None:
    make_visits(lake, [0, 1], rows=100)
    before = content(lake)
    sql, reader = lake.relation_sql(TABLE), lake.batches(TABLE)
    first = reader.read_next_batch()
    for number in range(3):
        overwrite(lake, None, visits_in(month(number), 1))
    rest = reader.read_all()
    assert len(first) + len(rest) == 200
    with lake.connect() as connection:
        assert sorted(connection.sql(sql).to_arrow_table().to_pylist(), key=repr) == before


def test_filters_and_columns_reach_the_files(lake: Lake) -> None:
    """EXPLAIN shows the filter and the one column inside the scan, which gives only the rows that pass."""
    make_visits(lake)
    overwrite(lake, None, visits_in(month(0), 20_000), visits_in(month(1), 20_000))
    with lake.connect() as connection:
        sql = f"FROM ({lake.relation_sql(TABLE)}) WHERE visited_at >= TIMESTAMPTZ '2024-02-29 00:00:00+00'"
        passing = connection.sql(f"SELECT count(*) {sql}").fetchone()
        plan = connection.sql(f"EXPLAIN ANALYZE SELECT max(amount) {sql}").fetchall()[0][1]
    scan = plan[plan.index("TABLE_SCAN") :]
    assert "READ_PARQUET" in scan
    assert "Projections: amount" in scan
    assert "visited_at>=" in scan
    assert "note" not in scan
    assert passing == (689,)
    assert "689 rows" in scan


def test_a_window_leaves_out_files_and_rows(lake: Lake) -> None:
    make_visits(lake, [0, 1, 2], rows=31)
    rows = lake.batches(TABLE, window=days(29, 33), columns=["visited_at"]).read_all()
    assert rows.schema.names == ["visited_at"]
    assert [at.date().isoformat() for at in rows["visited_at"].to_pylist()] == [
        "2024-01-30",
        "2024-01-31",
        "2024-02-01",
        "2024-02-01",
        "2024-02-02",
    ]
    march = (lake.settings.shop_home / "lake").rglob("visited_at_month=2024-03/*.parquet")
    for path in march:
        path.unlink()
    assert lake.batches(TABLE, window=month(0)).read_all().num_rows == 31


def test_a_table_without_rows_gives_typed_columns(lake: Lake) -> None:
    make_visits(lake)
    with lake.connect() as connection:
        described = connection.sql(f"DESCRIBE {lake.relation_sql(TABLE)}").fetchall()
        assert [(name, kind) for name, kind, *_ in described] == [
            ("visit_id", "BIGINT"),
            ("visited_at", "TIMESTAMP WITH TIME ZONE"),
            ("amount", "DECIMAL(18,2)"),
            ("note", "VARCHAR"),
        ]
        assert connection.sql(lake.relation_sql(TABLE)).fetchall() == []
    assert lake.batches(TABLE).read_all().schema.names == list(VISITS.names)
    assert lake.row_count(TABLE) == 0
    assert lake.pin([TABLE]) == {}


def test_the_schema_of_batches_says_what_may_be_null(lake: Lake) -> None:
    make_visits(lake, [0])
    schema = lake.batches(TABLE).schema
    assert [field.nullable for field in schema] == [False, False, False, True]
    assert schema.field("visited_at").type == pa.timestamp("us", tz="UTC")


def test_a_column_that_is_not_there_is_named(lake: Lake) -> None:
    make_visits(lake)
    with pytest.raises(TableMissing, match=r"raw\.visits has no column score\. It has visit_id, .* older version"):
        lake.batches(TABLE, columns=["visit_id", "score"])


def test_tables_and_snapshots_tell_what_there_is(lake: Lake) -> None:
    assert lake.tables() == []
    make_visits(lake, [0, 1])
    lake.ensure("features.scores", VISITS, None)
    scores, seen = lake.tables()
    assert (scores.identifier, scores.current, seen.identifier, seen.snapshots) == ("features.scores", None, TABLE, 2)
    assert seen.current is not None
    assert (seen.current.rows, seen.current.files, seen.current.added_rows) == (8, 2, 4)
    assert seen.current.bytes > 0
    first, second = lake.snapshots(TABLE)
    assert second == seen.current
    assert first.window == "2024-01-01T00:00:00+00:00/2024-02-01T00:00:00+00:00"
    assert first.committed_at <= second.committed_at <= datetime.now(UTC)


def test_connections_have_the_limits_and_leave_nothing_behind(tmp_path) -> None:
    lake = make_lake(tmp_path, duckdb_memory_limit="64MB", duckdb_threads=1)
    with lake.connect() as connection:
        settings = connection.sql(
            "SELECT current_setting('memory_limit'), current_setting('threads'), current_setting('TimeZone')"
        ).fetchone()
        assert settings == ("61.0 MiB", 1, "UTC")
        connection.execute("CREATE TABLE t AS SELECT range, hash(range)::VARCHAR AS h FROM range(1_500_000) ORDER BY h")
        assert len(list(lake.settings.shop_home.glob("spill-*/*"))) > 0
    assert list(lake.settings.shop_home.iterdir()) == []


def test_configure_prepares_any_connection(lake: Lake) -> None:
    make_visits(lake, [0])
    with duckdb.connect(":memory:") as connection:
        lake.configure(connection)
        rows = connection.sql(lake.relation_sql(TABLE)).fetchall()
    assert {row[1].utcoffset() for row in rows} == {datetime.now(UTC).utcoffset()}


@pytest.mark.parametrize("folder", ["it's here", "a [1] and b*", "ünïcode", "percent%20"])
def test_any_name_of_a_home_works_that_settings_take(tmp_path, folder: str) -> None:
    lake = make_visits(make_lake(tmp_path / folder), [0])
    overwrite(lake, days(0, 5), visits_in(days(0, 5), 1))
    assert lake.batches(TABLE).read_all().num_rows == 4
    assert [made.name for made in tmp_path.iterdir()] == [folder], "and nothing is made beside it"


@pytest.mark.parametrize("folder", ["ünïcode?", "percent%20 #hash"])
def test_any_name_of_a_folder_of_tables_works(tmp_path, folder: str) -> None:
    lake = make_visits(make_lake(tmp_path / "home", lake_uri=str(tmp_path / folder)), [0])
    overwrite(lake, days(0, 5), visits_in(days(0, 5), 1))
    assert lake.batches(TABLE).read_all().num_rows == 4


def test_a_column_name_is_quoted() -> None:
    contract = VISITS.model_copy(update={"event_time": None})
    odd = contract.column("note").model_copy(update={"name": 'it\'s "odd"'})
    sql = scan_sql(iceberg_schema(contract.model_copy(update={"columns": (odd,)})), [])
    assert duckdb.sql(sql).columns == ['it\'s "odd"']
