"""The files source maps files to datasets by SQL, in windows, and sees what is new or changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartograph.windows import Grain, Window, windows
from ecom_assets.sources import SourceError
from tests.unit.sources.making import (
    HEADER,
    MONTHS,
    SHOP,
    column,
    deliver,
    ids,
    review,
    reviews_source,
    source,
    write_csv,
)


def test_a_select_maps_columns_and_leaves_values_as_text(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [review(1, stars="many"), review(2)])
    rows = deliver(reviews_source(tmp_path / "*.csv")).rows

    assert rows.schema.names == ["review_id", "product_id", "reviewed_at", "rating", "_source"]
    assert rows.to_pylist()[0] == {
        "review_id": "r1",
        "product_id": "p1",
        "reviewed_at": "2024-01-15 12:00:00",
        "rating": "many",
        "_source": "a.csv",
    }


def test_packed_files_in_folders_and_empty_values(tmp_path: Path) -> None:
    write_csv(tmp_path / "2024/01/a.csv.gz", [review(1)])
    write_csv(tmp_path / "2024/02/b.csv.gz", [review(2, stars="")])
    delivery = deliver(reviews_source(tmp_path / "**" / "*.csv.gz"))

    assert column(delivery.rows, "_source") == ["2024/01/a.csv.gz", "2024/02/b.csv.gz"]
    assert set(delivery.rows["rating"].to_pylist()) == {"5", None}


def test_rows_know_their_line_in_the_file(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [review(7), review(8)])
    write_csv(tmp_path / "b.csv", [review(9)])
    select = "SELECT id || '-' || _file || '-' || _line AS review_id, moment AS reviewed_at FROM sales"
    delivery = deliver(reviews_source(tmp_path / "*.csv", select))

    assert ids(delivery) == ["r7-a.csv-2", "r8-a.csv-3", "r9-b.csv-2"]
    assert set(delivery.rows["_source"].to_pylist()) == {"sales"}, "without _source the file set is named"


@pytest.mark.parametrize(
    ("header", "options", "lines"),
    [
        (HEADER, {}, [2, 4, 5]),
        (f"\n\n{HEADER}", {}, [4, 6, 7]),
        (review(0), {"columns": ["id", "product", "moment", "stars"]}, [1, 2, 4, 5]),
    ],
)
def test_a_line_is_that_of_the_file_with_its_header_and_values_over_several_lines(
    tmp_path: Path, header: str, options: dict[str, list[str]], lines: list[int]
) -> None:
    write_csv(tmp_path / "a.csv", [review(1, product='"one\ntwo"'), review(2), review(3)], header)
    select = "SELECT id AS review_id, moment AS reviewed_at, _line AS product_id FROM sales"
    assert column(deliver(reviews_source(tmp_path / "a.csv", select, **options)).rows, "product_id") == lines


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    write_csv(tmp_path / "a.csv", [review(1, product="Füße")], encoding=encoding)
    rows = deliver(reviews_source(tmp_path / "a.csv", encoding=encoding)).rows
    assert rows["product_id"].to_pylist() == ["Füße"]


def test_delimiters_quotes_nulls_and_newlines_in_values(tmp_path: Path) -> None:
    header = "id;product;moment;stars"
    write_csv(tmp_path / "a.csv", ["r1;'one;\ntwo';2024-01-02;NULL"], header)
    rows = deliver(reviews_source(tmp_path / "a.csv", delimiter=";", quote="'", null_values=["", "NULL"])).rows
    assert rows["product_id"].to_pylist() == ["one;\ntwo"]
    assert rows["rating"].to_pylist() == [None]


def test_blank_lines_before_the_header(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [HEADER, review(1)], header="\n")
    assert ids(deliver(reviews_source(tmp_path / "a.csv"))) == ["r1"]


def test_files_without_header(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [review(2)], header=review(1))
    assert ids(deliver(reviews_source(tmp_path / "a.csv", columns=["id", "product", "moment", "stars"]))) == [
        "r1",
        "r2",
    ]


def test_a_row_of_parquet_has_its_number(tmp_path: Path) -> None:
    rows = {"id": ["r1", "r2"], "moment": ["2024-01-02"] * 2, "note": ["one\ntwo", None]}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    select = "SELECT id AS review_id, moment AS reviewed_at, _line AS product_id FROM sales"
    assert column(deliver(reviews_source(tmp_path / "a.parquet", select)).rows, "product_id") == [1, 2]


def test_date_formats_become_iso_and_what_does_not_fit_stays(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [review(1, at="15/01/2024 08:05"), review(2, at="16.1.2024"), review(3, at="soon")])
    rows = deliver(reviews_source(tmp_path / "a.csv", date_formats={"moment": ["%d/%m/%Y %H:%M", "%d.%m.%Y"]})).rows
    assert column(rows, "reviewed_at") == ["2024-01-15 08:05:00", "2024-01-16 00:00:00", "soon"]


def test_json_lines(tmp_path: Path) -> None:
    lines = [
        {"id": "r1", "moment": "2024-01-02", "who": {"name": "Zoë", "tags": [1, 2]}, "stars": 5},
        {"id": "r2", "moment": "2024-01-03", "stars": None, 'odd "key"': True},
    ]
    content = "\n\n".join(json.dumps(line) for line in lines)
    (tmp_path / "a.jsonl").write_text(content, encoding="utf-8")
    select = """
        SELECT id AS review_id, moment AS reviewed_at, stars AS rating,
            who->>'name' AS body, "odd ""key""\" AS product_id
        FROM sales ORDER BY _line
    """
    rows = deliver(reviews_source(tmp_path / "a.jsonl", select)).rows
    assert rows["rating"].to_pylist() == ["5", None]
    assert rows["body"].to_pylist() == ["Zoë", None]
    assert rows["product_id"].to_pylist() == [None, "true"]


def test_json_lines_keep_their_order_whatever_their_keys_are_called(tmp_path: Path) -> None:
    lines = [{"number": number, "json": "x", "moment": "2024-01-02", "stars": 5} for number in (7, 12, 1)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    select = "SELECT number AS review_id, moment AS reviewed_at, stars AS rating, _line AS product_id FROM sales"
    rows = deliver(reviews_source(tmp_path / "a.jsonl", select)).rows
    assert dict(zip(*(rows[name].to_pylist() for name in ("review_id", "product_id")), strict=True)) == {
        "7": 1,
        "12": 2,
        "1": 3,
    }


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    rows = {"id": ["r1"], "product": ["p1"], "moment": [datetime(2024, 1, 2, tzinfo=UTC)], "stars": [Decimal("4.5")]}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    found = deliver(reviews_source(tmp_path / "*.parquet")).rows
    assert found["rating"].to_pylist() == [Decimal("4.5")]
    assert found["reviewed_at"].to_pylist() == [datetime(2024, 1, 2, tzinfo=UTC)]


def test_numbers_of_parquet_that_duckdb_has_no_type_for_are_text(tmp_path: Path) -> None:
    rows = {"id": ["r1"], "product": ["p1"], "moment": ["2024-01-02"]}
    wide = pa.array([Decimal("4.5")], pa.decimal256(76, 38))
    pq.write_table(pa.table({**rows, "stars": wide, "half": pa.array([1.5], pa.float16())}), tmp_path / "a.parquet")
    found = deliver(reviews_source(tmp_path / "*.parquet")).rows
    assert [Decimal(value) for value in found["rating"].to_pylist()] == [Decimal("4.5")]


def test_json_keys_without_a_name_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "r1", "": "what", "moment": "2024-01-02"}\n')
    delivery = deliver(
        reviews_source(tmp_path / "a.jsonl", "SELECT * FROM (SELECT id AS review_id, moment AS reviewed_at FROM sales)")
    )
    assert (ids(delivery), delivery.unreadable) == (["r1"], ())


def test_several_file_sets_and_views(tmp_path: Path) -> None:
    write_csv(tmp_path / "reviews/a.csv", [review(1), review(2)])
    (tmp_path / "goods.jsonl").write_text('{"code": "p1", "name": "Lamp"}\n{"code": "p2", "name": "Cup"}')
    reader = source(
        {"sales": {"path": f"{tmp_path}/reviews/*.csv"}, "goods": {"path": f"{tmp_path}/goods.jsonl"}},
        {
            "reviews": "SELECT id AS review_id, name AS body, moment AS reviewed_at FROM good_reviews  -- the end",
            "products": "FROM (SELECT code AS product_id, '2024-01-01' AS updated_at, name FROM goods)",
        },
        views={
            "named": "SELECT * FROM sales JOIN goods ON code = product",
            "good_reviews": "SELECT * FROM named WHERE stars = '5';",
        },
    )
    assert reader.datasets == {"reviews", "products"}
    assert column(deliver(reader).rows, "body") == ["Cup", "Lamp"]
    assert column(deliver(reader, "products").rows, "product_id") == ["p1", "p2"]


def test_a_new_a_changed_and_a_deleted_file_are_seen(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [review(1)])
    write_csv(tmp_path / "b.csv", [review(2)])
    reader = reviews_source(tmp_path / "*.csv")
    assert ids(deliver(reader)) == ["r1", "r2"]

    write_csv(tmp_path / "c.csv", [review(3)])
    assert ids(deliver(reader)) == ["r1", "r2", "r3"]
    write_csv(tmp_path / "a.csv", [review(4), review(5)])
    assert ids(deliver(reader)) == ["r2", "r3", "r4", "r5"]
    (tmp_path / "b.csv").unlink()
    assert ids(deliver(reader)) == ["r3", "r4", "r5"]


def test_a_select_over_a_view_sees_the_change_too(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [review(1)])
    selects = {"reviews": "SELECT id AS review_id, moment AS reviewed_at FROM everything"}
    reader = source({"sales": {"path": f"{tmp_path}/a.csv"}}, selects, {"everything": "SELECT * FROM sales"})
    deliver(reader)
    write_csv(tmp_path / "a.csv", [review(1), review(2)])
    assert ids(deliver(reader)) == ["r1", "r2"]


STRAYS = ["", "soon", "2023-12-31 23:59:59", "2024-04-01 00:00:00", "infinity"]


def test_rows_without_a_place_in_time_come_with_the_first_window(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [review(0, at="2024-02-10"), *(review(n, at) for n, at in enumerate(STRAYS, 1))])
    reader = reviews_source(tmp_path / "a.csv")
    first, later = deliver(reader, over=MONTHS[:1]), deliver(reader, over=MONTHS[1:])
    assert (ids(first), first.unplaced) == (["r1", "r2", "r3", "r4", "r5"], 0)
    assert (ids(later), later.unplaced) == (["r0"], 5)


MOMENTS = st.one_of(
    st.sampled_from([*STRAYS, "2024-01-01", "2024-03-31 23:59:59", "2024-02-01 00:00:00"]),
    st.datetimes(datetime(2023, 12, 1), datetime(2024, 5, 1)).map(str),
)


@given(
    moments=st.lists(MOMENTS, max_size=20),
    start=st.sampled_from([datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 17, tzinfo=UTC)]),
    grain=st.sampled_from(["weekly", "monthly"]),
)
@settings(max_examples=10)
def test_each_row_comes_exactly_once_however_windows_are_asked(
    tmp_path_factory: pytest.TempPathFactory, moments: list[str], start: datetime, grain: Grain
) -> None:
    path = write_csv(tmp_path_factory.mktemp("rows") / "a.csv", [review(n, at) for n, at in enumerate(moments)])
    shop = Window(start, SHOP.end)
    reader = reviews_source(path, shop=shop)
    every = list(windows(shop.start, shop.end, grain))

    singly = [row for window in every for row in ids(deliver(reader, over=[window]))]
    assert sorted(singly) == ids(deliver(reader, over=every)) == sorted(f"r{n}" for n in range(len(moments)))


def test_the_event_time_must_be_selected(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [review(1)])
    with pytest.raises(SourceError, match=r"reviews: its select gives no reviewed_at, .* it gives review_id"):
        deliver(reviews_source(tmp_path / "a.csv", "SELECT id AS review_id FROM sales"))
