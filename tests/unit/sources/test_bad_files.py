"""A bad file is named, with the cure, and holds back only itself; a mistake in the shop's file is told in words."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecom_assets.sources import SourceError
from ecom_assets.sources.file_store import FileStore
from ecom_assets.sources.files_config import files_config
from tests.unit.sources.making import HEADER, REVIEWS, column, deliver, ids, review, reviews_source, source, write_csv


def truncated_gzip(path: Path) -> None:
    whole = gzip.compress("\n".join([HEADER, *(review(n) for n in range(5_000))]).encode())
    path.write_bytes(whole[: len(whole) // 2])


def no_gzip(path: Path) -> None:
    path.write_text(f"{HEADER}\n{review(1)}\n")


def damaged_gzip(path: Path) -> None:
    whole = bytearray(gzip.compress("\n".join([HEADER, *(review(n) for n in range(5_000))]).encode()))
    whole[-8] ^= 0xFF  # the checksum
    path.write_bytes(whole)


def empty(path: Path) -> None:
    path.write_bytes(gzip.compress(b""))


def wrong_encoding(path: Path) -> None:
    write_csv(path, [review(1, product="Füße")], encoding="latin-1")


def utf_16(path: Path) -> None:
    write_csv(path, [review(1)], encoding="utf-16")


def cut_row(path: Path) -> None:
    path.write_bytes(gzip.compress(f"{HEADER}\n{review(1)}\nr2,p2".encode()))


def misplaced_quote(path: Path) -> None:
    write_csv(path, [review(2), review(3, product='"a ""fine"" one"'), '""r4"",p4,2024-01-15,5'])


def missing_column(path: Path) -> None:
    write_csv(path, ["r1,p1,2024-01-15"], header="id,product,moment")


def column_twice(path: Path) -> None:
    write_csv(path, ["r1,p1,2024-01-15,5,4"], header="id,product,moment,stars,Stars")


def open_quote_in_header(path: Path) -> None:
    write_csv(path, ["x" * 9_000_000], header='id,"product,moment,stars')


def reserved_column(path: Path) -> None:
    write_csv(path, ["r1,p1,2024-01-15,5,4"], header="id,product,moment,stars,_file")


@pytest.mark.parametrize(
    ("spoil", "reason", "cure"),
    [
        (truncated_gzip, "gzip data is damaged or ends early", "Deliver it again"),
        (no_gzip, "gzip data is damaged", "Deliver it again"),
        (damaged_gzip, "gzip data is damaged", "Deliver it again"),
        (empty, "it is empty", "Deliver it again"),
        (wrong_encoding, "it is not utf-8 text", "Set `encoding`"),
        (utf_16, "it is not utf-8 text", "Set `encoding`"),
        (cut_row, "it is not whole CSV", "`delimiter`"),
        (misplaced_quote, "in line 4, text follows a closing quotation mark", "Double each quotation mark"),
        (missing_column, 'Referenced column "stars" not found', "`optional_columns`"),
        (column_twice, "more than one column stars", "its own name"),
        (reserved_column, "a column _file", "Rename it"),
        (open_quote_in_header, "its header is not whole CSV", "`quote`"),
    ],
)
def test_a_bad_csv_file_holds_back_only_itself(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str, cure: str
) -> None:
    write_csv(tmp_path / "a.csv.gz", [review(1)])
    spoil(tmp_path / "b.csv.gz")
    write_csv(tmp_path / "c.csv.gz", [review(3)])
    reader = reviews_source(tmp_path / "*.csv.gz")
    delivery = deliver(reader)

    assert ids(delivery) == ["r1", "r3"]
    (bad,) = delivery.unreadable
    assert bad.name == "b.csv.gz"
    assert reason in bad.reason
    assert cure in bad.cure

    write_csv(tmp_path / "b.csv.gz", [review(2)])
    mended = deliver(reader)
    assert (ids(mended), mended.unreadable) == (["r1", "r2", "r3"], ())


@pytest.mark.parametrize("product", ['""p1""', '""p1"', '"p1"x', '"p"" 1"x', '""""p1"', '"p1" '])
def test_text_after_a_closing_quotation_mark_is_told(tmp_path: Path, product: str) -> None:
    write_csv(tmp_path / "a.csv", [review(1, product=product), review(2)])
    write_csv(tmp_path / "b.csv", [review(3)])
    delivery = deliver(reviews_source(tmp_path / "*.csv"))
    assert ids(delivery) == ["r3"]
    assert ["in line 2, text follows" in bad.reason for bad in delivery.unreadable] == [True]


@pytest.mark.parametrize(
    ("product", "read"),
    [
        ('"5"" pipe"', '5" pipe'),
        ('"""quoted"""', '"quoted"'),
        ('""', None),
        ('5" pipe', '5" pipe'),
        ('"a,""b"" c"', 'a,"b" c'),
        ('"two\nlines, ""one"" value"', 'two\nlines, "one" value'),
        (f'"{"long " * 40_000}"', "long " * 40_000),
    ],
)
def test_quotation_marks_in_their_places_are_read(tmp_path: Path, product: str, read: str | None) -> None:
    write_csv(tmp_path / "a.csv", [review(1, product=product), review(2)])
    delivery = deliver(reviews_source(tmp_path / "*.csv"))
    assert delivery.unreadable == ()
    assert dict(zip(*(delivery.rows[n].to_pylist() for n in ("review_id", "product_id")), strict=True))["r1"] == read


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"id": "r1", "moment": "2024-01-02"}\n{"id": "r2", "a', "it ends in the middle of line 2"),
        ("1\n[1, 2]\n", "none of its lines is a JSON object"),
        ('[{"id": "r2", "moment": "2024-01-03"}]', "JSON lines are read: an object on each line"),
        ('[{"id": "r2"},\n{"id": "r3"}]\n', "JSON lines are read"),
        ('[\n{"id": "r2"},\n{"id": "r3"}\n]\n', "JSON lines are read"),
        ('\n  [\n  {\n    "id": "r2"\n  }\n]', "JSON lines are read"),
        ('{\n  "id": "r2",\n  "moment": "2024-01-03"\n}\n', "JSON lines are read"),
        ("\n\n", "it is empty"),
        ('{"id": "r1", "ID": "r2"}', "more than one column id"),
        ('{"": "r1"}', "it is empty"),
    ],
)
def test_a_bad_file_of_json_lines(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "r1", "moment": "2024-01-02"}\n')
    (tmp_path / "b.jsonl").write_text(content)
    delivery = deliver(reviews_source(tmp_path / "*.jsonl", "SELECT id AS review_id, moment AS reviewed_at FROM sales"))
    assert ids(delivery) == ["r1"]
    assert [(bad.name, reason in bad.reason) for bad in delivery.unreadable] == [("b.jsonl", True)]


@pytest.mark.parametrize("file_set", [{}, {"encoding": "latin-1"}, {"format": "jsonl"}, {"format": "parquet"}])
def test_a_packed_file_whose_name_does_not_tell_is_told_as_one(tmp_path: Path, file_set: dict[str, str]) -> None:
    (tmp_path / "a.csv").write_bytes(gzip.compress(f"{HEADER}\n{review(1)}\n".encode()))
    with pytest.raises(
        SourceError, match=r"packed with gzip, and its name does not end in \.gz\. Rename it, or unpack"
    ):
        deliver(source({"sales": {"path": str(tmp_path / "a.csv"), **file_set}}, {"reviews": REVIEWS}))


def test_a_broken_line_of_json_holds_back_only_itself(tmp_path: Path) -> None:
    lines = ['{"id": "r1", "moment": "2024-01-02"}', "oops", "", '{"id": "r2", "moment": "2024-01-03"}', "[1]"]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, ""]))
    reader = reviews_source(
        tmp_path / "*.jsonl", "SELECT id AS review_id, moment AS reviewed_at, _line AS _source FROM sales"
    )
    for _ in range(2):  # a file that has not changed is not read again, and its lines are told again
        delivery = deliver(reader)
        assert column(delivery.rows, "review_id") == ["r1", "r2"]
        assert column(delivery.rows, "_source") == [1, 4]
        (bad,) = delivery.unreadable
        assert bad.name == "a.jsonl"
        assert bad.reason == "left out for not being a JSON object: 2 lines, line 2 first"
        assert bad.cure == "Correct them and deliver the file again"

    (tmp_path / "a.jsonl").write_text("\n".join([lines[0], lines[3], ""]))
    mended = deliver(reader)
    assert (ids(mended), mended.unreadable) == (["r1", "r2"], ())


def test_a_half_written_parquet_file(tmp_path: Path) -> None:
    rows = pa.table({"id": ["r1"], "product": ["p"], "moment": ["2024-01-02"], "stars": ["4"]})
    pq.write_table(rows, tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.parquet").write_bytes(b"")
    delivery = deliver(reviews_source(tmp_path / "*.parquet"))
    assert ids(delivery) == ["r1"]
    assert [bad.name for bad in delivery.unreadable] == ["b.parquet", "c.parquet"]
    assert all("not whole Parquet" in bad.reason for bad in delivery.unreadable)


def test_a_parquet_file_with_a_damaged_page_or_a_type_that_nobody_reads(tmp_path: Path) -> None:
    rows = pa.table({"id": ["r1"], "product": ["p"], "moment": ["2024-01-02"], "stars": ["4"]})
    pq.write_table(rows, tmp_path / "a.parquet")
    pq.write_table(rows, tmp_path / "b.parquet", compression="none")
    whole = bytearray((tmp_path / "b.parquet").read_bytes())
    place = whole.index(b"2024-01-02")
    whole[place - 4 : place] = b"\xff\xff\xff\x7f"
    (tmp_path / "b.parquet").write_bytes(whole)
    halves = pa.array([{"half": 1.5}], pa.struct([("half", pa.float16())]))
    pq.write_table(rows.append_column("nested", halves), tmp_path / "c.parquet")
    delivery = deliver(reviews_source(tmp_path / "*.parquet"))
    assert ids(delivery) == ["r1"]
    damaged, strange = delivery.unreadable
    assert (damaged.name, strange.name) == ("b.parquet", "c.parquet")
    assert "cannot be read" in damaged.reason
    assert "whole" in damaged.cure
    assert strange.reason == "its column nested is of the type struct<half: halffloat>, which cannot be read"


def test_a_file_that_changes_while_it_is_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(tmp_path / "a.csv", [review(1)])
    write_csv(tmp_path / "b.csv", [review(2)])
    opened = FileStore.open

    def growing(store: FileStore, file: Any) -> Any:
        stream = opened(store, file)
        if file.name == "b.csv":
            with (tmp_path / "b.csv").open("a") as more:
                more.write(f"{review(3)}\n")
        return stream

    reader = reviews_source(tmp_path / "*.csv")
    with monkeypatch.context() as patched:
        patched.setattr(FileStore, "open", growing)
        delivery = deliver(reader)
    assert ids(delivery) == ["r1"]
    assert [(bad.name, bad.reason) for bad in delivery.unreadable] == [("b.csv", "it changed while it was read")]
    assert {"r2", "r3"} < set(ids(deliver(reader)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [review(1)])
    write_csv(tmp_path / "b.csv", [review(2)]).chmod(0)
    (bad,) = deliver(reviews_source(tmp_path / "*.csv")).unreadable
    assert (bad.name, "cannot be read" in bad.reason) == ("b.csv", True)


def test_a_file_that_is_gone_when_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(tmp_path / "a.csv", [review(1)])
    gone = write_csv(tmp_path / "b.csv", [review(2)])
    opened = FileStore.open

    def deleting(store: FileStore, file: Any) -> Any:
        gone.unlink(missing_ok=True)
        return opened(store, file)

    monkeypatch.setattr(FileStore, "open", deleting)
    delivery = deliver(reviews_source(tmp_path / "*.csv"))
    assert ids(delivery) == ["r1"]
    assert [(bad.name, "cannot be read" in bad.reason) for bad in delivery.unreadable] == [("b.csv", True)]


def test_what_has_the_ending_and_is_no_file_is_told(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [review(1)])
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    delivery = deliver(reviews_source(tmp_path / "*.csv"))
    assert ids(delivery) == ["r1"]
    told = {bad.name: bad.reason for bad in delivery.unreadable}
    assert told.keys() == {"folder.csv", "link.csv"}
    assert told["folder.csv"] == "it is a folder"
    assert "No such file" in told["link.csv"]
    assert deliver(reviews_source(tmp_path / "a*", format="csv")).unreadable == ()


def test_a_header_without_rows_is_no_fault(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [])
    delivery = deliver(reviews_source(tmp_path / "a.csv"))
    assert (delivery.rows.num_rows, delivery.unreadable) == (0, ())


def test_a_byte_order_mark_in_another_encoding_is_told_with_the_encoding_to_set(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [review(1)])
    write_csv(tmp_path / "b.csv", [review(2)], encoding="utf-8-sig")
    delivery = deliver(reviews_source(tmp_path / "*.csv", encoding="cp1252"))
    (bad,) = delivery.unreadable
    assert bad.name == "b.csv"
    assert "it has ï»¿id, product" in bad.reason
    assert "set `encoding: utf-8`" in bad.reason


def test_an_optional_column_may_be_missing(tmp_path: Path) -> None:
    missing_column(tmp_path / "a.csv")
    write_csv(tmp_path / "b.csv", [review(2)])
    delivery = deliver(reviews_source(tmp_path / "*.csv", optional_columns=["stars"]))
    assert delivery.unreadable == ()
    assert set(delivery.rows["rating"].to_pylist()) == {"5", None}


ALL_COLUMNS = "SELECT *, id AS review_id, moment AS reviewed_at FROM sales"


@pytest.mark.parametrize("header", ["id,product_id,moment", "id,product_id,moment,body,note"])
def test_a_file_without_a_column_that_others_have_is_held_back_where_all_columns_are_selected(
    tmp_path: Path, header: str
) -> None:
    write_csv(tmp_path / "a.csv", ["r1,p1,2024-01-15,5,good"], header="id,product_id,moment,rating,body")
    write_csv(tmp_path / "b.csv", [",".join(["r2", "p2", "2024-01-15", "good", "x"][: header.count(",") + 1])], header)
    delivery = deliver(reviews_source(tmp_path / "*.csv", ALL_COLUMNS))
    assert ids(delivery) == ["r1"]
    (bad,) = delivery.unreadable
    assert (bad.name, bad.lacks_column) == ("b.csv", True)
    assert "rating" in bad.reason
    assert "note" not in bad.reason, "what the contract does not know, no file needs"
    optional = deliver(reviews_source(tmp_path / "*.csv", ALL_COLUMNS, optional_columns=["rating", "body"]))
    assert (ids(optional), optional.unreadable) == (["r1", "r2"], ())


def test_files_of_which_each_lacks_a_column_that_another_has_are_told(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["r1,p1,2024-01-15,5"], header="id,product_id,moment,rating")
    write_csv(tmp_path / "b.csv", ["r2,p2,2024-01-15,good"], header="id,product_id,moment,body")
    write_csv(tmp_path / "c.csv", ["r3,p1,2024-01-15,5"], header="id,product_id,moment,rating")
    with pytest.raises(
        SourceError, match=r"No file of sales has all columns .*a\.csv, c\.csv: reviews: no body; b\.csv: .*rating"
    ):
        deliver(reviews_source(tmp_path / "*.csv", ALL_COLUMNS))


def test_when_no_file_can_be_read_the_first_are_named(tmp_path: Path) -> None:
    empty(tmp_path / "a.csv.gz")
    with pytest.raises(SourceError, match=r"reviews: no file of sales can be read, of 1. a.csv.gz: it is empty"):
        deliver(reviews_source(tmp_path / "*.csv.gz"))


def test_a_file_set_that_became_unreadable_stops_only_what_reads_it(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [review(1)])
    write_csv(tmp_path / "goods.csv", ["p1"], header="code")
    reader = source(
        {"sales": {"path": f"{tmp_path}/a.csv"}, "goods": {"path": f"{tmp_path}/goods.csv"}},
        {"reviews": REVIEWS, "products": "SELECT code AS product_id, '2024-01-01' AS updated_at FROM goods"},
    )
    assert deliver(reader, "products").rows.num_rows == deliver(reader).rows.num_rows == 1

    (tmp_path / "goods.csv").write_bytes(b"")
    write_csv(tmp_path / "a.csv", [review(1), review(2)])
    for _ in range(2):
        with pytest.raises(SourceError, match="products: no file of goods can be read, of 1"):
            deliver(reader, "products")
        assert ids(deliver(reader)) == ["r1", "r2"]


def test_no_files(tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/orders.txt").touch()
    (tmp_path / "full/.hidden.csv").touch()
    for path, said in {
        tmp_path / "nowhere/*.csv": f"the folder {tmp_path}/nowhere does not exist",
        tmp_path / "void/*.csv": f"the folder {tmp_path}/void is empty",
        tmp_path / "full/*.csv": f"of 2 in the folder {tmp_path}/full none fits, e.g. .hidden.csv, orders.txt",
        tmp_path / "full/orders.csv": "of 2 in the folder",
    }.items():
        with pytest.raises(SourceError) as caught:
            deliver(reviews_source(path))
        assert f"No file fits {path}: " in str(caught.value)
        assert said in str(caught.value)
        assert "Correct the source's `path`" in str(caught.value)
    with pytest.raises(SourceError, match="it is a folder; name the files in it"):
        deliver(reviews_source(tmp_path / "full", format="csv"))


def test_a_select_that_cannot_be_read_holds_back_its_own_dataset_alone(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [review(1)])
    write_csv(tmp_path / "b.csv", ["r2,p2,2024-01-16 12:00:00,5,more"], header=f"{HEADER},other")
    sales = {"path": str(tmp_path / "*.csv")}
    both = source({"sales": sales}, {"reviews": REVIEWS, "orders": "SELECT id FROM sales WHERE"})
    assert ids(deliver(both)) == ["r1", "r2"]
    with pytest.raises(SourceError, match="orders: its select cannot be read: syntax error"):
        deliver(both, "orders")


def test_a_date_format_of_a_column_that_no_file_has_is_told(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [review(1)])
    formats = {"momnet": ["%d.%m.%Y"]}
    with pytest.raises(SourceError, match="sales: its date_formats names momnet, and no file of it has such a column"):
        deliver(reviews_source(tmp_path / "a.csv", date_formats=formats))
    assert ids(deliver(reviews_source(tmp_path / "a.csv", date_formats={"MOMENT": ["%d.%m.%Y"]}))) == ["r1"]
    optional = {"date_formats": formats, "optional_columns": ["momnet"]}
    assert ids(deliver(reviews_source(tmp_path / "a.csv", **optional))) == ["r1"]


def test_a_relative_path_is_told_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=f"No file fits {tmp_path.parent}/data/\\*.csv"):
        deliver(reviews_source("../data/*.csv"))


@pytest.mark.parametrize(
    ("select", "said"),
    [
        (
            "SELECT id\nFRO sales AS s t",
            'its select cannot be read: syntax error at or near "sales" in its line 2.',
        ),
        ("DELETE FROM sales", "reviews: its select cannot be read: Only SELECT statements"),
        ("SELECT 1; SELECT 2", "its select has 2 statements. Leave one SELECT"),
        ("SELECT id, now() AS at FROM sales", "its select takes now(): the same files would be other rows each time."),
        ("SELECT id FROM sales WHERE sold < CURRENT_DATE", "its select takes current_date: the same files"),
        ("SELECT id FROM sales ORDER BY random()", "its select takes random(): the same files"),
        ("SELECT id FROM sales TABLESAMPLE 10%", "its select takes USING SAMPLE or TABLESAMPLE: the same files"),
        ("SELECT nothing AS reviewed_at FROM sales", 'Referenced column "nothing" not found'),
        ("SELECT CAST(moment AS INTEGER) AS reviewed_at FROM sales", "use TRY_CAST"),
        ("SELECT * FROM other", "Table with name other does not exist"),
        ("SELECT * FROM sales_of_may", "it reads nothing but sales."),
        (
            "SELECT x.*, moment AS reviewed_at FROM sales, '{secret}' AS x",
            "it reads nothing but sales (1 file, e.g. a.csv",
        ),
        ("SELECT * FROM read_csv('{secret}')", "file system operations are disabled"),
        ("SELECT * FROM read_text('{secret}')", "file system operations are disabled"),
        ("SELECT * FROM glob('/*')", "file system operations are disabled"),
        ("SELECT * FROM read_csv('https://example.com/a.csv')", "file system operations are disabled"),
        ("SELECT * FROM os_environ", "does not exist"),
    ],
)
def test_a_wrong_select_is_explained_and_reaches_nothing_else(tmp_path: Path, select: str, said: str) -> None:
    write_csv(tmp_path / "a.csv", [review(1)])
    secret = write_csv(tmp_path / "secret.csv", ["s3cret,p,2024-01-01,5"])
    os_environ = pa.table({"reviewed_at": ["a local variable that no select may see"]})
    with pytest.raises(SourceError) as caught:
        deliver(reviews_source(tmp_path / "a.csv", select.replace("{secret}", str(secret))))
    assert str(caught.value).startswith("reviews: ")
    assert said in str(caught.value)
    assert os_environ.num_rows == 1


@pytest.mark.parametrize("name", ["stars", "s.stars"])
def test_a_column_that_no_file_has_may_be_the_files_fault_or_the_selects(tmp_path: Path, name: str) -> None:
    for file in "abcd":
        write_csv(tmp_path / f"{file}.csv", ["r1,p1,2024-01-15"], header="id,product,moment")
    with pytest.raises(SourceError) as caught:
        deliver(reviews_source(tmp_path / "*.csv", f"SELECT moment AS reviewed_at, {name} AS rating FROM sales AS s"))
    said = str(caught.value)
    assert '"stars"' in said
    assert "No file has the column: deliver the files with it, or name it under `optional_columns`" in said
    assert "or correct the select in the shop's file" in said
    assert "sales (4 files, e.g. a.csv, b.csv, c.csv; 4 rows; columns id, product, moment, _file, _line)" in said


def test_a_wrong_view_is_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [review(1)])
    files, selects = {"sales": {"path": f"{tmp_path}/a.csv"}}, {"reviews": "SELECT * FROM halves"}
    with pytest.raises(SourceError, match=r"halves: its select cannot be run.*nothing"):
        deliver(source(files, selects, {"halves": "SELECT nothing FROM sales"}))
    with pytest.raises(SourceError, match=r"halves: its select cannot be read"):
        deliver(source(files, selects, {"halves": "SELECT FROM WHERE"}))


def test_a_wrong_date_format_is_explained(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [review(1)])
    with pytest.raises(SourceError, match=r"sales cannot be read as one table.*date_formats"):
        deliver(reviews_source(tmp_path / "a.csv", date_formats={"moment": "%Q"}))


@pytest.mark.parametrize(
    ("files", "datasets", "views", "said"),
    [
        ({}, {"reviews": {"select": "SELECT 1"}}, {}, "files: "),
        ({"a": {"path": "x.csv"}}, {"reviews": None}, {}, "datasets.reviews: "),
        ({"a": {"path": "x.csv"}}, {"revues": {"select": "SELECT 1"}}, {}, "no dataset is called revues"),
        ({"a": {"path": "x.xlsx"}}, {"reviews": {"select": "SELECT 1"}}, {}, "set `format`"),
        ({"a": {"path": "x.csv", "encoding": "utf-9"}}, {"reviews": {"select": "SELECT 1"}}, {}, "not an encoding"),
        ({"a": {"path": "x.csv", "delimeter": ";"}}, {"reviews": {"select": "SELECT 1"}}, {}, "files.a.delimeter: "),
        ({"a": {"path": "x.csv", "delimiter": "||"}}, {"reviews": {"select": "SELECT 1"}}, {}, "files.a.delimiter: "),
        ({"a": {"path": "x.csv", "delimiter": "¦"}}, {"reviews": {"select": "SELECT 1"}}, {}, "not one of ASCII's"),
        ({"a": {"path": "x.csv", "quote": "“"}}, {"reviews": {"select": "SELECT 1"}}, {}, "files.a.quote: "),
        ({"a": {"path": "x.csv", "encoding": "rot13"}}, {"reviews": {"select": "SELECT 1"}}, {}, "not an encoding"),
        ({"a": {"path": "x.csv", "encoding": "base64"}}, {"reviews": {"select": "SELECT 1"}}, {}, "not an encoding"),
        ({"A b": {"path": "x.csv"}}, {"reviews": {"select": "SELECT 1"}}, {}, "'A b' is not a name"),
        ({"a": {"path": "x.csv"}}, {"reviews": {"select": "SELECT 1"}}, {"a": "SELECT 1"}, "a names a file set and a"),
    ],
)
def test_a_wrong_form_names_the_place(
    files: dict[str, Any], datasets: dict[str, Any], views: dict[str, str], said: str
) -> None:
    with pytest.raises(SourceError) as caught:
        files_config({"files": files, "views": views}, datasets)
    assert said in str(caught.value)
