"""A table follows its contract: what can be done without losing values is done, the rest is refused with the cure."""

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import DateType, DecimalType, DoubleType, FloatType, IntegerType, LongType, NestedField, StringType

from cartograph.contracts import Column, Contract
from cartograph.lake import Lake, RowsRejected, SchemaConflict, TableMissing
from cartograph.lake.catalog import location, open_catalog
from cartograph.lake.schema import widens
from tests.unit.lake.making import TABLE, VISITS, content, days, make_visits, month, overwrite, visits_in


def with_columns(*columns: Column, without: tuple[str, ...] = (), **changes: Any) -> Contract:
    """The visits' contract with other columns."""
    names = {column.name for column in columns} | set(without)
    kept = tuple(column for column in VISITS.columns if column.name not in names)
    return VISITS.model_copy(update={"columns": kept + columns, **changes})


def changed(name: str, **changes: Any) -> Contract:
    return with_columns(VISITS.column(name).model_copy(update=changes))


def both_ways(lake: Lake, table: str, snapshot_id: int | None = None) -> list[dict[str, Any]]:
    """The rows by `batches`, after proving that the DuckDB relation gives the same."""
    with lake.connect() as connection:
        related = connection.sql(lake.relation_sql(table, snapshot_id)).to_arrow_table().to_pylist()
    rows = content(lake, table, snapshot_id)
    assert sorted(related, key=repr) == rows
    return rows


def test_ensure_twice_changes_nothing(lake: Lake) -> None:
    make_visits(lake)
    folder = lake.settings.shop_home / "lake" / "raw" / "visits" / "metadata"
    before = sorted(folder.iterdir())
    lake.ensure(TABLE, VISITS, "monthly")
    assert sorted(folder.iterdir()) == before


def test_weekly_and_monthly_have_months_and_daily_has_days(lake: Lake) -> None:
    lake.ensure(TABLE, VISITS, "weekly")
    lake.ensure("raw.days", VISITS, "daily")
    lake.ensure("raw.whole", VISITS, None)
    assert [info.partitioned_by for info in lake.tables()] == ["visited_at_day", "visited_at_month", None]
    with pytest.raises(SchemaConflict, match=r"partitioned by visited_at_month .* visited_at_day .*PARTITION_GRAIN"):
        lake.ensure(TABLE, VISITS, "daily")
    with pytest.raises(SchemaConflict, match=r"loaded in weekly partitions, and monthly is asked for.*PARTITION_GRAIN"):
        lake.ensure(TABLE, VISITS, "monthly")


def test_what_ensure_would_refuse_is_known_before(lake: Lake) -> None:
    lake.require_compatible(TABLE, VISITS, "monthly")
    make_visits(lake, [0])
    before = lake.snapshots(TABLE)
    lake.require_compatible(TABLE, VISITS, "monthly")
    with pytest.raises(SchemaConflict, match="visited_at_day"):
        lake.require_compatible(TABLE, VISITS, "daily")
    narrowed = with_columns(Column(name="pages", type="bigint", description="Pages."))
    with pytest.raises(SchemaConflict, match="pages"):
        lake.require_compatible(TABLE, narrowed, "monthly")
    assert lake.snapshots(TABLE) == before


def test_a_column_is_added_and_old_rows_have_none(lake: Lake) -> None:
    make_visits(lake, [0])
    pinned = lake.snapshot_id(TABLE)
    lake.ensure(
        TABLE, with_columns(Column(name="pages", type="bigint", nullable=True, description="Pages.")), "monthly"
    )
    overwrite(lake, month(1), visits_in(month(1), 1).append_column("pages", pa.array([3])))
    assert [row["pages"] for row in both_ways(lake, TABLE)].count(None) == 4
    assert {row["pages"] for row in both_ways(lake, TABLE, pinned)} == {None}


def test_a_required_column_joins_only_a_table_without_rows(lake: Lake) -> None:
    contract = with_columns(Column(name="pages", type="bigint", description="Pages."))
    make_visits(lake)
    lake.ensure(TABLE, contract, "monthly")
    with pytest.raises(RowsRejected, match="required columns: pages"):
        overwrite(lake, month(0), visits_in(month(0)))
    overwrite(lake, month(0), visits_in(month(0)).append_column("pages", pa.array([1] * 4)))
    more = contract.model_copy(
        update={"columns": (*contract.columns, Column(name="clicks", type="bigint", description="Clicks."))}
    )
    with pytest.raises(
        SchemaConflict, match=r"raw\.visits has no column clicks, and its \d+ rows .* Declare the column nullable"
    ):
        lake.ensure(TABLE, more, "monthly")


def test_a_renamed_column_keeps_its_values(lake: Lake) -> None:
    make_visits(lake, [0])
    for _ in range(2):
        lake.rename_column(TABLE, "note", "remark")
    renamed = VISITS.column("note").model_copy(update={"name": "remark"})
    lake.ensure(TABLE, with_columns(renamed, without=("note",)), "monthly")
    overwrite(lake, month(1), visits_in(month(1)).rename_columns(["visit_id", "visited_at", "amount", "remark"]))
    assert {row["remark"] for row in both_ways(lake, TABLE)} == {"first"}
    with pytest.raises(TableMissing, match="has no column notes to rename"):
        lake.rename_column(TABLE, "notes", "text")
    with pytest.raises(SchemaConflict, match="has a column remark already"):
        lake.rename_column(TABLE, "amount", "remark")


def test_the_column_of_the_partitions_can_be_renamed(lake: Lake) -> None:
    make_visits(lake, [0, 1])
    lake.rename_column(TABLE, "visited_at", "came_at")
    column = VISITS.column("visited_at").model_copy(update={"name": "came_at"})
    lake.ensure(TABLE, with_columns(column, without=("visited_at",), event_time="came_at"), "monthly")
    rows = visits_in(month(0), 2, note="second").rename_columns(["visit_id", "came_at", "amount", "note"])
    overwrite(lake, month(0), rows)
    assert sorted(row["note"] for row in both_ways(lake, TABLE)) == ["first"] * 4 + ["second"] * 2
    assert lake.batches(TABLE, window=month(0)).read_all().num_rows == 2


def test_a_column_that_the_contract_drops_is_kept_and_need_not_be_given(lake: Lake) -> None:
    make_visits(lake, [0])
    lake.ensure(TABLE, with_columns(without=("amount",)), "monthly")
    overwrite(lake, month(1), visits_in(month(1)).drop_columns(["amount"]))
    assert sum(row["amount"] is None for row in both_ways(lake, TABLE)) == 4


def test_nullability_is_widened_and_not_narrowed(lake: Lake) -> None:
    make_visits(lake, [0])
    lake.ensure(TABLE, changed("amount", nullable=True), "monthly")
    overwrite(lake, month(1), visits_in(month(1)).drop_columns(["amount"]))
    with pytest.raises(
        SchemaConflict, match=r"column amount \(DECIMAL\(18,2\)\) may be null in the lake and is required"
    ):
        lake.ensure(TABLE, VISITS, "monthly")


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("visit_id", "string", "visit_id is BIGINT in the lake and VARCHAR in the contract"),
        ("amount", "price", r"amount is DECIMAL\(18,2\) in the lake and DECIMAL\(18,4\) in the contract"),
        ("visited_at", "date", "visited_at is TIMESTAMPTZ in the lake and DATE in the contract"),
    ],
)
def test_narrowing_is_refused_and_changes_nothing(lake: Lake, name: str, kind: str, message: str) -> None:
    make_visits(lake, [0])
    before = content(lake)
    with pytest.raises(SchemaConflict, match=rf"raw\.visits \(\d+ rows\): column {message}.* empty CARTOGRAPH_HOME"):
        lake.ensure(TABLE, changed(name, type=kind), "monthly")
    assert content(lake) == before


def test_descriptions_follow_the_contract(lake: Lake) -> None:
    make_visits(lake)
    lake.ensure(TABLE, changed("note", description="What was said."), "monthly")
    schema = open_catalog(lake.settings).load_table(TABLE).schema()
    assert schema.find_field("note").doc == "What was said."


def test_narrow_types_of_an_older_lake_are_widened_and_old_files_read_right(lake: Lake) -> None:
    """int to bigint, float to double, decimal(9,2) to money, all in files that stay as they were written."""
    old = Schema(
        NestedField(1, "id", IntegerType(), required=True),
        NestedField(2, "share", FloatType()),
        NestedField(3, "paid", DecimalType(9, 2)),
    )
    catalog = open_catalog(lake.settings)
    catalog.create_namespace("raw")
    table = catalog.create_table("raw.old", old, location=location(lake.settings, "raw.old"))
    table.append(
        pa.table(
            [
                pa.array([1], pa.int32()),
                pa.array([0.5], pa.float32()),
                pa.array([Decimal("1234567.89")], pa.decimal128(9, 2)),
            ],
            schema=old.as_arrow(),
        )
    )
    contract = Contract(
        dataset="old",
        grain="A row.",
        key=("id",),
        columns=(
            Column(name="id", type="bigint", description="Number."),
            Column(name="share", type="double", nullable=True, description="Share."),
            Column(name="paid", type="money", nullable=True, description="Paid."),
        ),
    )
    lake.ensure("raw.old", contract, None)
    lake.append("raw.old", pa.table({"id": [2**40], "share": [0.1], "paid": [Decimal("9999999999999999.99")]}))
    assert both_ways(lake, "raw.old") == [
        {"id": 1, "share": 0.5, "paid": Decimal("1234567.89")},
        {"id": 2**40, "share": 0.1, "paid": Decimal("9999999999999999.99")},
    ]


def test_what_widens() -> None:
    kinds = [IntegerType(), LongType(), FloatType(), DoubleType(), DecimalType(9, 2), DecimalType(18, 2)]
    kinds += [DecimalType(18, 4), StringType(), DateType()]
    found = {(str(old), str(new)) for old in kinds for new in kinds if widens(old, new)}
    assert found == {("int", "long"), ("float", "double"), ("decimal(9, 2)", "decimal(18, 2)")}


def test_windows_still_cut_after_the_event_time_of_an_unpartitioned_table_changes(lake: Lake) -> None:
    lake.ensure("raw.plain", VISITS.model_copy(update={"event_time": None}), None)
    overwrite(lake, None, visits_in(days(0, 10), 10), table="raw.plain")
    lake.ensure("raw.plain", VISITS, None)
    overwrite(lake, days(0, 3), table="raw.plain")
    assert lake.row_count("raw.plain") == 7
