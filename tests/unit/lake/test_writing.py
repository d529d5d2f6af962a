"""Writing windows of a table: exactly those rows are replaced, at once, or nothing is."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartograph.contracts import ARROW_TYPES, Column, Contract
from cartograph.lake import Lake, LakeError, RowsRejected, TableMissing, writing
from cartograph.windows import Window
from tests.unit.lake.making import (
    TABLE,
    VISITS,
    content,
    data_paths,
    days,
    make_visits,
    month,
    overwrite,
    visits,
    visits_in,
)

JANUARY, FEBRUARY = month(0), month(1)
_numbers = count()


def new_table() -> str:
    """A name for a table of one example, in the lake that all examples share."""
    return f"raw.visits_{next(_numbers)}"


def test_overwriting_a_month_replaces_its_rows_and_no_other_files(lake: Lake) -> None:
    make_visits(lake, [0, 1, 2])
    before = data_paths(lake)
    sql = lake.relation_sql(TABLE)
    overwrite(lake, FEBRUARY, visits_in(FEBRUARY, 2, note="second"))
    assert [row["note"] for row in content(lake)].count("second") == 2
    assert lake.row_count(TABLE) == 10
    kept = {path for path in before if str(path) in lake.relation_sql(TABLE)}
    assert {path.parent.name for path in kept} == {"visited_at_month=2024-01", "visited_at_month=2024-03"}
    assert all(str(path) in sql for path in kept)
    assert len(data_paths(lake) - before) == 1


@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 80),
            st.integers(1, 45),
            st.lists(st.integers(0, 999), max_size=6),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    ),
    daily=st.booleans(),
)
@settings(max_examples=20)
def test_any_sequence_of_overwrites_equals_a_dictionary(
    shared_lake: Lake, steps: list[tuple[int, int, list[int], bool]], daily: bool
) -> None:
    """The model: a dictionary by time. Windows of any length and place, aligned with the partitions or not."""
    model: dict[datetime, tuple[int, str]] = {}
    lake, table = shared_lake, new_table()
    lake.ensure(table, VISITS, "daily" if daily else "monthly")
    for number, (first, length, places, twice) in enumerate(steps):
        window = days(first, first + length)
        times = sorted({window.start + (window.end - window.start) * place / 1000 for place in places})
        rows = [(number * 100 + index, at, f"step {number}") for index, at in enumerate(times)]
        model = {at: row for at, row in model.items() if at not in window}
        model |= {at: (visit, note) for visit, at, note in rows}
        for _ in range(1 + twice):
            overwrite(lake, window, visits(rows[:2]), visits(rows[2:]), table=table)
    found = {row["visited_at"]: (row["visit_id"], row["note"]) for row in content(lake, table)}
    assert found == model
    assert lake.row_count(table) == len(model) == lake.snapshots(table)[-1].rows


@pytest.mark.parametrize("window", [JANUARY, None])
def test_an_exception_leaves_the_table_and_the_folder_as_they_were(lake: Lake, window: Window | None) -> None:
    make_visits(lake, [0])
    before = lake.snapshot_id(TABLE), content(lake), data_paths(lake)

    def fail() -> None:
        with lake.overwriting(TABLE, window) as writer:
            writer.write(visits_in(JANUARY, 3))
            raise RuntimeError("the source broke off")

    with pytest.raises(RuntimeError, match="broke off"):
        fail()
    assert (lake.snapshot_id(TABLE), content(lake), data_paths(lake)) == before


def test_one_commit_whatever_the_number_of_writes(lake: Lake) -> None:
    make_visits(lake)
    overwrite(lake, None, *(visits_in(month(number), 3) for number in range(6)))
    assert len(lake.snapshots(TABLE)) == 1
    assert lake.snapshots(TABLE)[0].files == 6


def test_an_empty_overwrite_empties_the_window_and_gives_a_new_table_a_snapshot(lake: Lake) -> None:
    make_visits(lake)
    assert lake.snapshot_id(TABLE) is None
    overwrite(lake, JANUARY)
    first = lake.snapshot_id(TABLE)
    assert first is not None
    overwrite(lake, JANUARY)
    assert lake.snapshot_id(TABLE) == first
    overwrite(lake, None, visits_in(JANUARY), visits_in(FEBRUARY))
    overwrite(lake, JANUARY)
    assert {row["visited_at"].month for row in content(lake)} == {2}


def test_a_window_of_dates_holds_the_days_whose_midnight_it_holds(lake: Lake) -> None:
    stock = Contract(
        dataset="stock",
        grain="A day.",
        key=("day",),
        event_time="day",
        columns=(
            Column(name="day", type="date", description="The day."),
            Column(name="units", type="bigint", description="Units."),
        ),
    )
    lake.ensure("raw.stock", stock, "monthly")
    all_days = [date(2024, 1, 1) + timedelta(days=number) for number in range(60)]
    overwrite(lake, None, pa.table({"day": all_days, "units": list(range(60))}), table="raw.stock")
    window = Window(datetime(2024, 1, 30, 12, tzinfo=UTC), datetime(2024, 2, 2, tzinfo=UTC))
    overwrite(lake, window, pa.table({"day": [date(2024, 1, 31)], "units": [-1]}), table="raw.stock")
    found = {row["day"]: row["units"] for row in content(lake, "raw.stock")}
    assert found[date(2024, 1, 31)] == -1
    assert set(all_days) - set(found) == {date(2024, 2, 1)}
    with pytest.raises(RowsRejected, match=r"1 of 1 rows for raw\.stock lie outside the window"):
        overwrite(lake, window, pa.table({"day": [date(2024, 1, 30)], "units": [0]}), table="raw.stock")


def test_rows_outside_the_window_are_refused_by_name_and_number(lake: Lake) -> None:
    make_visits(lake, [0])
    before = content(lake)
    with pytest.raises(RowsRejected, match=r"2 of 4 rows for raw\.visits lie outside .* their visited_at runs from"):
        overwrite(lake, Window(JANUARY.start, JANUARY.start + timedelta(days=15)), visits_in(JANUARY))
    assert content(lake) == before


def wrong(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.append_column("extra", pa.array(["x"] * 4)), "columns that the table does not have: extra"),
        (lambda t: t.drop_columns(["amount"]), "no values for required columns: amount"),
        (lambda t: t.append_column("note", t["note"]), "repeated columns: note"),
        (lambda t: wrong(t, "visit_id", pa.array([1, None, 3, None])), "2 of 4 rows for raw.visits have no visit_id"),
        (lambda t: wrong(t, "visit_id", pa.array(["1", "2", "3", "4"])), "visit_id as string, and the table has int64"),
        (lambda t: wrong(t, "amount", pa.array([0.1] * 4)), "amount as double"),
        (lambda t: wrong(t, "visited_at", t["visited_at"].cast(pa.timestamp("us"))), "visited_at as timestamp"),
        (lambda t: wrong(t, "amount", pa.array([Decimal("0.001")] * 4)), r"values of amount .* cannot hold"),
        (lambda t: wrong(t, "amount", pa.array([10**17] * 4)), r"values of amount .* cannot hold"),
        (lambda t: wrong(t, "note", pa.array([True] * 4)), "note as bool"),
    ],
)
def test_rows_that_do_not_fit_are_refused(lake: Lake, change, message: str) -> None:
    make_visits(lake)
    with pytest.raises(RowsRejected, match=message):
        overwrite(lake, JANUARY, change(visits_in(JANUARY)))
    assert lake.snapshot_id(TABLE) is None
    assert not data_paths(lake)


def test_columns_are_matched_by_name_and_cast_where_nothing_is_lost(lake: Lake) -> None:
    make_visits(lake)
    rows = visits_in(JANUARY, 1)
    given_rows = pa.table(
        {
            "amount": pa.array([7], pa.int64()),
            "visited_at": rows["visited_at"].cast(pa.timestamp("ms", tz="Etc/UTC")),
            "visit_id": pa.array([1], pa.int16()),
        }
    )
    overwrite(lake, JANUARY, given_rows)
    assert content(lake) == [{"visit_id": 1, "visited_at": JANUARY.start, "amount": Decimal("7.00"), "note": None}]
    overwrite(lake, JANUARY, wrong(rows, "note", pa.array(["x"]).dictionary_encode()))
    assert content(lake)[0]["note"] == "x"


def test_every_column_type_comes_back_as_it_went(lake: Lake) -> None:
    contract = Contract(
        dataset="kinds",
        grain="A row.",
        key=("string",),
        columns=tuple(Column(name=kind, type=kind, nullable=True, description=kind) for kind in ARROW_TYPES),
    )
    values = {
        "string": ["", "naïve 'quoted' \N{SNOWMAN}", None],
        "bigint": [-(2**63), 2**63 - 1, None],
        "double": [float("inf"), -0.0, None],
        "money": [Decimal("-9999999999999999.99"), Decimal("0.01"), None],
        "price": [Decimal("99999999999999.9999"), Decimal("-0.0001"), None],
        "boolean": [True, False, None],
        "date": [date(1, 1, 1), date(9999, 12, 31), None],
        "timestamp": [
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC),
            None,
        ],
    }
    rows = pa.table({kind: pa.array(values[kind], ARROW_TYPES[kind]) for kind in ARROW_TYPES})
    lake.ensure("raw.kinds", contract, None)
    overwrite(lake, None, rows, table="raw.kinds")
    back = lake.batches("raw.kinds").read_all()
    assert back.schema.types == list(ARROW_TYPES.values())
    assert back.to_pylist() == rows.to_pylist()


def test_rows_keep_their_order_and_memory_stays_flat(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for two open files and 40 kB, three months written in turns end in files that each are in order."""
    monkeypatch.setattr(writing, "BUFFER_BYTES", 40_000)
    monkeypatch.setattr(writing, "ROW_GROUP_ROWS", 500)
    monkeypatch.setattr(writing, "OPEN_FILES", 2)
    make_visits(lake)
    held = []
    with lake.overwriting(TABLE, None) as writer:
        for turn in range(30):
            for number in range(3):
                at = month(number).start + timedelta(hours=turn)
                writer.write(visits([(turn * 100 + index, at, "note") for index in range(100)]))
                held.append(writer._data.waiting_bytes)
    assert max(held) <= 40_000
    assert len(lake.snapshots(TABLE)) == 1
    expected = [turn * 100 + index for turn in range(30) for index in range(100)]
    for number in range(3):
        assert lake.batches(TABLE, window=month(number)).read_all()["visit_id"].to_pylist() == expected


def test_a_file_that_grows_large_is_followed_by_the_next(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "FILE_BYTES", 10_000)
    monkeypatch.setattr(writing, "ROW_GROUP_ROWS", 100)
    make_visits(lake)
    overwrite(lake, JANUARY, visits_in(JANUARY, 1000))
    assert lake.snapshots(TABLE)[-1].files > 2
    assert lake.batches(TABLE).read_all()["visit_id"].to_pylist() == visits_in(JANUARY, 1000)["visit_id"].to_pylist()


def test_append_adds_rows(lake: Lake) -> None:
    make_visits(lake, [0])
    lake.append(TABLE, visits_in(JANUARY))
    assert lake.row_count(TABLE) == 8
    assert lake.snapshots(TABLE)[-1].operation == "append"


@given(
    stored=st.dictionaries(st.integers(0, 30), st.integers(0, 80), max_size=12),
    incoming=st.lists(st.dictionaries(st.integers(0, 30), st.integers(0, 80), max_size=8), min_size=1, max_size=3),
)
@settings(max_examples=10)
def test_upserts_equal_a_dictionary(shared_lake: Lake, stored: dict[int, int], incoming: list[dict[int, int]]) -> None:
    """The model: a dictionary by key. A row that comes again may lie in another month than the one it replaces."""

    def rows(some: dict[int, int], note: str) -> pa.Table:
        return visits([(number, days(day, day + 1).start, note) for number, day in some.items()])

    lake, table = shared_lake, new_table()
    lake.ensure(table, VISITS, "monthly")
    overwrite(lake, None, rows(stored, "stored"), table=table)
    model = {number: (day, "stored") for number, day in stored.items()}
    for step, some in enumerate(incoming):
        for _ in range(1 + step % 2):
            lake.upsert(table, rows(some, f"step {step}"), ["visit_id"])
        model |= {number: (day, f"step {step}") for number, day in some.items()}
    back = content(lake, table)
    assert {row["visit_id"]: ((row["visited_at"] - days(0, 1).start).days, row["note"]) for row in back} == model
    assert lake.row_count(table) == len(model)


def test_an_upsert_touches_only_files_that_hold_its_keys_and_keeps_their_order(lake: Lake) -> None:
    make_visits(lake, [0, 1], rows=50)
    before = data_paths(lake)
    january = visits_in(JANUARY, 50)
    lake.upsert(TABLE, wrong(january.slice(7, 1), "note", pa.array(["changed"])), ["visit_id", "visited_at"])
    ids = january["visit_id"].to_pylist()
    back = lake.batches(TABLE, window=JANUARY).read_all()
    assert back["visit_id"].to_pylist() in ([*ids[:7], *ids[8:], ids[7]], [ids[7], *ids[:7], *ids[8:]])
    assert back.filter(pa.compute.equal(back["note"], "changed"))["visit_id"].to_pylist() == [ids[7]]
    sql = lake.relation_sql(TABLE)
    assert [path.parent.name for path in before if str(path) in sql] == ["visited_at_month=2024-02"]


def test_an_upsert_refuses_a_key_that_is_not_one(lake: Lake) -> None:
    make_visits(lake)
    once = visits_in(JANUARY, 2)
    with pytest.raises(RowsRejected, match="2 rows repeat a key"):
        lake.upsert(TABLE, pa.concat_tables([once, once]), ["visit_id"])
    with pytest.raises(RowsRejected, match="2 of 2 values are null"):
        lake.upsert(TABLE, wrong(once, "note", pa.nulls(2, pa.string())), ["note"])
    with pytest.raises(RowsRejected, match="must be columns of the table"):
        lake.upsert(TABLE, once, ["visitor"])


def test_a_window_needs_an_event_time_and_a_table_needs_to_exist(lake: Lake) -> None:
    lake.ensure("raw.plain", VISITS.model_copy(update={"event_time": None}), "monthly")
    with pytest.raises(LakeError, match=r"raw\.plain has no event time"):
        overwrite(lake, JANUARY, table="raw.plain")
    with pytest.raises(TableMissing, match=r"There is no table raw\.absent .*cartograph run"):
        overwrite(lake, None, table="raw.absent")
    with pytest.raises(LakeError, match="does not name a table"):
        lake.exists("orders; DROP TABLE")
