"""Orders at the checkout over HTTP: what the next call knows of the last one, whoever takes it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as checking
from hypothesis import strategies as st

from api.main import create_app
from api.observability.metrics import UNWRITTEN
from api.services import journal
from api.services.online import OnlineState
from cartograph.releases import Manifest
from cartograph.releases.contents.files import FRAUD_CARD, ORDER_HISTORY
from cartograph.releases.contents.models import Review
from cartograph.releases.order_history import write_history
from cartograph.settings import Settings
from ml_assets.core.features.order_catalogue import ORDER_RISK
from ml_assets.core.features.order_history import OrderHistory, history_columns
from tests.api.making import AS_OF, classifier, make_fraud_card, problem, publish, service, serving
from tests.unit.ml.test_order_risk import MARTS, add_customer, add_order, make_connection

PATH = "/v1/orders/risk"
TAKEN = ("total_amount", "card_others", "orders_24h")


@cache
def history_file() -> bytes:
    """Customers A and B, in Graz, who ordered tea two years before; A with card X, which was charged back."""
    con = make_connection()
    for customer in "AB":
        add_customer(con, customer)
    add_order(con, "1", 1, "A", card="X", charged_back=9)
    add_order(con, "2", 2, "B", card="Y")
    of_products = {**MARTS, "dim_products": "SELECT *, product_key AS product_id FROM dim_products"}
    with TemporaryDirectory() as folder:
        path = Path(folder) / ORDER_HISTORY
        write_history(path, *history_columns(con, of_products, AS_OF))
        return path.read_bytes()


def judging_files() -> dict[str, bytes | None]:
    """What a release has more that judges orders: the history, and a model that takes three of the features."""
    card = make_fraud_card(features=tuple(ORDER_RISK.specs(TAKEN)), review=Review(amount="total_amount", cost=5))
    return {FRAUD_CARD: card.model_dump_json().encode(), ORDER_HISTORY: history_file()}


@pytest.fixture
def released(tmp_path: Path) -> tuple[Settings, Manifest]:
    settings = Settings(home=tmp_path)
    return settings, publish(settings, replaced=judging_files())


@pytest.fixture
def shop(released: tuple[Settings, Manifest]) -> Iterator[httpx.Client]:
    with service(released[0]) as client:
        yield client


def order(order_id: str, minute: int = 0, **changes: Any) -> dict[str, Any]:
    """An order of two teas for 20.00 in all, by customer A with card X, some minutes after the release's date."""
    made = {
        "order_id": order_id,
        "placed_at": f"2026-01-01T00:{minute:02d}:00Z",
        "customer_id": "A",
        "lines": [{"product_id": "tea", "quantity": 2, "unit_price": 10, "category": "tea"}],
        "card": "X",
        "device": "device of A",
        "ship_city": "Graz",
        "ship_country": "AT",
    }
    return {**made, **changes}


def judged(client: httpx.Client, *given: Any, **changes: Any) -> dict[str, Any]:
    answer = client.post(PATH, json=order(*given, **changes))
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_an_order_is_judged_by_features_that_the_history_and_the_order_tell(
    shop: httpx.Client, released: tuple[Settings, Manifest]
) -> None:
    answer = judged(shop, "10", shipping_amount=5)
    features = answer["features"]
    assert list(features) == [feature.name for feature in ORDER_RISK.features]
    assert (features["orders_before"], features["is_first_order"], features["is_new_card"]) == (1, 0, 0)
    assert (features["linked_chargebacks"], features["total_amount"], features["units_count"]) == (1, 25, 2)
    assert (features["is_sent_elsewhere"], features["new_category_share"], features["amount_to_own_mean"]) == (
        0,
        0,
        2.5,
    )
    assert features["tenure_days"] == (datetime(2026, 1, 1, tzinfo=UTC) - datetime(2024, 1, 2, tzinfo=UTC)).days
    assert features["amount_to_shop_mean"] is None
    row = np.array([[features[name] for name in TAKEN]], np.float32)
    assert answer["probability"] == pytest.approx(classifier().predict_proba(row)[0, 1], abs=1e-5)
    assert answer["decision"] == ("review" if answer["probability"] * 25 > 5 else "accept")
    assert answer["instruments"]["card"] == {"others": 0, "orders_24h": 0, "is_new": False}
    assert answer["instruments"].keys() == {"card", "device", "address"}
    assert (answer["rules"], answer["release_id"], answer["as_of"]) == ([], released[1].release_id, "2026-01-01")


def test_the_next_order_knows_of_the_one_before(shop: httpx.Client) -> None:
    judged(shop, "10")
    second = judged(shop, "11", 1, customer_id="B", card="X", device="new")
    assert second["instruments"]["card"] == {"others": 1, "orders_24h": 1, "is_new": True}
    assert (second["features"]["linked_customers"], second["features"]["linked_chargebacks"]) == (2, 1)
    assert second["rules"] == ["shared card or device"]
    judged(shop, "12", 2)
    third = judged(shop, "13", 3, ship_city="Linz")
    assert (third["features"]["orders_1h"], third["features"]["card_orders_24h"]) == (2, 3)
    assert third["rules"] == ["velocity", "sent elsewhere", "shared card or device"]


def viewed(event_id: str, minutes_before: int, **more: Any) -> dict[str, Any]:
    """A product view by customer A, so many minutes before the release's date, which is the end of the shop, too."""
    happened = datetime(2026, 1, 1, tzinfo=UTC) - timedelta(minutes=minutes_before)
    moments = {"occurred_at": happened.isoformat(), "received_at": (happened + timedelta(seconds=2)).isoformat()}
    made = {"event_id": event_id, "event_type": "product_view", "visitor_id": "V", "product_id": "tea"}
    return {**made, **moments, "customer_id": "A", **more}


def test_the_next_order_knows_the_events_that_were_taken_of_its_customer(released: tuple[Settings, Manifest]) -> None:
    told = [viewed("1", 9), viewed("2", 4), viewed("3", 3, customer_id=None), viewed("4", 2, event_type="purchase")]
    told[-1] |= {"order_id": "10"}
    with service(released[0]) as client:
        before = judged(client, "10")["features"]
        assert (before["events_1h"], before["visit_minutes"]) == (0, None)
        assert client.post("/v1/events", json={"events": told}).status_code == 202
        after = judged(client, "10")["features"]
        assert (after["events_1h"], after["visit_minutes"]) == (2, pytest.approx(9 - 2 / 60))
        assert {name for name in after if after[name] != before[name]} == {"events_1h", "visit_minutes"}
        of_others = judged(client, "11", 1, customer_id="B"), judged(client, "12", 1, customer_id=None)
        assert [one["features"]["events_1h"] for one in of_others] == [0, None]
    with service(released[0]) as client:
        assert judged(client, "13", 2)["features"]["events_1h"] == 2


def test_the_largest_order_is_judged_and_so_is_the_next(shop: httpx.Client) -> None:
    most = 9_999_999_999.99
    lines = [{"product_id": "tea", "quantity": 1, "unit_price": most}]
    assert judged(shop, "10", lines=lines, shipping_amount=most)["features"]["total_amount"] == 2 * most
    assert judged(shop, "11", 1)["features"]["orders_before"] == 2


def test_a_discount_that_covers_shipping_too_is_a_discount_on_all_goods(shop: httpx.Client) -> None:
    """It was refused for a feature that nobody sent, and counted as placed."""
    features = judged(shop, "10", discount_amount=22.5, shipping_amount=5)["features"]
    assert (features["discount_share"], features["total_amount"]) == (1, 2.5)
    assert judged(shop, "11", 1, discount_amount=5)["features"]["discount_share"] == 0.25


def test_an_order_that_is_asked_again_counts_once(shop: httpx.Client) -> None:
    first = judged(shop, "10")
    assert judged(shop, "10") == first
    assert judged(shop, "11", 1)["features"]["orders_before"] == 2


def test_cards_that_are_tried_out_at_one_order_show(released: tuple[Settings, Manifest]) -> None:
    """Whatever the worker, at one `placed_at` or later, and after a restart."""
    with service(released[0]) as one, service(released[0]) as other:
        for number in range(8):
            client = (one, other)[number % 2]
            tried = judged(client, "10", number // 4, customer_id=None, card=f"card {number}", device="of a thief")
            assert tried["attempt"] == number + 1
            assert tried["instruments"]["device"]["orders_24h"] == number
            assert tried["instruments"]["card"]["orders_24h"] == 0
    with service(released[0]) as client:
        again = judged(client, "10", 1, customer_id=None, card="card 7", device="of a thief")
        assert again == tried, "the same body is the same attempt, and does not count again"
        later = judged(client, "11", 5, customer_id=None, card="card 7", device="of a thief")
        assert later["instruments"]["device"]["orders_24h"] == 8
        assert later["instruments"]["card"]["orders_24h"] == 1
        assert later["attempt"] == 1


def test_a_customers_further_attempt_is_no_further_order(shop: httpx.Client) -> None:
    judged(shop, "10")
    dearer = [{"product_id": "tea", "quantity": 2, "unit_price": 1000}]
    second = judged(shop, "10", 1, card="Z", lines=dearer)
    assert (second["attempt"], second["features"]["total_amount"]) == (2, 2000)
    assert (second["features"]["orders_before"], second["features"]["orders_1h"]) == (1, 1)
    assert (second["features"]["is_new_card"], second["features"]["hours_since_order"] > 24) == (1, True)
    third = judged(shop, "11", 2)["features"]
    assert (third["orders_before"], third["orders_1h"]) == (2, 2)
    assert third["amount_to_own_mean"] == pytest.approx(20 / ((10 + 20) / 2)), "of the amounts as they were told first"


def test_an_order_that_another_customer_takes_up_counts_for_both(shop: httpx.Client) -> None:
    judged(shop, "10", customer_id="B", card="Y", device="of B")
    assert judged(shop, "10", 1)["features"]["orders_before"] == 1
    assert judged(shop, "11", 2)["features"]["orders_24h"] == 1
    assert judged(shop, "12", 3, customer_id="B", card="Y", device="of B")["features"]["orders_24h"] == 1


def test_a_declined_attempt_counts_for_the_next_at_the_same_order(shop: httpx.Client) -> None:
    first = judged(shop, "10")
    assert shop.post("/v1/orders/10/outcomes", json={**TOLD, "customer_id": "A", "card": "X"}).json()["counted"]
    assert judged(shop, "10") == first
    second = judged(shop, "10", card="Z")["features"]
    assert (second["declined_7d"], second["card_declined_7d"]) == (1, 0)


def test_a_known_product_has_its_known_category_whatever_the_order_says(shop: httpx.Client) -> None:
    def new_share(number: str, product: str, category: str) -> float:
        line = {"product_id": product, "quantity": 2, "unit_price": 10, "category": category}
        share: float = judged(shop, number, lines=[line])["features"]["new_category_share"]
        return share

    assert new_share("10", "tea", "never bought") == 0
    assert new_share("11", "newer than the release", "never bought") == 1
    assert new_share("12", "newer than the release", "tea") == 0


def test_a_guest_is_linked_by_what_is_shown_only(shop: httpx.Client) -> None:
    features = judged(shop, "10", customer_id=None)["features"]
    assert (features["is_guest"], features["card_others"], features["linked_customers"]) == (1, 1, 1)
    assert features["linked_chargebacks"] == 1
    assert features["address_others"] is None


def test_what_became_of_an_order_is_known_to_the_next(shop: httpx.Client) -> None:
    judged(shop, "10")
    told = {"outcome": "declined", "at": "2026-01-01T00:01:00Z"}
    for _ in range(2):
        assert shop.post("/v1/orders/10/outcomes", json=told).json()["counted"] is True
    charged = {"outcome": "charged_back", "at": "2026-01-01T00:02:00Z", "customer_id": "B"}
    for number in ("2", "2"):
        assert shop.post(f"/v1/orders/{number}/outcomes", json=charged).json()["counted"] is True
    features = judged(shop, "11", 3)["features"]
    assert (features["declined_7d"], features["card_declined_7d"], features["linked_chargebacks"]) == (1, 1, 1)
    assert judged(shop, "12", 4, customer_id="B", card="Y", device="of B")["features"]["linked_chargebacks"] == 1
    nobody = shop.post("/v1/orders/99/outcomes", json=told).json()
    assert (nobody["order_id"], nobody["counted"]) == ("99", False)


def test_another_worker_and_the_next_start_know_the_same(released: tuple[Settings, Manifest]) -> None:
    with service(released[0]) as one, service(released[0]) as other:
        judged(one, "10")
        assert judged(other, "11", 1)["features"]["orders_before"] == 2
        assert judged(one, "12", 2)["features"]["orders_before"] == 3
    with service(released[0]) as again:
        assert judged(again, "13", 3)["features"]["orders_before"] == 4


def test_a_release_is_served_once_the_orders_since_it_are_known(
    released: tuple[Settings, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, first = released
    prepare = OnlineState.prepare
    with service(settings) as client:
        judged(client, "10")
        second, meanwhile = publish(settings, replaced=judging_files()), []

        def prepared(state: OnlineState, history: OrderHistory) -> None:
            with httpx.Client(base_url=client.base_url) as another:
                meanwhile.append(judged(another, "11", 1))
            prepare(state, history)

        monkeypatch.setattr(OnlineState, "prepare", prepared)
        client.post(f"/v1/admin/releases/{second.release_id}/activate").raise_for_status()
        after = judged(client, "12", 2)
    answers = [*meanwhile, after]
    assert [answer["release_id"] for answer in answers] == [first.release_id, second.release_id]
    assert [answer["features"]["orders_before"] for answer in answers] == [2, 3]


TOLD = {"outcome": "declined", "at": "2026-01-01T00:01:00Z"}


def test_while_the_journal_is_held_by_another_orders_are_to_be_sent_again(
    shop: httpx.Client,
    released: tuple[Settings, Manifest],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(journal, "WAIT_SECONDS", 0.01)
    path = released[0].online_path
    path.parent.mkdir(parents=True, exist_ok=True)
    caplog.set_level("WARNING", "uvicorn.error")
    before = UNWRITTEN._value.get()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN EXCLUSIVE")
        for answer in (shop.post(PATH, json=order("10")), shop.post("/v1/orders/10/outcomes", json=TOLD)):
            assert str(path) not in problem(answer, 503, "order-journal-unavailable")["detail"]
            assert answer.headers["retry-after"] == "1"
    assert UNWRITTEN._value.get() == before + 2
    (told,) = (line for line in caplog.messages if line.startswith("Orders at the checkout are turned away"))
    assert "locked" in told
    assert judged(shop, "10")["features"]["orders_before"] == 1
    assert "taken again" in caplog.text
    assert judged(shop, "11", 1)["features"]["orders_before"] == 2, "it counts from when it was kept"


@pytest.mark.parametrize("statement", ["INSERT", "COMMIT"])
def test_what_a_full_disk_keeps_out_of_the_journal_does_not_count(
    shop: httpx.Client, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    class Full(sqlite3.Connection):
        def execute(self, sql: str, *given: Any) -> sqlite3.Cursor:
            if is_full and sql.startswith(statement):
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(sql, *given)

    is_full = False
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **more: connect(*given, factory=Full, **more))
    judged(shop, "10")
    is_full = True
    problem(shop.post(PATH, json=order("11", 1)), 503, "order-journal-unavailable")
    problem(shop.post("/v1/orders/10/outcomes", json=TOLD), 503, "order-journal-unavailable")
    is_full = False
    features = judged(shop, "12", 2)["features"]
    assert (features["orders_before"], features["declined_7d"]) == (2, 0)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"placed_at": "2025-12-31T23:59:59Z"}, "/placed_at"),
        ({"placed_at": "2026-01-01T00:00:00"}, "/placed_at"),
        ({"placed_at": 1767312930}, "/placed_at"),
        ({"placed_at": "1767312930"}, "/placed_at"),
        ({"customer": {"registered_at": 0}}, "/customer/registered_at"),
        ({"discount_amount": "1"}, "/discount_amount"),
        ({"shipping_amount": True}, "/shipping_amount"),
        ({"lines": [{"product_id": "tea", "quantity": "2", "unit_price": 1}]}, "/lines/0/quantity"),
        ({"lines": [{"product_id": "tea", "quantity": 2, "unit_price": "1"}]}, "/lines/0/unit_price"),
        ({"lines": [{"product_id": 7, "quantity": 2, "unit_price": 1}]}, "/lines/0/product_id"),
        ({"customer_id": "  "}, "/customer_id"),
        ({"card": "\t"}, "/card"),
        ({"discount_amount": 21}, "/discount_amount"),
        ({"discount_amount": -1}, "/discount_amount"),
        ({"lines": []}, "/lines"),
        ({"lines": [{"product_id": "tea", "quantity": 100_000, "unit_price": 9_999_999_999.9999}] * 500}, "/lines"),
        ({"lines": [{"product_id": "tea", "quantity": 1, "unit_price": 5_000_000_000}] * 2}, "/lines"),
        ({"lines": [{"product_id": "tea", "quantity": 0, "unit_price": 1}]}, "/lines/0/quantity"),
        ({"lines": [{"product_id": "tea", "quantity": 1, "unit_price": 1, "price": 2}]}, "/lines/0/price"),
        ({"shipping_amount": float("nan")}, ""),
        ({"customer": {"address_token": "Long Lane 1"}}, "/customer/address_token"),
        ({"email": "a@example.org"}, "/email"),
    ],
)
def test_an_order_that_is_none_is_refused_and_does_not_count(
    shop: httpx.Client, change: dict[str, Any], where: str
) -> None:
    body = json.dumps(order("10", **change))
    answer = shop.post(PATH, content=body, headers={"content-type": "application/json"})
    assert [part["pointer"] for part in problem(answer, 422, "invalid-request")["errors"]] == [where]
    assert judged(shop, "11", 1)["features"]["orders_before"] == 1


@pytest.fixture
def clocked(released: tuple[Settings, Manifest]) -> Iterator[httpx.Client]:
    """The service of the release at noon of its day."""
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    with serving(create_app(released[0], clock=lambda: noon)) as client:
        yield client


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"placed_at": "2026-01-02T12:00:01Z"}, "/placed_at"),
        ({"placed_at": "2999-01-01T00:00:00Z"}, "/placed_at"),
        ({"customer": {"registered_at": "2026-01-02T12:00:01Z"}}, "/customer/registered_at"),
    ],
)
def test_an_order_of_a_day_that_has_not_come_is_refused(
    clocked: httpx.Client, change: dict[str, Any], where: str
) -> None:
    answer = clocked.post(PATH, json=order("10", **change))
    (part,) = problem(answer, 422, "invalid-request")["errors"]
    assert part["pointer"] == where
    assert "2026-01-02 12:00:00+00:00" in part["detail"]
    assert judged(clocked, "11", placed_at="2026-01-02T12:00:00Z")["features"]["orders_before"] == 1


def test_an_outcome_of_a_day_that_has_not_come_is_refused(clocked: httpx.Client) -> None:
    judged(clocked, "10")
    told = {"outcome": "charged_back", "at": "2026-01-02T12:00:01Z"}
    (part,) = problem(clocked.post("/v1/orders/10/outcomes", json=told), 422, "invalid-request")["errors"]
    assert part["pointer"] == "/at"
    assert clocked.post("/v1/orders/10/outcomes", json={**told, "at": "2026-01-02T12:00:00Z"}).json()["counted"]


def test_the_days_of_a_shop_that_is_ahead_of_the_clock_are_its_releases(released: tuple[Settings, Manifest]) -> None:
    before = datetime(2025, 6, 1, tzinfo=UTC)
    with serving(create_app(released[0], clock=lambda: before)) as client:
        judged(client, "10", placed_at="2026-01-02T00:00:00Z")
        problem(client.post(PATH, json=order("11", placed_at="2026-01-02T00:00:01Z")), 422, "invalid-request")


def test_what_is_newer_than_the_release_may_be_told(shop: httpx.Client) -> None:
    told = {
        "registered_at": "2026-01-01T00:00:00Z",
        "address_token": "00000000000000aa",
        "city": "Wien",
        "country": "AT",
    }
    features = judged(shop, "10", 30, customer_id="new", card=None, customer=told)["features"]
    assert (features["registered_hours"], features["is_sent_elsewhere"], features["is_by_card"]) == (0.5, 1, 0)
    assert judged(shop, "11", 31, customer_id="B", customer=told)["features"]["address_others"] == 1


def test_a_city_that_nobody_tells_is_not_another_city(shop: httpx.Client) -> None:
    """As training has it: an order without a city is sent nowhere else than within the customer's country."""
    nowhere = [judged(shop, f"1{blank}", ship_city=blank)["features"]["is_sent_elsewhere"] for blank in (None, "")]
    assert nowhere == [None, None]
    unfiled = judged(shop, "12", customer_id="new", customer={"city": "", "country": "AT"})
    assert unfiled["features"]["is_sent_elsewhere"] is None
    assert judged(shop, "13", ship_city=None, ship_country="DE")["features"]["is_sent_elsewhere"] == 1


def test_a_release_without_a_history_says_so(tmp_path: Path) -> None:
    older = Settings(home=tmp_path)
    publish(older, replaced={**judging_files(), ORDER_HISTORY: None})
    with service(older) as client:
        assert "no history of orders" in problem(client.post(PATH, json=order("1")), 404, "no-order-history")["detail"]
    publish(older, replaced={ORDER_HISTORY: history_file()})
    with service(older) as client:
        detail = problem(client.post(PATH, json=order("1")), 404, "no-checkout-model")["detail"]
        assert "takes mean_gap_days, is_opted_in, which no order has" in detail


@pytest.mark.parametrize("length", [0, 400])
def test_a_release_whose_history_is_damaged_is_not_served(tmp_path: Path, length: int) -> None:
    damaged = Settings(home=tmp_path)
    publish(damaged, replaced={**judging_files(), ORDER_HISTORY: history_file()[:length]})
    with service(damaged) as client:
        assert ORDER_HISTORY in problem(client.get("/ready"), 503, "no-release")["detail"]


@checking(max_examples=60)
@given(
    body=st.dictionaries(
        st.sampled_from([*order("1"), "customer", "discount_amount", "network"]),
        st.none() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=2),
        max_size=4,
    )
)
def test_no_json_makes_the_checkout_fail(judging: httpx.Client, body: dict[str, Any]) -> None:
    content = json.dumps({**order("any"), **body})
    answer = judging.post(PATH, content=content, headers={"content-type": "application/json"})
    assert answer.status_code in {200, 422}, answer.text


@pytest.fixture(scope="module")
def judging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = Settings(home=tmp_path_factory.mktemp("judging"))
    publish(settings, replaced=judging_files())
    with service(settings) as client:
        yield client


def test_the_home_and_the_release_hold_nobodys_id_card_device_or_address(released: tuple[Settings, Manifest]) -> None:
    with service(released[0]) as client:
        judged(
            client, "order-of-anna", customer_id="anna-4711", card="card-4711", device="dev-4711", network="10.9.8.7"
        )
    content = b"".join(path.read_bytes() for path in released[0].home.rglob("*") if path.is_file())
    assert b"A street" not in content
    for plain in (b"order-of-anna", b"anna-4711", b"card-4711", b"dev-4711", b"10.9.8.7", b"device of"):
        assert plain not in content
