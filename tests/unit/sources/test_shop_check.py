"""The report of a shop says what each dataset delivers, what is wrong with it, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from cartograph.shops import Shop, SourceSpec
from cartograph.windows import Window
from ecom_assets.contracts import CONTRACTS
from ecom_assets.quality.policy import quarantine_limit
from ecom_assets.sources import Delivery, Source, SourceError
from ecom_assets.sources.shop_check import DatasetReport, ShopReport, check_shop
from tests.unit.sources.making import MONTHS, review, reviews_source, write_csv


class Given:
    """A source of given rows: all with the first window, none with the others; no rows means that it fails."""

    def __init__(self, **rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    @property
    def datasets(self) -> frozenset[str]:
        return frozenset(self._rows)

    def deliveries(self, dataset: str, windows: Sequence[Window]) -> Iterator[Delivery]:
        if not self._rows[dataset]:
            raise SourceError(f"{dataset}: the server does not answer. Start it.")
        table = pa.Table.from_pylist([{**row, "_source": f"{dataset} table"} for row in self._rows[dataset]])
        for window in windows:
            yield Delivery(window, table if window == windows[0] else table.slice(0, 0))


class AtOnce(Given):
    """A source of given rows, in one delivery for all windows, as files are."""

    def deliveries(self, dataset: str, windows: Sequence[Window]) -> Iterator[Delivery]:
        span = Window(windows[0].start, windows[-1].end)
        yield Delivery(span, pa.Table.from_pylist([{**row, "_source": "a table"} for row in self._rows[dataset]]))


def product(product_id: str) -> dict[str, Any]:
    return {"product_id": product_id, "updated_at": "2024-01-01", "is_active": "true", "colour": "red"}


def line(number: str, **changes: Any) -> dict[str, Any]:
    values = {"order_id": "o1", "line_number": number, "ordered_at": "2024-01-02", "product_id": "p1", "quantity": "1"}
    return values | {"unit_price": "1", "discount_amount": "0"} | changes


def check(*sources: Source) -> ShopReport:
    datasets = sorted(frozenset().union(*(source.datasets for source in sources)))
    shop = Shop(
        file=Path("shops/test.yaml"),
        name="corner_shop",
        title="Corner shop",
        currency="EUR",
        start=date(2024, 1, 1),
        end=date(2024, 4, 1),
        sources=(SourceSpec(type="given", datasets=datasets),),
    )
    return check_shop(shop, sources, MONTHS, timedelta(hours=48))


def report(found: ShopReport, dataset: str) -> DatasetReport:
    return next(each for each in found.datasets if each.dataset == dataset)


def test_a_dataset_is_described(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [review(n) for n in range(8)])
    (tmp_path / "b.csv").touch()
    found = check(
        reviews_source(
            tmp_path / "*.csv",
            "SELECT id AS review_id, product AS product_id, moment AS reviewed_at, "
            "stars AS rating, NULL AS body, 1 AS extra FROM sales",
        )
    )
    (reviews,) = found.datasets

    assert (reviews.source, reviews.counts.delivered, reviews.counts.accepted) == ("FilesSource", 8, 8)
    assert reviews.counts.extra_columns == ("extra",)
    assert {column.name: (column.is_mapped, column.filled_rows) for column in reviews.columns} == {
        "review_id": (True, 8),
        "reviewed_at": (True, 8),
        "product_id": (True, 8),
        "customer_id": (False, 0),
        "order_id": (False, 0),
        "rating": (True, 8),
        "body": (True, 0),
    }
    assert len(reviews.sample) == 5
    assert reviews.sample[0]["rating"] == 5
    assert [bad.name for bad in reviews.unreadable] == ["b.csv"]
    assert not reviews.is_ok


def test_violations_have_counts_and_examples_and_parents_are_known() -> None:
    found = check(
        Given(
            order_items=[
                line("1"),
                line("1"),
                line("2", product_id="p9"),
                line("3", quantity="x"),
                line("4", quantity="y"),
            ]
        ),
        Given(products=[product("p1")]),
    )
    items = report(found, "order_items")

    assert [(v.reason, v.rows) for v in items.violations] == [
        ("wrong_type:quantity", 2),
        ("exact_duplicate", 1),
        ("orphan:product_id", 1),
    ]
    assert json.loads(items.violations[2].example)["product_id"] == "p9"
    assert items.violations[2].example_source == "order_items table"
    assert (items.counts.accepted, items.counts.merged) == (1, 1)
    assert not items.is_ok
    assert [each.dataset for each in found.datasets] == ["products", "order_items"], "parents first"


def test_rows_that_a_load_would_find_too_late_are_told() -> None:
    happened = {"occurred_at": "2024-01-02T10:00", "event_type": "page_view", "visitor_id": "v1"}
    early, late = ({**happened, "event_id": day, "received_at": f"2024-01-0{day}T10:00"} for day in ("4", "5"))
    (violation,) = report(check(Given(events=[early, late])), "events").violations
    assert (violation.reason, violation.rows) == ("too_late", 1)


def test_merged_duplicates_are_no_fault() -> None:
    found = check(Given(order_items=[line("1"), line("1")]))
    assert report(found, "order_items").is_ok


def test_absent_datasets_say_what_they_switch_off() -> None:
    found = check(Given(products=[product("p1")]))
    absent = {each.dataset: each for each in found.absent}

    assert set(absent) == set(CONTRACTS) - {"products"}
    assert absent["events"].enables == CONTRACTS["events"].enables
    assert {name for name, each in absent.items() if each.is_required} == {"customers", "orders", "order_items"}
    assert found.obstacles(partial(quarantine_limit, {}, 5)) == (
        "customers is required and not delivered",
        "orders is required and not delivered",
        "order_items is required and not delivered",
    )


def test_more_broken_rows_than_the_limit_allows_stop_a_run() -> None:
    found = check(Given(order_items=[line("1"), line("2"), line("3"), line("x")]))
    assert "25.0 % of order_items break the contract, and CARTOGRAPH_QUARANTINE_LIMIT_PCT allows 5" in found.obstacles(
        partial(quarantine_limit, {}, 5)
    )
    assert not any("order_items" in obstacle for obstacle in found.obstacles(partial(quarantine_limit, {}, 25)))
    own = {"datasets": {"order_items": {"quarantine_within_limit": {"limit_pct": 30}}}}
    assert not any("order_items" in obstacle for obstacle in found.obstacles(partial(quarantine_limit, own, 5)))


def test_broken_rows_of_one_partition_stop_a_run_however_many_the_others_have() -> None:
    """As a load of it alone would."""
    sound = [line(str(number), ordered_at="2024-02-02") for number in range(600)]
    broken = [line("x") for _ in range(9)]
    (told,) = [
        obstacle
        for obstacle in check(AtOnce(order_items=[*sound, *broken])).obstacles(partial(quarantine_limit, {}, 5))
        if "order_items" in obstacle
    ]
    assert told.startswith("100.0 % in 2024-01-01 of order_items break the contract")


def test_a_source_at_fault_is_told_and_the_others_are_checked() -> None:
    nameless = product("p1")
    del nameless["product_id"]
    found = check(Given(products=[nameless], orders=[]), Given(order_items=[line("1")]))

    assert report(found, "orders").error == "orders: the server does not answer. Start it."
    assert "without a column product_id" in str(report(found, "products").error)
    assert report(found, "order_items").is_ok, "orders and products are unknown, so references are not checked"
    assert set(found.obstacles(partial(quarantine_limit, {}, 5))) >= {
        "orders cannot be read",
        "products cannot be read",
    }
