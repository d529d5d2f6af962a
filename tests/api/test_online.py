"""The online state: what an event changes in the next answer, in every worker and after a restart, within bounds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest

from api.services import journal, online
from api.services.journal import forget
from api.services.online import OnlineState, moment_of
from cartograph.releases.order_history import SCHEMA, key_of
from cartograph.settings import Settings
from ml_assets.core.features.order_ledger import OrderHistory, Placed
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
    return OnlineState(tmp_path / "state.db")


class Served(NamedTuple):
    """A running service, and its online state."""

    client: httpx.Client
    online: OnlineState


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    settings = Settings(home=tmp_path)
    state = OnlineState(settings.online_path)
    monkeypatch.setattr("api.main.OnlineState", lambda _: state)
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


def test_what_a_purchase_was_of_is_known_from_the_checkout_of_any_worker(tmp_path: Path) -> None:
    one, other = (OnlineState(tmp_path / "state.db") for _ in range(2))
    one.judge(OrderHistory(SINCE, nothing()), order("O1"), ["P1", "P2"])
    for worker in (one, other):
        worker.apply([event(0, kind="purchase", customer_id="C1", order_id="O1")])
        worker.follow()
    found = [state.customer("C1", SINCE) for state in (one, other)]
    assert [recent and recent.bought for recent in found] == [("P1", "P2")] * 2


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


def test_memory_and_file_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "MOST_VISITORS", 3)
    monkeypatch.setattr(journal, "KEPT", 20)
    monkeypatch.setattr(journal, "_PRUNED_EVERY", 10)
    state = OnlineState(tmp_path / "state.db")
    for number in range(100):
        state.apply([event(number / 100, f"P{number}", visitor_id=f"V{number % 5}")])
    assert [bool(state.session(f"V{number}")) for number in range(5)] == [False, False, True, True, True]
    for number in range(40):
        state.apply([event(number / 100, f"P{number}")])
        state.apply([event(number, kind="purchase", customer_id="C1", product_id="P1", order_id=f"O{number}")])
        state.judge(OrderHistory(SINCE, nothing()), order(f"O{number}"), ["P1"])
    assert len(state.session("V1")) == online.SESSION_PRODUCTS
    assert len(journal.Journal(tmp_path / "state.db").after(0)) <= 30


def test_an_erased_customer_is_forgotten(tmp_path: Path) -> None:
    path, history = tmp_path / "state.db", OrderHistory(SINCE, nothing())
    state = OnlineState(path)
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
    assert state.judge(history, order("O3", us=3), [])["orders_before"] == 1


def test_what_a_visitor_sees_is_in_the_next_recommendation(served: Served) -> None:
    stranger = served.client.post(SESSION, json={"visitor_id": "V1"}).json()["recommendations"]
    served.online.apply([event(0, "P03"), event(1, "P00"), event(2, "no longer known")])
    after = served.client.post(SESSION, json={"visitor_id": "V1"}).json()["recommendations"]
    assert after != stranger
    assert after == served.client.post(SESSION, json={"products": ["P03", "P00"]}).json()["recommendations"]
    both = served.client.post(SESSION, json={"visitor_id": "V1", "products": ["P06"]}).json()["recommendations"]
    assert both == served.client.post(SESSION, json={"products": ["P03", "P00", "P06"]}).json()["recommendations"]


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
    assert served.client.post(BASKET, json={"products": ["x"]}).status_code == 404
    assert served.client.post(BASKET, json={"products": []}).status_code == 422
