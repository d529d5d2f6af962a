"""Validation parts good rows from broken ones, explains each, and loses none."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartograph.contracts import Column, Contract
from cartograph.windows import Window, windows
from ecom_assets.contracts import CONTRACTS
from ecom_assets.contracts.quarantine import QUARANTINE_COLUMNS
from ecom_assets.contracts.validation import ContractError, Counts, Validated, counts_by_window, validate

SHOP = Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC))
MARCH = Window(datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC))
ITEMS = CONTRACTS["order_items"]
KNOWN = {"orders": pa.table({"order_id": ["o1", "o2"]}), "products": pa.table({"product_id": ["p1", "p2", None]})}


def item(**changes: Any) -> dict[str, Any]:
    """An order line as a file delivers it: all text."""
    line = {
        "order_id": "o1",
        "line_number": "1",
        "ordered_at": "2024-03-05 10:30:00",
        "product_id": "p1",
        "quantity": "2",
        "unit_price": "2.55",
        "discount_amount": "0",
    }
    return line | {"_source": "items.csv"} | changes


def check(
    *rows: dict[str, Any],
    contract: Contract = ITEMS,
    window: Window = SHOP,
    known: Mapping[str, pa.Table] | None = None,
) -> Validated:
    return validate(
        pa.Table.from_pylist(list(rows)),
        contract,
        window=window,
        shop_window=SHOP,
        known_keys=KNOWN if known is None else known,
    )


def reason(*rows: dict[str, Any], **options: Any) -> str:
    """The one reason for which a row of `rows` was not accepted."""
    (found,) = check(*rows, **options).quarantined["reason"].to_pylist()
    return str(found)


def test_good_text_becomes_the_contracts_types() -> None:
    checked = check(item(line_number="2"), item())

    assert checked.accepted.schema.equals(ITEMS.arrow_schema().append(pa.field("_source", pa.string(), nullable=False)))
    assert checked.accepted.to_pylist()[0] == {
        "order_id": "o1",
        "line_number": 1,
        "ordered_at": datetime(2024, 3, 5, 10, 30, tzinfo=UTC),
        "product_id": "p1",
        "quantity": 2,
        "unit_price": Decimal("2.5500"),
        "discount_amount": Decimal("0.00"),
        "_source": "items.csv",
    }
    assert checked.accepted["line_number"].to_pylist() == [1, 2], "ordered by event time and key"
    assert checked.quarantined.num_rows == 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"product_id": None}, "missing_value:product_id"),
        ({"product_id": ""}, "missing_value:product_id"),
        ({"product_id": " p1"}, "padded:product_id"),
        ({"order_id": "o1\t"}, "padded:order_id"),
        ({"order_id": "o1\u00a0"}, "padded:order_id"),
        ({"quantity": "two"}, "wrong_type:quantity"),
        ({"quantity": "1.5"}, "wrong_type:quantity"),
        ({"quantity": "NaN"}, "wrong_type:quantity"),
        ({"quantity": "1_0"}, "wrong_type:quantity"),
        ({"unit_price": "2,55"}, "wrong_type:unit_price"),
        ({"unit_price": "1_0.00"}, "wrong_type:unit_price"),
        ({"ordered_at": "05.03.2024"}, "wrong_type:ordered_at"),
        ({"ordered_at": "infinity"}, "wrong_type:ordered_at"),
        ({"ordered_at": "10000-01-01 00:00:00"}, "wrong_type:ordered_at"),
        ({"ordered_at": "0044-03-15 (BC) 12:00:00"}, "wrong_type:ordered_at"),
        ({"ordered_at": "9999-12-31 23:59:59"}, "outside_shop_dates"),
        ({"ordered_at": "0001-01-01 00:00:00"}, "outside_shop_dates"),
        ({"ordered_at": None}, "missing_value:ordered_at"),
        ({"quantity": "0"}, "quantity_positive"),
        ({"unit_price": "-1"}, "price_not_negative"),
        ({"discount_amount": "5.11"}, "discount_within_line"),
        ({"ordered_at": "2023-12-31 23:59:59"}, "outside_shop_dates"),
        ({"ordered_at": "2024-04-01"}, "outside_shop_dates"),
        ({"order_id": "o9"}, "orphan:order_id"),
        ({"product_id": "p9"}, "orphan:product_id"),
    ],
)
def test_a_broken_row_is_quarantined_with_its_reason(changes: dict[str, Any], expected: str) -> None:
    assert reason(item(line_number="2"), item(**changes)) == expected


def test_a_line_has_the_time_of_its_order_or_is_told_both_times() -> None:
    noon = datetime(2024, 3, 5, 12, tzinfo=UTC)
    orders = pa.table({"order_id": ["o1", "o2", "o2"], "ordered_at": [noon, noon, noon.replace(hour=13)]})
    lines = [
        item(line_number="1", ordered_at="2024-03-05 12:00:00"),
        item(line_number="2", ordered_at="2024-03-05 12:00:05"),
        item(order_id="o2", ordered_at="2024-03-05 13:00:00"),
        item(order_id="o9", ordered_at="2024-03-05 12:00:05"),
        item(line_number="3", ordered_at=None),
    ]
    checked = check(*lines, known=KNOWN | {"orders": orders})
    assert checked.accepted.select(["order_id", "line_number"]).to_pylist() == [
        {"order_id": "o1", "line_number": 1},
        {"order_id": "o2", "line_number": 1},
    ]
    told = {row["reason"]: row["message"] for row in checked.quarantined.to_pylist()}
    assert told.keys() == {"unlike_parent:ordered_at", "orphan:order_id", "missing_value:ordered_at"}
    assert told["unlike_parent:ordered_at"] == (
        "ordered_at differs from that in orders, which the mapping must give it (join orders on order_id): "
        "2024-03-05 12:00:05+00 here, 2024-03-05 12:00:00+00 there"
    )


@pytest.mark.parametrize("quantity", ["2", "2.0", "2e0", 2, 2.0, Decimal(2)])
def test_a_whole_number_may_be_written_in_any_way(quantity: Any) -> None:
    assert check(item(quantity=quantity)).accepted["quantity"].to_pylist() == [2]


def test_times_with_an_offset_become_utc_and_times_without_are_utc() -> None:
    checked = check(
        item(ordered_at="2024-03-05T10:30:00+02:00"), item(line_number="2", ordered_at="2024-03-05 10:30:00")
    )
    assert [moment.hour for moment in checked.accepted["ordered_at"].to_pylist()] == [8, 10]


def test_the_reason_is_the_first_fault_and_the_message_tells_all() -> None:
    checked = check(item(quantity="-1", order_id="o9", product_id="p9"))

    (row,) = checked.quarantined.to_pylist()
    assert row["reason"] == "quantity_positive"
    assert "a line needs at least one unit" in row["message"]
    assert "order_id is not among the orders" in row["message"]
    assert "product_id is not among the products" in row["message"]


def test_the_quarantine_holds_the_row_as_it_was_delivered() -> None:
    checked = check(item(quantity="two", colour="blue"))

    assert checked.quarantined.schema.names == [*(column.name for column in QUARANTINE_COLUMNS), "_source"]
    (row,) = checked.quarantined.to_pylist()
    assert json.loads(row["row"]) == {
        name: value for name, value in item(quantity="two", colour="blue").items() if name != "_source"
    }
    assert (row["dataset"], row["_source"]) == ("order_items", "items.csv")
    assert row["event_time"] == datetime(2024, 3, 5, 10, 30, tzinfo=UTC)
    assert row["window_start"] == datetime(2024, 3, 5, tzinfo=UTC)
    assert checked.counts.extra_columns == ("colour",)


@pytest.mark.parametrize("ordered_at", ["soon", None, "1999-01-01", "2024-04-01 00:00:00"])
def test_rows_without_a_place_in_time_are_quarantined_at_the_start_of_the_window(ordered_at: str | None) -> None:
    checked = check(item(ordered_at=ordered_at), window=MARCH)
    assert checked.quarantined["window_start"].to_pylist() == [MARCH.start]


def test_rows_are_counted_in_the_window_of_their_own_time_however_they_are_delivered() -> None:
    rows = [
        item(order_id="o1", ordered_at="2024-01-31 23:59:59.5"),
        item(order_id="o1", line_number="2", ordered_at="2024-03-01"),
        item(order_id="o2", ordered_at="2024-03-02"),
        item(order_id="o2", ordered_at="2024-03-02"),
        item(order_id="o2", line_number="2", ordered_at="2024-03-03", quantity="0"),
        item(ordered_at="soon"),
    ]
    checked = check(*rows)
    months = list(windows(SHOP.start, SHOP.end, "monthly"))
    found = counts_by_window(checked, ITEMS, months)
    assert {window.key[:7]: (one.delivered, one.accepted, one.merged) for window, one in found.items()} == {
        "2024-01": (2, 1, 0),
        "2024-03": (4, 2, 1),
    }
    assert [one.quarantined.total() for one in found.values()] == [1, 1]
    assert sum(found.values(), Counts()) == checked.counts
    assert counts_by_window(check(item(ordered_at="soon"), window=MARCH), ITEMS, [MARCH])[MARCH].quarantined_pct == 100


def test_a_row_of_another_window_is_not_accepted() -> None:
    assert reason(item(ordered_at="2024-02-29 23:59:59"), window=MARCH) == "outside_window"


def test_equal_rows_are_merged_whatever_source_they_come_from() -> None:
    checked = check(item(_source="b.csv"), item(_source="a.csv"), item(_source="c.csv"))

    assert checked.accepted["_source"].to_pylist() == ["a.csv"]
    assert checked.counts.merged == 2
    assert checked.counts.quarantined == {}
    assert checked.quarantined["reason"].to_pylist() == ["exact_duplicate"] * 2


def test_rows_that_write_the_same_values_differently_are_equal() -> None:
    assert check(item(), item(unit_price="2.5500", quantity="2.0")).counts.merged == 1


def test_of_rows_that_share_a_key_and_differ_one_is_accepted_and_its_copies_merged() -> None:
    first, other = item(quantity="2"), item(quantity="3")
    checked = check(other, first, other, first)

    assert checked.accepted["quantity"].to_pylist() == [2]
    assert Counter(checked.quarantined["reason"].to_pylist()) == {"exact_duplicate": 1, "duplicate_key": 2}
    assert checked.counts.merged == 1
    assert checked.counts.quarantined == {"duplicate_key": 2}


def test_a_broken_row_takes_no_key_from_a_good_one() -> None:
    checked = check(item(quantity="-1"), item())
    assert (checked.accepted.num_rows, checked.counts.quarantined) == (1, {"quantity_positive": 1})


def test_references_to_unknown_datasets_are_not_checked_and_null_references_are_good() -> None:
    assert check(item(order_id="o9"), known={}).accepted.num_rows == 1
    refund = {
        "refund_id": "r1",
        "refunded_at": "2024-03-05",
        "order_id": None,
        "quantity": 1,
        "unit_price": 1,
        "amount": 1,
        "_source": "r",
    }
    assert check(refund, contract=CONTRACTS["refunds"]).accepted.num_rows == 1


def test_a_value_that_is_not_accepted() -> None:
    order = {
        "order_id": "o1",
        "updated_at": "2024-03-05",
        "ordered_at": "2024-03-05",
        "status": "lost",
        "subtotal_amount": "1",
        "discount_amount": "0",
        "shipping_amount": "0",
        "total_amount": "1",
        "_source": "orders.csv",
    }
    assert reason(order, contract=CONTRACTS["orders"]) == "not_accepted:status"
    checked = check(order | {"status": "placed"}, contract=CONTRACTS["orders"])
    assert checked.accepted["coupon_code"].null_count == 1, "a nullable column that is not delivered is null"


def test_a_dataset_placed_in_time_by_a_date() -> None:
    stock = {"product_id": "p1", "snapshot_date": "2024-03-31", "quantity_on_hand": "4", "_source": "stock.csv"}
    assert check(stock, contract=CONTRACTS["inventory"]).accepted["snapshot_date"].to_pylist() == [date(2024, 3, 31)]
    late = stock | {"snapshot_date": "2024-04-01"}
    assert reason(late, contract=CONTRACTS["inventory"]) == "outside_shop_dates"


def test_a_contract_without_time_or_key() -> None:
    contract = Contract(
        dataset="notes",
        grain="A note.",
        key=(),
        columns=(Column(name="reason", type="double", description="Any number."),),
    )
    checked = check({"reason": "1.5", "_source": "n"}, {"reason": "inf", "_source": "n"}, contract=contract)
    assert checked.accepted["reason"].to_pylist() == [1.5]
    assert checked.quarantined["reason"].to_pylist() == ["wrong_type:reason"]


def test_a_missing_required_column_names_dataset_column_source_rows_and_cure() -> None:
    row = item()
    del row["unit_price"]
    with pytest.raises(ContractError) as caught:
        check(row)
    message = str(caught.value)
    for part in ("order_items", "unit_price", "items.csv", "1 row of", "Map it in the shop's file"):
        assert part in message


def test_no_rows_are_no_fault() -> None:
    checked = validate(pa.table({}), ITEMS, window=SHOP, shop_window=SHOP, known_keys={})
    assert checked.accepted.schema.names == [*ITEMS.names, "_source"]
    assert checked.counts.delivered == checked.accepted.num_rows == checked.quarantined.num_rows == 0


ROWS = st.lists(
    st.builds(
        item,
        order_id=st.sampled_from(["o1", "o2", "o9", "", None]),
        line_number=st.sampled_from(["1", "2", "2.0", "x"]),
        ordered_at=st.sampled_from(["2024-01-01", "2024-03-05 10:30:00", "2025-01-01", "soon", None]),
        quantity=st.sampled_from(["1", "2", "-1", "1.5"]),
        unit_price=st.sampled_from(["1", "1.0", "-1"]),
        _source=st.sampled_from(["a", "b"]),
    ),
    max_size=30,
)


@given(rows=ROWS, seed=st.integers())
@settings(max_examples=40)
def test_every_row_is_accounted_for_whatever_the_order(rows: list[dict[str, Any]], seed: int) -> None:
    checked = check(*rows) if rows else validate(pa.table({}), ITEMS, window=SHOP, shop_window=SHOP, known_keys=KNOWN)
    counts = checked.counts

    assert counts.delivered == len(rows) == counts.accepted + counts.merged + sum(counts.quarantined.values())
    assert checked.accepted.num_rows == counts.accepted
    assert checked.quarantined.num_rows == counts.merged + sum(counts.quarantined.values())
    keys = list(zip(*(checked.accepted[name].to_pylist() for name in ITEMS.key), strict=True))
    assert len(set(keys)) == len(keys)
    if rows:
        shuffled = random.Random(seed).sample(rows, len(rows))
        again = check(*shuffled)
        assert again.accepted.equals(checked.accepted)
        assert again.quarantined.equals(checked.quarantined)


@given(rows=ROWS.filter(bool))
@settings(max_examples=20)
def test_what_was_accepted_is_accepted_again(rows: list[dict[str, Any]]) -> None:
    accepted = check(*rows).accepted
    again = validate(accepted, ITEMS, window=SHOP, shop_window=SHOP, known_keys=KNOWN)
    assert again.accepted.equals(accepted)
    assert again.quarantined.num_rows == 0
