"""Catalogs: several shops in one, several kinds, and a message that helps where one cannot be used."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pyiceberg.catalog.sql import SqlCatalogBaseTable
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from cartograph.lake import CatalogUnreadable, Lake, TableElsewhere
from cartograph.lake.catalog import open_catalog, require_within
from tests.unit.lake.making import TABLE, VISITS, content, days, make_lake, make_visits, month, overwrite, visits_in


def test_shops_share_a_database_and_a_store(tmp_path: Path) -> None:
    shared = {"catalog_uri": f"sqlite:///{tmp_path / 'all.db'}", "lake_uri": str(tmp_path / "files")}
    one = make_visits(make_lake(tmp_path, shop="one", **shared), [0])
    two = make_visits(make_lake(tmp_path, shop="two", **shared), [1, 2])
    assert (one.row_count(TABLE), two.row_count(TABLE)) == (4, 8)
    assert [len(lake.tables()) for lake in (one, two)] == [1, 1]
    assert {path.name for path in (tmp_path / "files").iterdir()} == {"one", "two"}


def test_the_catalog_waits_for_locks_and_lets_readers_through(lake: Lake) -> None:
    make_visits(lake, [0])
    path = lake.settings.shop_home / "catalog.db"
    with sqlite3.connect(path, isolation_level=None) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        other.execute("BEGIN IMMEDIATE")
        assert lake.row_count(TABLE) == 4
        other.execute("COMMIT")
    with open_catalog(lake.settings).engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1


def test_another_process_may_make_each_table_of_the_catalog_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in the moment between our look, which finds none, and our own try."""
    catalog_tables = SqlCatalogBaseTable.metadata
    others, create_all = list(catalog_tables.sorted_tables), catalog_tables.create_all

    def create_second(engine: Engine) -> None:
        if others:
            table = others.pop()
            table.create(engine)
            table.create(engine, checkfirst=False)
        create_all(engine)

    monkeypatch.setattr(catalog_tables, "create_all", create_second)
    assert make_lake(tmp_path).tables() == []
    assert others == []


def test_a_lake_is_made_without_touching_anything(tmp_path: Path) -> None:
    lake = make_lake(tmp_path / "absent")
    assert not lake.settings.home.exists()
    assert not lake.exists(TABLE)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (
            "sqlite:///{folder}/broken.db",
            r"broken\.db cannot be used: file is not a database\. Check CARTOGRAPH_CATALOG",
        ),
        ("sqlite:///{folder}/taken/catalog.db", r"catalog\.db, and .*/taken is no folder\. Correct the path"),
        ("sqlite:///{folder}/absent/deep/catalog.db", r"catalog\.db, and .*/absent/deep is no folder\."),
        ("sqlite://", "in memory, which no other process could read"),
        ("postgresql+absent://someone:secret@host/db", "cannot be used: Can't load plugin"),
        ("postgresql+pg8000://someone:secret@host/db", r"someone:\*\*\*@host/db needs the Python package pg8000"),
        ("no address", "The Iceberg catalog given by CARTOGRAPH_CATALOG_URI cannot be used"),
        ("http://127.0.0.1:9", r"http://127\.0\.0\.1:9 cannot be used: .* service is up"),
    ],
)
def test_a_catalog_that_cannot_be_used_is_named_with_the_cure(tmp_path: Path, uri: str, message: str) -> None:
    (tmp_path / "broken.db").write_bytes(b"not a database at all" * 100)
    (tmp_path / "taken").write_text("a file where a folder is needed")
    lake = make_lake(tmp_path, catalog_uri=uri.format(folder=tmp_path))
    for use in (lambda: lake.ensure(TABLE, VISITS, "monthly"), lake.tables, lambda: lake.snapshot_id(TABLE)):
        with pytest.raises(CatalogUnreadable, match=message) as error:
            use()
        assert "secret" not in str(error.value)
    assert not (tmp_path / "absent").exists()


def test_a_lake_whose_files_have_gone_says_so(lake: Lake) -> None:
    make_visits(lake, [0])
    (lake.settings.shop_home / "lake").rename(lake.settings.shop_home / "moved")
    with pytest.raises(
        CatalogUnreadable, match=r"points at a file of raw\.visits that is not there: .*moved or deleted"
    ):
        lake.batches(TABLE)


def test_a_copied_home_reads_the_first_ones_files_and_changes_none_of_them(tmp_path: Path) -> None:
    first = make_visits(make_lake(tmp_path / "first"), [0, 1])
    before, snapshots = content(first), first.snapshots(TABLE)
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    second = make_lake(tmp_path / "second")
    overwrite(first, month(0), visits_in(month(0), 2))  # The copy knows nothing of the new file.
    after = content(first)
    files = {path for path in first.settings.home.rglob("*") if path.is_file()}

    changes: list[Callable[[], object]] = [
        lambda: second.maintain(TABLE, now=datetime.now(UTC) + timedelta(days=9), keep_snapshots=1),
        lambda: second.forget(TABLE, now=datetime.now(UTC) + timedelta(days=9)),
        lambda: second.append(TABLE, visits_in(month(2), 1)),
        lambda: second.upsert(TABLE, visits_in(month(2), 1), ["visit_id"]),
        lambda: overwrite(second, month(0), visits_in(month(0), 1)),
        lambda: second.rewrite(TABLE, lambda rows: rows.slice(0)),
        lambda: second.ensure(TABLE, VISITS, "monthly"),
        lambda: second.rename_column(TABLE, "note", "remark"),
    ]
    for change in changes:
        with pytest.raises(
            TableElsewhere, match=r"raw\.visits lies in .*/first/.*, and this lake in .*/second/"
        ) as told:
            change()
        assert "CARTOGRAPH_LAKE_URI" in str(told.value)

    assert content(second) == before
    assert second.snapshots(TABLE) == snapshots
    assert content(first) == after
    assert {path for path in first.settings.home.rglob("*") if path.is_file()} == files


def test_a_home_that_is_reached_by_a_link_is_the_same(tmp_path: Path) -> None:
    make_visits(make_lake(tmp_path / "real"), [0])
    (tmp_path / "link").symlink_to(tmp_path / "real")
    linked = make_lake(tmp_path / "link")
    linked.maintain(TABLE, now=datetime.now(UTC))
    overwrite(linked, month(0), visits_in(month(0), 1))
    assert linked.row_count(TABLE) == 1


@pytest.mark.parametrize(
    ("lake_uri", "place", "is_within"),
    [
        ("/data/lake", "/data/lake/simulated/raw/visits", True),
        ("/data/lake/", "file:///data/lake/simulated/raw/visits/", True),
        ("/data/lake", "file:/data/lake/simulated/raw/visits", True),
        ("/data/x/../lake", "/data//lake/simulated/raw/visits", True),
        ("/data/lake", "/data/lake/simulated_too/raw/visits", False),
        ("/data/lake", "/data/lake/simulated/../other/raw/visits", False),
        ("/data/lake", "s3://data/lake/simulated/raw/visits", False),
        ("s3://bucket/lake/", "s3://bucket/lake/simulated/raw/visits", True),
        ("s3://bucket/lake", "s3a://bucket/lake/simulated/raw/visits/", True),
        ("s3://bucket", "s3://bucket/simulated/raw/visits", True),
        ("s3://bucket/lake", "s3://bucket/lake2/simulated/raw/visits", False),
        ("s3://bucket/lake", "s3://other/lake/simulated/raw/visits", False),
        ("s3://bucket/lake", "/bucket/lake/simulated/raw/visits", False),
    ],
)
def test_a_tables_files_are_this_lakes_in_whatever_form_the_place_is_written(
    tmp_path: Path, lake_uri: str, place: str, is_within: bool
) -> None:
    settings = make_lake(tmp_path, lake_uri=lake_uri).settings
    with nullcontext() if is_within else pytest.raises(TableElsewhere):
        require_within(settings, TABLE, place)


def test_a_database_that_is_no_catalog_any_more_says_so(lake: Lake) -> None:
    make_visits(lake, [0])
    with sqlite3.connect(lake.settings.shop_home / "catalog.db") as connection:
        connection.execute("DROP TABLE iceberg_tables")
    with pytest.raises(CatalogUnreadable, match="cannot be used: no such table: iceberg_tables") as error:
        lake.ensure(TABLE, VISITS, "monthly")
    assert isinstance(error.value.__cause__, OperationalError)


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
            patch.setenv(name, value)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield f"http://{host}:{port}"
    server.stop()


def use_everything(lake: Lake) -> None:
    """Write, replace a part of a month, upsert, and read back both ways."""
    make_visits(lake, [0, 1])
    pinned, before = lake.snapshot_id(TABLE), content(lake)
    overwrite(lake, days(0, 8), visits_in(days(0, 8), 2, note="second"))
    lake.upsert(TABLE, visits_in(month(1), 2, note="third"), ["visit_id"])
    with lake.connect() as connection:
        rows = connection.sql(
            f"SELECT note, count(*) FROM ({lake.relation_sql(TABLE)}) GROUP BY ALL ORDER BY 1"
        ).fetchall()
    assert rows == [("first", 4), ("second", 2), ("third", 2)]
    assert content(lake, snapshot_id=pinned) == before


def test_a_lake_on_s3(tmp_path: Path, aws: str) -> None:
    boto3.client("s3", endpoint_url=aws, region_name="eu-central-1").create_bucket(
        Bucket="lakes", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    lake = make_lake(tmp_path, lake_uri="s3://lakes/some/prefix", s3_endpoint_url=aws)
    use_everything(lake)
    now = datetime.now(UTC) + timedelta(days=2)
    rows = content(lake)
    report = lake.maintain(TABLE, now=now, keep_snapshots=1)
    assert report.compacted_files > 1
    assert report.deleted_files > 3
    assert content(lake) == rows
    listed = boto3.client("s3", endpoint_url=aws).list_objects_v2(Bucket="lakes")["Contents"]
    assert {entry["Key"].split("/raw/")[0] for entry in listed} == {"some/prefix/simulated"}
    assert sum(entry["Key"].endswith(".parquet") for entry in listed) == lake.snapshots(TABLE)[-1].files


def test_a_lake_in_glue(tmp_path: Path, aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws)
    one, two = (make_lake(tmp_path, catalog_uri="glue", shop=shop) for shop in ("one", "one_two"))
    use_everything(one)
    make_visits(two, [0])
    assert [info.identifier for info in one.tables()] == [TABLE]
    assert (one.row_count(TABLE), two.row_count(TABLE)) == (8, 4)
