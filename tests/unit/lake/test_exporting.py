"""Tables as files: values and types survive, Excel's traps are off or on as asked, and a failure changes nothing."""

from __future__ import annotations

import hashlib
import json
import resource
import stat
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cartograph.contracts import ARROW_TYPES, Column, Contract
from cartograph.lake import ExportFailed, Lake
from cartograph.lake.exporting import MANIFEST, ExportedFile, ExportManifest, export
from tests.unit.lake.making import TABLE, days, make_visits, overwrite

ALL_TYPES = Contract(
    dataset="things",
    grain="A thing.",
    key=("string_value",),
    columns=tuple(Column(name=f"{t}_value", type=t, description="A value.", nullable=True) for t in ARROW_TYPES),
)
THINGS = "published.things"
ROW: dict[str, Any] = {
    "string_value": 'Straße, "quoted"\nsecond line',
    "bigint_value": -(2**63),
    "double_value": 0.1,
    "money_value": Decimal("-1234.50"),
    "price_value": Decimal("0.0001"),
    "boolean_value": True,
    "date_value": date(2024, 2, 29),
    "timestamp_value": datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC),
}
FORMULAS = ("=1+1", "+49 170", "-20% sale", "@SUM(A1)", "\tx", "\rx", "＝1")


def make_things(lake: Lake, *rows: dict[str, Any]) -> Lake:
    lake.ensure(THINGS, ALL_TYPES, None)
    blank: dict[str, Any] = dict.fromkeys(ALL_TYPES.names)
    overwrite(lake, None, pa.Table.from_pylist([{**blank, **r} for r in rows], ALL_TYPES.arrow_schema()), table=THINGS)
    return lake


def exported(lake: Lake, folder: Path, table: str = THINGS, **choices: Any) -> ExportedFile:
    (file,) = export(lake, lake.pin([table]), folder, **{"form": "csv", **choices})
    return file


def manifest_of(folder: Path) -> ExportManifest:
    return ExportManifest.model_validate_json((folder / MANIFEST).read_bytes())


def read_csv(path: Path, **types: str) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.read_csv(str(path), header=True, dtype=types or None, all_varchar=not types)
        return rows.to_arrow_table().to_pylist()


def test_parquet_keeps_values_and_types(lake: Lake, tmp_path: Path) -> None:
    make_things(lake, ROW, {})
    exported(lake, tmp_path / "out", form="parquet")
    found = pq.read_table(tmp_path / "out" / "things.parquet")
    assert found.to_pylist() == [ROW, dict.fromkeys(ROW)]
    assert found.schema.types == list(ARROW_TYPES.values())


def test_csv_read_with_the_manifests_types_gives_the_same_values(lake: Lake, tmp_path: Path) -> None:
    make_things(lake, ROW, {"string_value": ""}, {})
    file = exported(lake, tmp_path / "out")
    path = tmp_path / "out" / "things.csv"
    assert read_csv(path, **{c.name: c.type for c in file.columns})[0] == ROW
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].split(",") == list(ALL_TYPES.names)
    assert "2024-02-29,2024-02-29 23:59:59.123456" in lines[2]
    assert (lines[3], lines[4]) == ('"",,,,,,,', ",,,,,,,"), "an empty text is not a null"


def test_csv_is_faithful_and_disarms_formulas_only_for_excel(lake: Lake, tmp_path: Path) -> None:
    make_things(lake, *({"string_value": text, "bigint_value": -1} for text in (*FORMULAS, "a=1", "")))
    exported(lake, tmp_path / "plain")
    assert not (tmp_path / "plain" / "things.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    exported(lake, tmp_path / "excel", for_excel=True)
    assert (tmp_path / "excel" / "things.csv").read_bytes().startswith(b"\xef\xbb\xbfstring_value,bigint_value")
    plain, excel = (read_csv(tmp_path / name / "things.csv") for name in ("plain", "excel"))
    assert [row["string_value"] or "" for row in plain] == [*FORMULAS, "a=1", ""]
    assert [row["string_value"] or "" for row in excel] == [*(f"'{text}" for text in FORMULAS), "a=1", ""]
    assert {row["bigint_value"] for row in (*plain, *excel)} == {"-1"}, "a number is no formula"


def test_days_filter_what_has_an_event_time(lake: Lake, tmp_path: Path) -> None:
    make_visits(lake, [0, 1], rows=31)
    make_things(lake, ROW)
    window = days(1, 3)
    files = export(lake, lake.pin([TABLE, THINGS]), tmp_path / "out", form="parquet", window=window)
    assert [(file.filtered_by, file.rows) for file in files] == [("visited_at", 2), (None, 1)]
    bounds = (window.start.isoformat(), window.end.isoformat())
    assert [(file.first_moment, file.end_moment) for file in files] == [bounds, (None, None)]
    times = pq.read_table(tmp_path / "out" / "visits.parquet")["visited_at"].to_pylist()
    assert all(window.start <= moment < window.end for moment in times)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_manifest_tells_the_files_and_is_the_same_again(lake: Lake, tmp_path: Path, form: str) -> None:
    make_visits(lake, [0])
    exported(lake, tmp_path / "out", TABLE, form=form)
    first = (tmp_path / "out" / MANIFEST).read_bytes()
    (file,) = json.loads(first)["files"]
    written = (tmp_path / "out" / file["file"]).read_bytes()
    assert file["sha256"] == hashlib.sha256(written).hexdigest()
    assert (file["bytes"], file["rows"], file["snapshot_id"]) == (len(written), 4, str(lake.snapshot_id(TABLE)))
    exported(lake, tmp_path / "out", TABLE, form=form)
    assert (tmp_path / "out" / MANIFEST).read_bytes() == first
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [MANIFEST, f"visits.{form}"]


def test_what_earlier_exports_wrote_stays_in_the_manifest(lake: Lake, tmp_path: Path) -> None:
    make_visits(lake, [0, 1], rows=31)
    make_things(lake, ROW)
    out = tmp_path / "out"
    first = exported(lake, out, TABLE)
    second = exported(lake, out, THINGS, form="parquet")
    third = exported(lake, out, THINGS, for_excel=True)
    assert manifest_of(out).files == (third, second, first)
    assert [(file.format, file.for_excel) for file in manifest_of(out).files] == [
        *(("csv", True), ("parquet", False), ("csv", False)),
    ]
    again = exported(lake, out, TABLE, window=days(1, 3))
    assert manifest_of(out).files == (third, second, again), "what is written anew is told anew"
    assert again.sha256 != first.sha256
    (out / third.file).unlink()
    exported(lake, out, TABLE)
    assert manifest_of(out).files == (second, first), "what somebody deleted is not told"


def test_a_folder_that_has_the_files_of_another_shop_is_refused(lake: Lake, tmp_path: Path) -> None:
    make_things(lake, ROW)
    out = tmp_path / "out"
    exported(lake, out)
    manifest = manifest_of(out).model_copy(update={"shop": "elsewhere"}).model_dump_json()
    (out / MANIFEST).write_text(manifest)
    with pytest.raises(ExportFailed, match=r"out has what was exported of shop 'elsewhere'\. Choose another folder"):
        exported(lake, out, form="parquet")
    assert (out / MANIFEST).read_text() == manifest


@pytest.mark.parametrize("name", [MANIFEST, "visits.csv"])
def test_what_no_export_wrote_is_not_replaced(lake: Lake, tmp_path: Path, name: str) -> None:
    make_visits(lake, [0])
    own = tmp_path / "out" / name
    own.parent.mkdir()
    own.write_text("mine")
    with pytest.raises(
        ExportFailed, match=rf"no export wrote what is there under the same name: {name}\. Choose another"
    ):
        exported(lake, tmp_path / "out", TABLE)
    assert [path.read_text() for path in own.parent.iterdir()] == ["mine"]


def test_a_file_that_somebody_put_beside_exported_ones_is_not_replaced(lake: Lake, tmp_path: Path) -> None:
    make_visits(lake, [0])
    make_things(lake, ROW)
    exported(lake, tmp_path / "out", TABLE)
    (tmp_path / "out" / "things.csv").write_text("mine")
    with pytest.raises(ExportFailed, match=r"no export wrote what is there under the same name: things\.csv\. "):
        exported(lake, tmp_path / "out")
    assert (tmp_path / "out" / "things.csv").read_text() == "mine"


def test_a_table_without_rows_gives_a_header(lake: Lake, tmp_path: Path) -> None:
    make_things(lake)
    assert exported(lake, tmp_path / "out").rows == 0
    assert (tmp_path / "out" / "things.csv").read_text(encoding="utf-8") == ",".join(ALL_TYPES.names) + "\n"


def test_a_folder_that_cannot_be_written_is_named(lake: Lake, tmp_path: Path) -> None:
    make_things(lake, ROW)
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ExportFailed, match=r"exported to .*file/out: Not a directory \(.*file/out\)\. .* choose another"
    ):
        exported(lake, tmp_path / "file" / "out")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_full_disk_leaves_the_folder_as_it_was(lake: Lake, tmp_path: Path, form: str) -> None:
    """A limit on the size of a file stands for the full disk: writing fails in the middle in the same way."""
    make_things(lake, ROW)
    make_visits(lake, [0], rows=50_000)
    out = tmp_path / "out"
    exported(lake, out, TABLE, form=form, window=days(0, 1))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(ExportFailed, match=r"Nothing could be exported to .*out: .*[Ff]ile.* too large"):
            export(lake, lake.pin([THINGS, TABLE]), out, form=form)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_files_for_their_owner_are_read_by_nobody_else_also_where_others_could_before(
    lake: Lake, tmp_path: Path
) -> None:
    make_things(lake, ROW)
    path = tmp_path / "out" / exported(lake, tmp_path / "out").file
    path.chmod(0o644)
    exported(lake, tmp_path / "out", for_owner=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
