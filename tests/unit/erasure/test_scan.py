"""The search finds a customer in every kind of file, also where compression hides them, and never shows the value."""

from __future__ import annotations

import gzip
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cartograph.erasure import Scan, Wanted, scan
from tests.unit.erasure.making import ADA, EMAIL, WANTED
from tests.unit.lake.making import TABLE, make_lake, make_visits, month, overwrite, visits_in

MANY = [f"C{number:08d}" for number in range(1000, 9000)]


def looked(folder: Path, wanted: Wanted = WANTED) -> Scan:
    return scan([folder], wanted, duckdb.connect)


def parquet(path: Path) -> None:
    pq.write_table(pa.table({"customer_id": [*MANY, ADA]}), path, compression="zstd")


def nested_parquet(path: Path) -> None:
    pq.write_table(pa.table({"touches": [[{"by": MANY[0]}], [{"by": ADA}]]}), path, compression="zstd")


def arrow(path: Path) -> None:
    table = pa.table({"note": [f"mail to {EMAIL.upper()}, today"]})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def sqlite(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (a TEXT, b TEXT)")
    connection.execute("INSERT INTO notes VALUES ('before', ?)", (f'{{"samples": ["{ADA}, 2024-01-01"]}}',))
    connection.commit()
    connection.close()


def warehouse(path: Path) -> None:
    with duckdb.connect(path) as connection:
        connection.execute("CREATE SCHEMA marts")
        connection.execute("CREATE TABLE marts.names AS SELECT 'Ada' AS first_name UNION ALL SELECT 'Eve'")


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "nobody")
        archive.writestr("b.txt", f"{ADA} " * 50)


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "parquet": (parquet, "column customer_id"),
    "nested parquet": (nested_parquet, "column touches"),
    "arrow": (arrow, "column note"),
    "sqlite": (sqlite, "column b of notes"),
    "duckdb": (warehouse, "column first_name of marts.names"),
    "gzip": (lambda path: path.write_bytes(gzip.compress(f"{ADA}\n".encode() * 50)) and None, "its content"),
    "zip": (zipped, "member 2"),
    "log": (lambda path: path.write_text(f"loaded ({ADA})\n") and None, "its bytes"),
    "across two chunks": (lambda path: path.write_bytes(b"." * (8 * 1024 * 1024 - 4) + ADA.encode()) and None, "bytes"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_customer_is_found_in(kind: str, tmp_path: Path) -> None:
    write, place = KINDS[kind]
    write(tmp_path / "some.file")
    (tmp_path / "innocent.txt").write_text("C000000171 xC00000017 bada@example.com Ada")
    found = looked(tmp_path)
    assert found.files == 2
    (hit,) = found.hits
    assert hit.startswith(str(tmp_path / "some.file"))
    assert place in hit
    assert not any(value in hit for value in (ADA, EMAIL, "Ada"))


def test_a_customer_is_found_in_the_name_of_a_file(tmp_path: Path) -> None:
    (tmp_path / f"customer_{ADA}.csv").touch()
    assert looked(tmp_path).hits


def test_a_short_number_counts_only_where_it_is_said_to_be_a_customer(tmp_path: Path) -> None:
    wanted = Wanted(frozenset({"12346"}), cells={"customer_id": frozenset({"12346"})})
    (tmp_path / "innocent.json").write_text('{"rows": 12346, "total-records": "12346", "product_id": "12346"}')
    pq.write_table(pa.table({"product_id": ["12346"], "customer_id": ["123466"]}), tmp_path / "innocent.parquet")
    assert looked(tmp_path, wanted).hits == []
    (tmp_path / "a.json").write_text('{"customer_id": "12346"}')
    (tmp_path / "b.json").write_text('["customer_id=12346, order_id=7"]')
    (tmp_path / "c.json").write_text('{"samples": ["12346, 2024-01-01 00:00:00+00"]}')
    pq.write_table(pa.table({"customer_id": ["12346"]}), tmp_path / "d.parquet")
    assert [Path(hit.split(": ")[0]).name for hit in looked(tmp_path, wanted).hits] == [
        "a.json",
        "b.json",
        "c.json",
        "d.parquet",
    ]


def test_the_statistics_of_a_lake_table_are_read(tmp_path: Path) -> None:
    lake = make_visits(make_lake(tmp_path))
    overwrite(lake, month(0), visits_in(month(0), note=ADA))
    hits = looked(tmp_path).hits
    assert any(hit.endswith(".avro: a record") or ".avro: its bytes" in hit for hit in hits), TABLE
    assert any(".parquet: " in hit for hit in hits)


def test_a_search_leaves_the_catalog_whole(tmp_path: Path) -> None:
    """What is committed after it and another process's commit is there for everyone (sqlite.org/howtocorrupt.html)."""
    lake = make_visits(make_lake(tmp_path), [0])
    lake.close_connections()
    looked(tmp_path)
    elsewhere(tmp_path, "m.overwrite(lake, m.month(1), m.visits_in(m.month(1)))")
    overwrite(lake, month(2), visits_in(month(2)))
    assert elsewhere(tmp_path, "print(lake.row_count(m.TABLE))") == "12\n"


def elsewhere(home: Path, statement: str) -> str:
    """What a process of its own prints that does something with the lake."""
    program = "import sys, pathlib, tests.unit.lake.making as m; lake = m.make_lake(pathlib.Path(sys.argv[1]))"
    command, root = [sys.executable, "-c", f"{program}; {statement}", str(home)], Path(__file__).parents[3]
    return subprocess.run(command, check=True, cwd=root, capture_output=True, text=True).stdout
