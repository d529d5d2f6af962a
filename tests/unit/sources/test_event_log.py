"""Events of the log are delivered once each, in their windows, and join what another source delivers."""

from __future__ import annotations

import fcntl
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import IO

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartograph.events import read, remove, segments
from cartograph.lake import Lake
from cartograph.settings import load_settings
from cartograph.shops import load_shop
from cartograph.windows import Window
from ecom_assets.contracts import CONTRACTS
from ecom_assets.defs.ingestion.shop_sources import shop_readers
from ecom_assets.ingestion import LoadReport, load
from ecom_assets.late_data import find
from ecom_assets.simulator import SimulatedShop, SimulatorConfig
from ecom_assets.sources import Delivery, Source, Unreadable
from ecom_assets.sources.event_log import EventLogReader, is_loaded, reader_of
from ecom_assets.sources.files import FilesSource
from ecom_assets.sources.merged import MergedSource, joined
from tests.unit.events.making import append, make_event
from tests.unit.ingestion.making import BATCH, FEBRUARY, JANUARY, SHOP, Rows

BOTH = (JANUARY, FEBRUARY)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.from_settings(load_settings(home=tmp_path / "home"))


@pytest.fixture
def log(lake: Lake) -> Path:
    return lake.settings.events_dir


def ingest(lake: Lake, source: Source, *windows: Window) -> LoadReport:
    return load(
        lake,
        source,
        CONTRACTS["events"],
        windows or BOTH,
        shop_window=SHOP,
        grain="monthly",
        batch=BATCH,
        late_limit=timedelta(hours=48),
    )


def ids(rows: pa.Table) -> list[str]:
    return sorted(rows["event_id"].to_pylist())


def stored(lake: Lake) -> list[str]:
    return ids(lake.batches("raw.events", columns=["event_id"]).read_all())


def delivered(log: Path, *windows: Window) -> list[Delivery]:
    return list(EventLogReader(log, SHOP).deliveries("events", windows or BOTH))


def test_a_shop_without_a_log_delivers_nothing(lake: Lake, log: Path) -> None:
    assert [delivery.rows.num_rows for delivery in delivered(log)] == [0, 0]
    assert EventLogReader(log, SHOP).fingerprint("events") is None
    assert ingest(lake, EventLogReader(log, SHOP)).stored == 0


def test_events_come_in_their_windows_with_the_segment_they_are_from(log: Path) -> None:
    append(log, make_event("a", 30.9), make_event("b", 31), make_event("c", 59.9))
    january, february = delivered(log)
    assert (ids(january.rows), ids(february.rows)) == (["a"], ["b", "c"])
    assert january.rows["_source"].to_pylist() == [f"event_log/{segments(log)[0].name}"]


def test_an_event_that_was_sent_again_is_one_event_the_first_received(lake: Lake, log: Path) -> None:
    again = make_event("a", 1, received_at="2024-01-03T00:00:00+00:00", device="tablet")
    append(log, again)
    append(log, make_event("a", 1, device="mobile"), make_event("a", 1, device="mobile"))
    report = ingest(lake, EventLogReader(log, SHOP))
    assert (report.counts.delivered, report.stored) == (1, 1)
    assert lake.batches("raw.events", columns=["device"]).read_all()["device"].to_pylist() == ["mobile"]


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 59), st.integers(0, 3)), max_size=30))
def test_each_id_is_delivered_once_whatever_was_sent_how_often_to_whom(
    tmp_path_factory: pytest.TempPathFactory, sent: list[tuple[int, float, int]]
) -> None:
    log = tmp_path_factory.mktemp("log")
    writers = [append(log) for _ in range(4)]
    for number, day, process in sent:
        writers[process].append([make_event(f"e{number}", day)], SHOP.start)
    found = [one for delivery in delivered(log) for one in delivery.rows["event_id"].to_pylist()]
    assert sorted(found) == sorted({f"e{number}" for number, _, _ in sent})


def test_events_outside_the_shops_dates_come_once_with_its_first_window(lake: Lake, log: Path) -> None:
    append(log, make_event("a", 1), make_event("stray", 500))
    assert [delivery.unplaced for delivery in delivered(log)] == [0, 0]
    assert [delivery.unplaced for delivery in delivered(log, FEBRUARY)] == [1]
    assert ingest(lake, EventLogReader(log, SHOP)).counts.quarantined == {"outside_shop_dates": 1}


def test_damage_is_told_and_what_was_loaded_stays(lake: Lake, log: Path) -> None:
    append(log, make_event("a", 1), make_event("b", 40))
    ingest(lake, EventLogReader(log, SHOP))
    (path,) = segments(log)
    path.write_bytes(path.read_bytes().replace(b'"b"', b'"x"'))
    assert read(path).damaged == 1
    report = ingest(lake, EventLogReader(log, SHOP))
    assert {piece.reason for piece in report.unreadable} == {"1 line of it is damaged"}
    assert (stored(lake), report.kept) == (["a", "b"], 1)


def test_two_sources_of_a_dataset_are_loaded_as_one_and_again_to_the_same(lake: Lake, log: Path) -> None:
    simulated = SimulatedShop(SimulatorConfig(customers=20, seed=3, start=SHOP.start.date(), end=SHOP.end.date()))
    alone = ingest(lake, simulated)
    before = stored(lake)
    append(log, make_event("mine-1", 3, customer_id="C1"), make_event("mine-2", 45))
    merged = MergedSource(simulated, [EventLogReader(log, SHOP)])
    first = ingest(lake, merged)
    assert stored(lake) == sorted([*before, "mine-1", "mine-2"])
    assert first.counts.delivered == alone.counts.delivered + 2
    assert ingest(lake, merged, FEBRUARY).is_accounted_for
    assert stored(lake) == sorted([*before, "mine-1", "mine-2"])
    assert {"simulator", "event_log"} == set(merged.origins("events"))
    assert merged.column_origins("events")["device"] == (("event_log", "device"), ("simulator", "device"))


def test_an_event_of_both_sources_is_in_the_lake_once(lake: Lake, log: Path) -> None:
    append(log, make_event("a", 2), make_event("b", 3))
    moment = {"occurred_at": SHOP.start + timedelta(days=2), "received_at": SHOP.start + timedelta(days=2, seconds=1)}
    other = Rows("events", [{"event_id": "a", **moment, "event_type": "page_view", "visitor_id": "v_17"}])
    report = ingest(lake, MergedSource(other, [EventLogReader(log, SHOP)]))
    assert stored(lake) == ["a", "b"]
    assert report.counts.merged == 1


def clashing(day: float, *, event_id: str = "a") -> Rows:
    """Another source, which has an event of that id on that day."""
    at = SHOP.start + timedelta(days=day)
    moments = {"occurred_at": at, "received_at": at + timedelta(seconds=1)}
    return Rows("events", [{"event_id": event_id, **moments, "event_type": "page_view", "visitor_id": "v_99"}])


def set_aside(lake: Lake) -> list[tuple[str, str]]:
    rows = lake.batches("quarantine.events", columns=["reason", "row"]).read_all().to_pylist()
    return sorted((row["reason"], json.loads(row["row"])["event_id"]) for row in rows)


def changes(lake: Lake, source: Source) -> list[str]:
    found = find(lake, [source], {"events": BOTH}, shop_window=SHOP, grain="monthly", late_limit=timedelta(hours=48))
    return [str(change) for change in found.changes]


@pytest.mark.parametrize("days", [(3, 45), (45, 3)], ids=["the log is first", "the log is second"])
@pytest.mark.parametrize("loads", [[BOTH], [(JANUARY,), (FEBRUARY,)], [(FEBRUARY,), (JANUARY,)]])
def test_an_id_that_another_source_has_in_another_window_is_in_the_lake_once_and_nothing_is_lost(
    lake: Lake, log: Path, days: tuple[float, float], loads: list[tuple[Window, ...]]
) -> None:
    append(log, make_event("a", days[0]), make_event("b", days[0]), make_event("c", days[1]))
    merged = MergedSource(clashing(days[1]), [EventLogReader(log, SHOP)])
    for _ in range(2):
        for windows in loads:
            assert ingest(lake, merged, *windows).is_accounted_for
        assert stored(lake) == ["a", "b", "c"]
        assert set_aside(lake) == [("duplicate_key", "a")]
        assert changes(lake, merged) == []
    visitors = lake.batches("raw.events", columns=["event_id", "visitor_id"]).read_all().to_pylist()
    first_is_log = (loads[0][0] is JANUARY) == (days[0] < days[1])
    assert {row["event_id"]: row["visitor_id"] for row in visitors}["a"] == ("v_17" if first_is_log else "v_99")


class Meanwhile(MergedSource):
    """A source that has `act` done once its deliveries were looked at, and before they are written."""

    def __init__(self, main: Source, other: Source, act: Callable[[], None]) -> None:
        super().__init__(main, [other])
        self.act = act

    def deliveries(self, dataset: str, windows: Sequence[Window]) -> Iterator[Delivery]:
        yield from super().deliveries(dataset, windows)
        self.act()


def test_an_id_is_in_the_lake_once_though_two_loads_of_different_windows_look_for_it_at_once(
    lake: Lake, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(log, make_event("a", 3))
    reader, waits_or_is_done, flock = EventLogReader(log, SHOP), threading.Event(), fcntl.flock

    def second() -> None:
        ingest(lake, MergedSource(clashing(45), [reader]), FEBRUARY)
        waits_or_is_done.set()

    def until_it_waits_or_is_done() -> None:
        other.start()
        assert waits_or_is_done.wait(60)

    def watched(file: IO[str], operation: int) -> None:
        if threading.current_thread() is other:
            waits_or_is_done.set()
        flock(file, operation)

    other = threading.Thread(target=second)
    monkeypatch.setattr(fcntl, "flock", watched)
    ingest(lake, Meanwhile(clashing(45), reader, until_it_waits_or_is_done), JANUARY)
    other.join(60)
    assert (stored(lake), set_aside(lake)) == (["a"], [("duplicate_key", "a")])


def test_an_event_whose_first_telling_comes_to_light_later_is_never_in_two_windows(lake: Lake, log: Path) -> None:
    append(log, make_event("a", 31.1, received_at="2024-02-01T12:00:00+00:00"))
    reader = EventLogReader(log, SHOP)
    ingest(lake, reader)
    append(log, make_event("a", 30.9))
    assert ingest(lake, reader, JANUARY).is_accounted_for
    assert stored(lake) == ["a"]
    assert changes(lake, reader)
    ingest(lake, reader)
    assert (stored(lake), set_aside(lake), changes(lake, reader)) == (["a"], [], [])


def test_what_is_kept_for_damage_is_not_doubled_by_another_window(lake: Lake, log: Path) -> None:
    damaged = (Unreadable("drop", "it is damaged", "mend it"),)
    append(log, make_event("a", 45))
    ingest(lake, clashing(3))
    source = Rows("events", [], damaged)
    report = ingest(lake, MergedSource(source, [EventLogReader(log, SHOP)]))
    assert (stored(lake), report.kept, set_aside(lake)) == (["a"], 1, [("duplicate_key", "a")])


def test_a_segment_stays_while_one_of_its_events_waits_in_the_quarantine(lake: Lake, log: Path) -> None:
    append(log, make_event("a", 45))
    ingest(lake, MergedSource(clashing(3), [EventLogReader(log, SHOP)]))
    assert not is_loaded(lake, [make_event("a", 45)])


def test_what_was_removed_once_it_was_loaded_stays_in_the_lake(lake: Lake, log: Path) -> None:
    append(log, make_event("a", 2), make_event("b", 3))
    append(log, make_event("waits", 40), at=FEBRUARY.start)
    reader = reader_of(lake.settings, SHOP)
    assert not is_loaded(lake, [make_event("a")])
    ingest(lake, reader, JANUARY)
    assert len(remove(log, lambda _, events: is_loaded(lake, events))) == 1
    append(log, make_event("a", 2, device="tablet", received_at="2024-01-04T00:00:00Z"), at=FEBRUARY.start)
    for _ in range(2):
        report = ingest(lake, reader)
        assert (report.vanished, report.unreadable) == (0, [])
        assert stored(lake) == ["a", "b", "waits"]
    devices = lake.batches("raw.events", columns=["device"]).read_all()["device"].to_pylist()
    assert devices == [None] * 3, "the first that was received counts, also when its segment is gone"


def test_other_datasets_are_the_main_sources_alone(log: Path) -> None:
    append(log, make_event("a", 2))
    merged = MergedSource(Rows("orders", []), [EventLogReader(log, SHOP)])
    assert merged.datasets == {"orders"}
    assert [delivery.rows.num_rows for delivery in merged.deliveries("orders", BOTH)] == [0, 0]
    assert merged.fingerprint("orders") == Rows("orders", []).fingerprint("orders")


def test_an_event_that_comes_late_is_found_in_its_window(lake: Lake, log: Path) -> None:
    simulated = SimulatedShop(SimulatorConfig(customers=20, seed=3, start=SHOP.start.date(), end=SHOP.end.date()))
    merged = MergedSource(simulated, [EventLogReader(log, SHOP)])
    ingest(lake, merged)
    assert merged.fingerprint("events") is None, "nothing can have come"
    prints = []
    for number in range(2):
        append(log, make_event(f"late-{number}", 40))
        prints.append(merged.fingerprint("events"))
    assert all(one != other for one, other in pairwise([None, *prints]))
    found = find(lake, [merged], {"events": BOTH}, shop_window=SHOP, grain="monthly", late_limit=timedelta(hours=48))
    assert [(change.window, change.new, change.gone) for change in found.changes] == [(FEBRUARY, 2, 0)]


def test_columns_that_sources_type_differently_are_joined_as_text() -> None:
    one = pa.table({"n": [1], "only": ["x"]})
    other = pa.table({"n": ["two"]})
    assert joined([one, other]).to_pylist() == [{"n": "1", "only": "x"}, {"n": "two", "only": None}]
    assert joined([one.slice(0, 0), other.slice(0, 0)]).num_rows == 0


LOG_SOURCE = """
  - type: ecom_assets.components.EventLogSource
    datasets: [events]
"""
SHOP_FILE = """
title: x
currency: EUR
start: 2024-01-01
sources:
  - type: ecom_assets.components.FilesSource
    attributes: {files: {drops: {path: drops.csv}}}
    datasets: {orders: {select: FROM drops}}
"""


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (SHOP_FILE + LOG_SOURCE, [FilesSource, EventLogReader]),
        (SHOP_FILE.replace("orders:", "events:") + LOG_SOURCE, [MergedSource]),
    ],
)
def test_a_shop_may_have_the_log_alone_or_beside_another_source(
    tmp_path: Path, text: str, kinds: list[type[Source]]
) -> None:
    (tmp_path / "x.yaml").write_text(text)
    readers = shop_readers(load_shop(load_settings(shop="x", shops_dir=tmp_path)))
    assert [type(reader) for reader in readers] == kinds
    assert sum("events" in reader.datasets for reader in readers) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LOG_SOURCE.replace("events]", "reviews]"), "the event log delivers events and not reviews"),
        (LOG_SOURCE + LOG_SOURCE, "more than one source delivers events"),
    ],
)
def test_a_mistake_about_the_log_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.yaml").write_text(SHOP_FILE + text)
    with pytest.raises(ValueError, match=message):
        shop_readers(load_shop(load_settings(shop="x", shops_dir=tmp_path)))
