"""The online state: what an event changes in the next answer, in every worker and after a restart, within bounds."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.services import journal, online
from api.services.event_log import EventLog, Rules
from api.services.journal import forget
from api.services.online import OnlineState, moment_of
from cartograph.events import SegmentWriter, rewrite, segments
from cartograph.releases.order_history import SCHEMA, key_of
from cartograph.settings import Settings
from cartograph.windows import Window
from ml_assets.core.features.order_history import OnFile, OrderHistory
from ml_assets.core.features.order_ledger import Outcome, Placed, Value
from tests.api.making import make_customers, publish, service
from tests.api.recommending import batch

START = datetime(2026, 1, 2, 9, tzinfo=UTC)
SESSION, BASKET = "/v1/recommendations/session", "/v1/recommendations/basket"
SINCE = moment_of(datetime(2026, 1, 1, tzinfo=UTC))


def event(minute: float, product: str | None = None, kind: str = "product_view", **more: Any) -> dict[str, Any]:
    happened = START + timedelta(minutes=minute)
    made = {"event_id": f"E{minute}", "occurred_at": happened, "received_at": happened, "event_type": kind}
    return {**made, "visitor_id": "V1", "customer_id": None, "product_id": product, "order_id": None, **more}


@pytest.fixture
def state(tmp_path: Path) -> OnlineState:
    return worker(tmp_path)


def worker(folder: Path) -> OnlineState:
    """The state of one of the processes that share a shop's home."""
    return OnlineState(folder / "state.db", folder / "events")


class Served(NamedTuple):
    """A running service, and its online state."""

    client: httpx.Client
    online: OnlineState


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    settings = Settings(home=tmp_path)
    state = OnlineState(settings.online_path, settings.events_dir)
    monkeypatch.setattr("api.main.OnlineState", lambda *_: state)
    publish(settings, customers=make_customers([f"C{n:04d}" for n in range(1000)]))
    with service(settings) as client:
        yield Served(client, state)


def test_a_session_has_the_products_that_were_seen_the_latest_last(state: OnlineState) -> None:
    state.apply([event(0, "P1"), event(1, "P2"), event(2, kind="page_view"), event(3, "P1", "add_to_cart")])
    assert state.session("V1") == ("P2", "P1")
    assert state.session("V2") == ()


def test_after_half_an_hour_a_session_is_another_one(state: OnlineState) -> None:
    state.apply([event(0, "P1"), event(29, "P2"), event(60, "P3")])
    assert state.session("V1") == ("P3",)
    state.apply([event(50, "P4"), event(10, "P5")])
    assert state.session("V1") == ("P4", "P3"), "a late event finds its place, or is of a session that is over"


def test_timestamps_may_be_texts(state: OnlineState) -> None:
    state.apply([event(0, "P1", occurred_at="2026-01-02T10:00:00+01:00"), event(1, "P2")])
    assert state.session("V1") == ("P1", "P2")


def test_a_purchase_is_of_the_products_that_the_checkout_had(state: OnlineState) -> None:
    state.apply([event(0, "P1", "purchase", customer_id="C1", order_id="O1")])
    found = state.customer("C1", SINCE)
    assert found is not None
    assert found.bought == ("P1",)
    assert state.customer("C1", moment_of(START + timedelta(days=1))) is None
    assert state.customer("C2", SINCE) is None


def test_what_was_seen_long_ago_is_no_session_of_now(state: OnlineState) -> None:
    state.apply([event(0, "P1", customer_id="C1"), event(1, "P2", customer_id="C1")])
    found = state.customer("C1", SINCE)
    assert found is not None
    assert found.viewed == ("P1", "P2")
    assert state.customer("C1", moment_of(START + timedelta(days=1))) is None


def test_a_purchase_is_of_what_its_order_was_of_at_last(tmp_path: Path) -> None:
    one, other = (worker(tmp_path) for _ in range(2))
    history = OrderHistory(SINCE, nothing())
    for changed, products in ((0, ["P1"]), (5, ["P2"]), (0, ["P1"])):  # the last is the first again
        one.judge(history, order("O1")._replace(card=changed), products)
    for each in (one, other):
        each.apply([event(0, kind="purchase", customer_id="C1", order_id="O1")])
        each.follow()
        assert known(each)[1] == ("P2",)


def test_what_a_purchase_was_of_is_known_from_the_checkout_of_any_worker(tmp_path: Path) -> None:
    one, other = (worker(tmp_path) for _ in range(2))
    one.judge(OrderHistory(SINCE, nothing()), order("O1"), ["P1", "P2"])
    for each in (one, other):
        each.apply([event(0, kind="purchase", customer_id="C1", order_id="O1")])
        each.follow()
    found = [state.customer("C1", SINCE) for state in (one, other)]
    assert [recent and recent.bought for recent in found] == [("P1", "P2")] * 2


def visit(state: OnlineState, minute: float, history: OrderHistory | None = None) -> tuple[Value, Value]:
    """What an order of C1 at a minute knows of the visit in which it is placed."""
    placed = order(f"O{minute}")._replace(us=moment_of(START + timedelta(minutes=minute)))
    features = state.judge(history or OrderHistory(SINCE, nothing()), placed, ["P1"]).features
    return features["events_1h"], features["visit_minutes"]


def test_an_order_knows_the_visit_in_which_it_is_placed(state: OnlineState) -> None:
    assert visit(state, 0) == (0, None)
    of = {"customer_id": "C1"}
    state.apply([event(0, "P1", **of), event(1, kind="page_view", **of), event(2, "P2", **of), event(3, "P3")])
    state.apply([event(4, kind="purchase", order_id="O1", **of), event(5, kind="email_open", **of)])
    state.apply([event(6, "P4", **of, received_at=START + timedelta(minutes=50))])
    assert visit(state, 10) == (3, 10)
    assert visit(state, 51) == (4, 51)
    assert visit(state, 62) == (2, 60), "an hour is an hour"
    assert visit(state, 1) == (1, 1), "an order that is told late knows what was received before it"


def test_an_event_of_the_visit_counts_once_though_the_history_has_it(state: OnlineState) -> None:
    told = {"customer_id": "C1", "received_at": datetime(2025, 12, 31, 23, 59, tzinfo=UTC)}
    known_before = {"visit_key": [key_of("customer", "C1")], "visit_event": [key_of("event", "E1")]}
    columns = {name: np.array(values, np.uint64) for name, values in known_before.items()}
    history = OrderHistory(SINCE, {**nothing(), **columns, "visit_us": np.array([moment_of(told["received_at"])])})
    state.apply([event(1, "P1", **told), event(2, "P1", **told), event(2, "P1", **told)])
    features = state.judge(history, order("O1", us=1), []).features
    assert features["events_1h"] == 2


def test_an_order_at_any_worker_knows_the_visit_that_another_was_told_of(tmp_path: Path) -> None:
    one, other = worker(tmp_path), worker(tmp_path)
    one.follow()
    other.follow()
    take(tmp_path, one, event(0, "P1", customer_id="C1"), event(2, "P3", customer_id="C1"))
    assert visit(one, 4) == (2, 4), "before its client has the answer"
    one.follow()
    other.follow()
    assert [visit(state, 5) for state in (one, other, restarted(tmp_path))] == [(2, 5)] * 3


def restarted(folder: Path) -> OnlineState:
    """The state of a process that starts now."""
    state = worker(folder)
    state.follow()
    return state


SHOP = Window(START - timedelta(days=9), START + timedelta(days=9))
PURCHASE = {"kind": "purchase", "customer_id": "C1", "order_id": "O1"}


def take(folder: Path, state: OnlineState, *events: dict[str, Any]) -> list[str]:
    """Have a process of that state take the events, and end; what became of them."""
    told = [{**one, **{name: one[name].isoformat() for name in ("occurred_at", "received_at")}} for one in events]

    async def scenario() -> list[str]:
        rules = Rules(SHOP, timedelta(hours=48))
        log = EventLog(SegmentWriter(folder / "events"), rules, online=state, clock=lambda: START + timedelta(days=1))
        async with log.running():
            return [outcome.status for outcome in await log.submit(told)]

    return asyncio.run(scenario())


def known(state: OnlineState) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What V1 saw and C1 bought."""
    recent = state.customer("C1", SINCE)
    return state.session("V1"), recent.bought if recent else ()


def test_what_one_worker_takes_the_others_and_those_after_it_know(tmp_path: Path) -> None:
    one, other = worker(tmp_path), worker(tmp_path)
    one.follow()
    other.follow()
    assert take(tmp_path, one, event(0, "P1"), event(2, "P3"), event(3, "P9", **PURCHASE)) == ["accepted"] * 3
    assert known(one) == (("P1", "P3"), ("P9",))
    other.follow()
    assert known(other) == known(one)
    assert take(tmp_path, other, event(1, "P2")) == ["accepted"]
    for each in (one, other):  # which hear of their own again
        each.follow()
        assert known(each) == (("P1", "P2", "P3"), ("P9",))
        each.close()
    after = worker(tmp_path)
    after.follow()
    assert known(after) == (("P1", "P2", "P3"), ("P9",))


def test_an_event_that_two_workers_took_counts_once(tmp_path: Path) -> None:
    workers = [worker(tmp_path) for _ in range(2)]
    for each in workers:
        assert take(tmp_path, each, event(0, "P9", **PURCHASE), event(1, "P1")) == ["accepted"] * 2
    for each in (*workers, worker(tmp_path)):
        each.follow()
        assert known(each) == (("P1",), ("P9",))


def test_after_a_start_the_latest_are_known_and_no_more_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = worker(tmp_path)
    take(tmp_path, before, *(event(number, f"P{number}", visitor_id=f"V{number}") for number in range(9)))
    (path,) = segments(tmp_path / "events")
    monkeypatch.setattr(online, "FIRST_BYTES", path.stat().st_size // 3)
    after = worker(tmp_path)
    after.follow()
    assert [bool(after.session(f"V{number}")) for number in range(9)] == [False] * 6 + [True] * 3


def test_an_erased_customer_does_not_come_back_with_a_start(tmp_path: Path) -> None:
    before = worker(tmp_path)
    before.follow()
    take(tmp_path, before, event(0, "P1", customer_id="C1"), event(1, "P9", **PURCHASE))
    before.follow()
    rewrite(tmp_path / "events", lambda found: [{**one, "customer_id": "erased-1"} for one in found])
    after = worker(tmp_path)
    after.follow()
    assert after.customer("C1", SINCE) is None
    before.follow()
    assert before.customer("erased-1", SINCE) is None, "what is rewritten is not told again"


def test_a_broken_journal_does_not_keep_events_from_a_worker_nor_a_broken_log_orders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = worker(tmp_path), worker(tmp_path)
    take(tmp_path, one, event(0, "P1"), event(1, kind="purchase", customer_id="C1", order_id="O1"))
    one.judge(OrderHistory(SINCE, nothing()), order("O1"), ["P2"])
    with monkeypatch.context() as broken:
        broken.setattr(other._journal, "after", lambda *_: 1 / 0)
        asyncio.run(other.learn())
    assert known(other) == (("P1",), ())
    with monkeypatch.context() as broken:
        broken.setattr(other._log, "new", lambda *_: 1 / 0)
        asyncio.run(other.learn())
    assert known(other) == (("P1",), ("P2",))


def test_what_cannot_be_followed_is_told_once_when_it_begins_and_once_when_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> NoReturn:
        raise PermissionError(f"{tmp_path} is not to be read")

    caplog.set_level("WARNING", "uvicorn.error")
    state, path = worker(tmp_path), tmp_path / "state.db"

    def told() -> list[str]:
        caplog.clear()
        for _ in range(3):
            asyncio.run(state.learn())
        return caplog.messages

    for _ in range(2):
        path.write_bytes(b"This is no database. " * 100)
        with monkeypatch.context() as broken:
            broken.setattr(state._log, "new", fails)
            assert told() == [
                f"The event log cannot be followed. {tmp_path} is not to be read",
                f"The journal cannot be followed. The journal {path} cannot be read: file is not a database",
            ]
        path.unlink()
        assert told() == ["The event log is followed again", "The journal is followed again"]


def order(name: str, customer: str = "C1", us: int = 1) -> Placed:
    """An order of nothing but the customer."""
    return Placed(key_of("order", name), SINCE + us, key_of("customer", customer), *[0] * 3, *[None] * 4, *[0] * 5, ())


def nothing() -> dict[str, Any]:
    """The columns of the history of a shop without orders."""
    return {field.name: np.empty(0, field.type.value_type.to_pandas_dtype()) for field in SCHEMA}


def test_an_event_may_be_told_twice_and_late(state: OnlineState) -> None:
    told = [event(0, "P1"), event(1, "P2"), event(5, "P1"), event(6, kind="purchase", customer_id="C1", order_id="O1")]
    state.apply(told)
    before = (state.session("V1"), state.customer("C1", SINCE))
    state.apply([told[0], told[3], told[1]])
    assert (state.session("V1"), state.customer("C1", SINCE)) == before
    assert before[0] == ("P2", "P1")


STEPS = st.tuples(st.integers(0, 200), st.integers(0, 30), st.booleans())


@given(st.lists(STEPS), st.data())
def test_what_is_told_again_in_any_order_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]], data: st.DataObject
) -> None:
    told = [
        event(minute, f"P{place}", **(PURCHASE if bought else {"customer_id": "C1"})) for minute, place, bought in steps
    ]
    state = worker(tmp_path_factory.getbasetemp())
    state.apply(told)
    before = known(state), visit(state, 100), visit(state, 200)
    state.apply(data.draw(st.permutations(told)))
    assert (known(state), visit(state, 100), visit(state, 200)) == before


def test_memory_and_file_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "MOST_VISITORS", 3)
    monkeypatch.setattr(journal, "KEPT", 20)
    monkeypatch.setattr(journal, "_PRUNED_EVERY", 10)
    state = worker(tmp_path)
    for number in range(100):
        state.apply([event(number / 100, f"P{number}", visitor_id=f"V{number % 5}")])
    assert [bool(state.session(f"V{number}")) for number in range(5)] == [False, False, True, True, True]
    for number in range(40):
        state.apply([event(number / 100, f"P{number}")])
        state.apply([event(number, kind="purchase", customer_id="C1", product_id="P1", order_id=f"O{number}")])
        state.judge(OrderHistory(SINCE, nothing()), order(f"O{number}"), ["P1"])
    assert len(state.session("V1")) == online.SESSION_PRODUCTS
    state.apply([event(number / 100, "P1", customer_id="C1") for number in range(500)])
    assert visit(state, 30) == (online.VISIT_EVENTS, pytest.approx(30 - 3))
    state.apply([event(150, "P1", customer_id="C1"), event(4.99, "P1", customer_id="C1")])
    assert (visit(state, 31), visit(state, 151)) == ((0, None), (1, 1))
    assert len(journal.Journal(tmp_path / "state.db").after(0)) <= 30


@pytest.mark.parametrize("kind", ["declined", "charged_back"])
@pytest.mark.parametrize("us", [SINCE + 5, SINCE - 5])
def test_an_outcome_that_is_told_again_is_one_entry(tmp_path: Path, kind: str, us: int) -> None:
    history, told = (
        OrderHistory(SINCE, nothing()),
        Outcome(kind, key_of("order", "O1"), key_of("customer", "C1"), 0, 0, us),
    )
    for _ in range(2):  # by another worker, or after a start, too
        state = worker(tmp_path)
        assert [state.settle(history, told) for _ in range(3)] == [True] * 3
    entries = journal.Journal(tmp_path / "state.db").after(0)
    assert len(entries) == 1
    assert state.settle(history, told._replace(order=key_of("order", "O2")))
    assert state.settle(history, told._replace(us=us + 1)), "a chargeback is one, and may be told of another moment"
    assert len(journal.Journal(tmp_path / "state.db").after(0)) == (3 if kind == "declined" else 2)


def test_the_journal_is_for_its_owner_only(tmp_path: Path) -> None:
    assert journal.Journal(tmp_path / "state.db").after(0) == []
    for file in tmp_path.glob("state.db*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


def test_an_erased_customer_is_forgotten(tmp_path: Path) -> None:
    path, history = tmp_path / "state.db", OrderHistory(SINCE, nothing())
    state = worker(tmp_path)
    for number, customer in enumerate(("C1", "C2", "C1")):
        state.judge(history, order(f"O{number}", customer), ["P1"])
    state.close()
    assert forget(path, [key_of("customer", "C1")]) == 2
    assert [body[1][2] for _, body in journal.Journal(path).after(0)] == [key_of("customer", "C2")]
    assert f"{key_of('customer', 'C1'):016x}".encode() not in path.read_bytes()
    assert forget(tmp_path / "none.db", [1]) == 0


def test_a_failed_write_leaves_no_trace(state: OnlineState, monkeypatch: pytest.MonkeyPatch) -> None:
    history = OrderHistory(SINCE, nothing())
    state.judge(history, order("O1"), [])
    with monkeypatch.context() as broken:
        broken.setattr(journal.Journal, "append", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            state.judge(history, order("O2", us=2), [])
    assert state.judge(history, order("O3", us=3), []).features["orders_before"] == 1


def test_who_waits_for_others_too_long_is_turned_away(state: OnlineState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "WAIT_SECONDS", 0.01)
    history = OrderHistory(SINCE, nothing())
    with state._orders_lock, pytest.raises(journal.JournalUnavailableError, match="Others have waited"):
        state.judge(history, order("O1"), [])
    assert state.judge(history, order("O1"), []).attempt == 1


class Interrupted(OrderHistory):
    """A history that has something happen when it is first asked: while the orders since it are learned."""

    def __init__(self, *meanwhile: Callable[[], object]) -> None:
        super().__init__(SINCE, nothing())
        self._meanwhile = list(meanwhile)

    def customer(self, key: int) -> OnFile:
        while self._meanwhile:
            self._meanwhile.pop()()
        return super().customer(key)


def test_while_a_worker_learns_the_orders_since_a_new_history_orders_are_judged_by_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(journal, "WAIT_SECONDS", 0.01)
    old, (one, other) = OrderHistory(SINCE, nothing()), (worker(tmp_path) for _ in range(2))
    for number in range(2 * online.TOGETHER):
        one.judge(old, order(f"O{number}", us=number), [])
    before: list[Value] = []

    def judge(state: OnlineState, name: str, us: int) -> None:
        before.append(state.judge(old, order(name, us=us), []).features["orders_before"])

    new = Interrupted(lambda: judge(one, "A", 5_000), lambda: judge(other, "B", 4_000))
    after = one.judge(new, order("C", us=6_000), []).features["orders_before"]
    assert [*before, after] == [2_000, 2_001, 2_002], "and each knows of the one before"
    assert other.judge(new, order("D", us=7_000), []).features["orders_before"] == 2_003


def test_the_follower_learns_what_others_judged(tmp_path: Path) -> None:
    """So that an order after a pause need not be waited for."""
    history, (one, other) = OrderHistory(SINCE, nothing()), (worker(tmp_path) for _ in range(2))
    for state in (one, other):
        state.prepare(history)
    one.judge(history, order("A"), [])
    other.follow()
    assert other._orders[history].ledger.counts(order("A"))


def test_a_ledger_that_has_grown_too_long_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (journal, online):
        monkeypatch.setattr(module, "KEPT", 20)
    monkeypatch.setattr(journal, "_PRUNED_EVERY", 10)
    history, state = OrderHistory(SINCE, nothing()), worker(tmp_path)
    for number in range(100):
        state.judge(history, order(f"O{number}", us=number), [])
        state.follow()
        assert len(state._orders[history].ledger.attempts) <= 2 * 20 + 1
    assert 20 <= state.judge(history, order("last", us=200), []).features["orders_before"] <= 40


def test_reading_the_journal_makes_nothing_and_waits_for_nobody(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    reader, writer = journal.Journal(path), journal.Journal(path)
    assert reader.after(0) == []
    assert not path.exists()
    sqlite3.connect(path).execute("PRAGMA journal_mode = WAL")
    assert reader.after(0) == []
    assert sqlite3.connect(path).execute("SELECT name FROM sqlite_master").fetchall() == []
    with writer.writing():
        writer.append(0, ["a"])
    with writer.writing():
        writer.append(0, ["b"])
        ((first, body),) = reader.after(0)
    assert (body, reader.after(first)[0][1]) == (["a"], ["b"])
    assert len(reader.after(0, most=1)) == 1


def test_what_a_visitor_sees_is_in_the_next_recommendation(served: Served) -> None:
    stranger = served.client.post(SESSION, json={"visitor_id": "V1"}).json()["recommendations"]
    served.online.apply([event(0, "P03"), event(1, "P00"), event(2, "no longer known")])
    after = served.client.post(SESSION, json={"visitor_id": "V1"}).json()["recommendations"]
    assert after != stranger
    assert after == served.client.post(SESSION, json={"products": ["P03", "P00"]}).json()["recommendations"]
    both = served.client.post(SESSION, json={"visitor_id": "V1", "products": ["P06"]}).json()["recommendations"]
    assert both == served.client.post(SESSION, json={"products": ["P03", "P00", "P06"]}).json()["recommendations"]


def test_a_customer_newer_than_the_release_gains_by_what_they_saw(served: Served) -> None:
    path = "/v1/customers/new/recommendations?fallback=popular"
    popular = served.client.get(path).json()
    served.online.apply([event(0, "P01", customer_id="new")])
    heeding = served.client.get(path).json()
    assert heeding.keys() == popular.keys()
    assert heeding["recommendations"] != popular["recommendations"]
    assert "P01" in {one["because_product_id"] for one in heeding["recommendations"]}
    served.online.apply([event(1, "P02", "purchase", customer_id="new")])
    assert "P02" not in [one["product_id"] for one in served.client.get(path).json()["recommendations"]]


def test_a_customers_list_leaves_out_what_was_bought_and_heeds_what_was_seen(served: Served) -> None:
    path = "/v1/customers/C0000/recommendations?limit=20"
    before = served.client.get(path).json()["recommendations"]
    first = before[0]["product_id"]
    served.online.apply([event(0, first, "purchase", customer_id="C0000", order_id="O1")])
    after = served.client.get(path).json()["recommendations"]
    assert [one["product_id"] for one in after] == [one["product_id"] for one in before[1:]]
    seen = "P01"  # of another shelf than the customer's
    served.online.apply([event(1, seen, customer_id="C0000")])
    heeding = served.client.get(path).json()["recommendations"]
    of_session = {one.product_id for one in batch().model.session([seen], 20)}
    assert len({one["product_id"] for one in heeding[:10]} & of_session) >= 4
    assert first not in [one["product_id"] for one in heeding]
    assert [one["score"] for one in heeding] == sorted((one["score"] for one in heeding), reverse=True)
    assert [one["rank"] for one in heeding] == list(range(1, len(heeding) + 1))
    assert served.client.get("/v1/customers/C0003/recommendations?limit=20").json()["recommendations"] != heeding


def test_a_basket_gets_what_stands_with_it_in_orders_first(served: Served) -> None:
    found = served.client.post(BASKET, json={"products": ["P00"], "limit": 20}).json()["recommendations"]
    assert [(one["product_id"], one["score"], one["source"]) for one in found[:2]] == [
        ("P01", 0.2, "basket"), ("P02", 0.1125, "basket"),
    ]  # fmt: skip
    assert [one["because_product_id"] for one in found[:2]] == ["P00", "P00"]
    assert len({one["product_id"] for one in found} - {"P00"}) == 20
    mixed = [served.client.post(BASKET, json={"products": given}).json() for given in (["P00", "P03"], ["P03", "P00"])]
    assert mixed[0] == mixed[1], "a basket has no order"
    assert (
        served.client.post(BASKET, json={"products": ["P00", "P01"]}).json()["recommendations"][0]["product_id"]
        == "P02"
    )
    assert served.client.post(BASKET, json={"products": []}).status_code == 422
