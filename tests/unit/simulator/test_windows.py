"""Any window alone, in any order, in any process gives the same rows."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tracemalloc
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartograph.windows import Window, windows
from ecom_assets.contracts import CONTRACTS
from ecom_assets.simulator import SimulatedShop, SimulatorConfig
from ecom_assets.simulator import shop as shop_module
from ecom_assets.sources import Source
from shops import NO_TROUBLE, make_config, make_shop, read, whole, window

DATASETS = sorted(CONTRACTS)


def fingerprint(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for batch in table.combine_chunks().to_batches():
        for name in sorted(table.column_names):
            digest.update(name.encode())
            digest.update(repr(batch.column(name).to_pylist()).encode())
    return digest.hexdigest()


def test_it_is_a_source_of_all_twelve_datasets() -> None:
    source: Source = make_shop()
    assert source.datasets == frozenset(CONTRACTS)


@pytest.mark.parametrize("dataset", DATASETS)
def test_days_and_weeks_make_up_the_months(dataset: str) -> None:
    shop = make_shop()
    span = whole(shop)
    monthly = read(shop, dataset, list(windows(span.start, span.end, "monthly")))
    assert len(monthly) > 0
    for grain in ("daily", "weekly"):
        finer = read(make_shop(), dataset, list(windows(span.start, span.end, grain)))  # type: ignore[arg-type]
        assert finer.select(monthly.column_names).equals(monthly)


@settings(max_examples=25)
@given(data=st.data())
def test_any_window_alone_is_its_part_of_the_whole(data: st.DataObject) -> None:
    config = make_config(customers=60, end=date(2024, 5, 1), seed=data.draw(st.integers(0, 3)))
    dataset = data.draw(st.sampled_from(DATASETS))
    cuts = sorted(data.draw(st.sets(st.integers(1, config.days - 1), min_size=1, max_size=4)))
    days = [config.start + timedelta(days=day) for day in (0, *cuts, config.days)]
    parts = [window(first, last) for first, last in pairwise(days)]
    alone = {part: read(SimulatedShop(config), dataset, [part]) for part in data.draw(st.permutations(parts))}
    together = pa.concat_tables([alone[part] for part in parts], promote_options="default")
    expected = read(SimulatedShop(config), dataset)
    assert together.select(expected.column_names).equals(expected)


def test_another_process_gives_the_same_rows() -> None:
    config = make_config(customers=80, end=date(2024, 3, 1))
    here = {name: fingerprint(read(SimulatedShop(config), name)) for name in ("customers", "orders", "events")}
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_windows import fingerprint, read, SimulatedShop, SimulatorConfig\n"
        "shop = SimulatedShop(SimulatorConfig.model_validate_json(sys.argv[2]))\n"
        "print({name: fingerprint(read(shop, name)) for name in ('customers', 'orders', 'events')})\n"
    )
    folder = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", program, folder, config.model_dump_json()], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(here)


def test_the_seed_chooses_the_shop() -> None:
    same, other = read(make_shop(), "orders"), read(make_shop(seed=12), "orders")
    assert read(make_shop(), "orders").equals(same)
    assert not other.equals(same)
    assert abs(len(other) - len(same)) < 0.3 * len(same)


def test_windows_outside_the_dates_are_empty() -> None:
    shop = make_shop()
    for dataset in DATASETS:
        early, late = window(date(2023, 1, 1), date(2023, 2, 1)), window(date(2025, 1, 1), date(2025, 2, 1))
        assert [len(delivery.rows) for delivery in shop.deliveries(dataset, [early, late])] == [0, 0]


def test_one_delivery_for_each_window() -> None:
    shop = make_shop()
    asked = list(windows(whole(shop).start, whole(shop).end, "daily"))
    assert [delivery.window for delivery in shop.deliveries("events", asked)] == asked


def test_a_window_holds_only_its_own_rows() -> None:
    shop = make_shop()
    asked: list[Window] = list(windows(whole(shop).start, whole(shop).end, "daily"))
    for delivery in shop.deliveries("events", asked):
        times = delivery.rows["occurred_at"].to_pylist()
        assert all(time in delivery.window for time in times)


@pytest.mark.parametrize("days", [1, 2, 9, 40])
def test_a_very_short_shop_works(days: int) -> None:
    shop = SimulatedShop(
        SimulatorConfig(
            customers=20, seed=1, start=date(2024, 2, 28), end=date(2024, 2, 28) + timedelta(days), **NO_TROUBLE
        )
    )
    for dataset in DATASETS:
        read(shop, dataset)
    assert shop.truth()["customers"].num_rows == 20


@pytest.mark.parametrize("dataset", shop_module.SPLIT)
def test_a_large_window_is_made_in_pieces(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = read(make_shop(), dataset)
    monkeypatch.setattr(shop_module, "CUSTOMER_DAYS_AT_ONCE", 300 * 7)
    assert read(make_shop(), dataset).equals(at_once)


def test_memory_does_not_grow_with_the_number_of_windows() -> None:
    shop = make_shop(customers=400, end=date(2025, 1, 1))
    asked = list(windows(whole(shop).start, whole(shop).end, "monthly"))

    def highest(part: list[Window]) -> int:
        tracemalloc.start()
        arrow = 0
        for _ in shop.deliveries("events", part):
            arrow = max(arrow, pa.total_allocated_bytes())
        _, python = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return python + arrow

    highest(asked[:1])
    assert highest(asked[3:]) < 1.2 * max(highest(asked[first : first + 2]) for first in range(3, 11))
