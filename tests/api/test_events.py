"""Events are held against their contract one by one, durable before the answer, and taken once."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.main import create_app
from api.observability.metrics import EVENTS as TOLD
from api.services.event_contract import hold
from api.services.event_log import BusyError, EventLog, NoEventLogError, Outcome, Rules, open_event_log
from cartograph.contracts import ARROW_TYPES
from cartograph.events import Event, LogUnavailableError, read, segments
from cartograph.settings import Settings
from cartograph.windows import Window
from ecom_assets.contracts.web import EVENTS
from tests.api.making import problem, service
from tests.unit.erasure.making import ADA, BROWSER, PSEUDONYM, erase_ada
from tests.unit.events.making import make_event

SHOP = Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
RULES = Rules(SHOP, timedelta(hours=48))
NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("events"))


@pytest.fixture(scope="module")
def taking(settings: Settings) -> Iterator[httpx.Client]:
    """A service without a release: it takes events nevertheless."""
    with service(settings) as client:
        yield client


def logged(settings: Settings) -> list[Event]:
    return [event for path in segments(settings.events_dir) for event in read(path).events]


def send(client: httpx.Client, *events: object) -> dict[str, Any]:
    response = client.post("/v1/events", json={"events": list(events)})
    assert response.status_code == 202, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_accepted_events_are_in_the_log_when_the_answer_comes(taking: httpx.Client, settings: Settings) -> None:
    sent = make_event("first-1", customer_id="C1"), make_event("first-2", occurred_at="2024-01-02T01:00:00+01:00")
    answer = send(taking, *sent)
    assert answer == {
        "accepted": 2,
        "repeated": 0,
        "refused": 0,
        "events": [{"event_id": event["event_id"], "status": "accepted"} for event in sent],
    }
    stored = {event["event_id"]: event for event in logged(settings)}
    assert stored["first-1"] == sent[0]
    assert stored["first-2"] == {**sent[1], "occurred_at": "2024-01-02T00:00:00+00:00"}


def test_a_wrong_event_holds_back_itself_only(taking: httpx.Client, settings: Settings) -> None:
    wrong: dict[str, object] = {
        "unknown_field": make_event("w1", colour="red"),
        "not_accepted:event_type": make_event("w2", event_type="clik"),
        "missing_value:visitor_id": make_event("w3", visitor_id=None),
        "wrong_type:visitor_id": {**make_event("w4"), "visitor_id": 5},
        "wrong_type:occurred_at": make_event("w5", occurred_at="2024-01-02"),
        "wrong_text:device": make_event("w6", device=""),
        "wrong_text:visitor_id": make_event("w16", visitor_id=" "),
        "wrong_text:event_id": make_event("  "),
        "wrong_text:channel": make_event("w7", channel="x" * 257),
        "wrong_text:product_id": make_event("w8", product_id="a\u0000b"),
        "purchase_has_order": make_event("w9", event_type="purchase"),
        "email_has_customer": make_event("w10", event_type="email_open"),
        "received_after_occurred": make_event("w11", received_at="2024-01-01T00:00:00Z"),
        "received_later": make_event("w12", received_at="9999-12-31T23:59:59Z"),
        "too_late": make_event("w13", received_at=None),
        "outside_shop_dates": make_event("w14", 800),
        "missing_value:event_id": {k: v for k, v in make_event("w15").items() if k != "event_id"},
    }
    answer = send(taking, make_event("good-1"), *wrong.values(), make_event("good-2"))
    assert (answer["accepted"], answer["refused"]) == (2, len(wrong))
    assert [event.get("reason") for event in answer["events"]] == [None, *wrong, None]
    assert all(event["detail"] for event in answer["events"][1:-1])
    ids = {event["event_id"] for event in logged(settings)}
    assert {"good-1", "good-2"} <= ids
    assert not any(name.startswith("w") for name in ids)


def test_what_json_cannot_say_is_refused(taking: httpx.Client) -> None:
    for value in ("NaN", "Infinity", '"\\ud800"'):
        for body in (f'[{{"event_id": "n1", "visitor_id": {value}}}]', f'[{{"event_id": {value}}}]'):
            content, kind = f'{{"events": {body}}}', {"content-type": "application/json"}
            response = taking.post("/v1/events", content=content, headers=kind)
            if value.startswith('"'):
                assert response.status_code == 202
                assert [event["status"] for event in response.json()["events"]] == ["refused"]
            else:
                problem(response, 422, "invalid-request")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"events": []},
        {"events": {}},
        {"events": [{}] * 1001},
        {"events": [{}], "more": 1},
        {"events": [{}, 5]},
        [],
        5,
    ],
)
def test_a_body_of_another_form_is_refused_as_a_whole(taking: httpx.Client, body: object) -> None:
    problem(taking.post("/v1/events", json=body), 422, "invalid-request")


def test_an_event_is_taken_once_however_often_it_is_sent(taking: httpx.Client, settings: Settings) -> None:
    event = make_event("again-1")
    assert send(taking, event, event)["events"][1]["status"] == "repeated"
    answer = send(taking, event, {**event, "device": "tablet"}, make_event("again-2"))
    assert [one["status"] for one in answer["events"]] == ["repeated", "repeated", "accepted"]
    assert [one for one in logged(settings) if one["event_id"] == "again-1"] == [event]


def test_what_repeats_a_refused_event_is_refused_and_may_be_mended(taking: httpx.Client) -> None:
    wrong = make_event("mended", event_type="clik")
    assert [one["status"] for one in send(taking, wrong, wrong)["events"]] == ["refused", "refused"]
    assert send(taking, make_event("mended"))["accepted"] == 1


def test_a_good_event_is_taken_behind_a_wrong_one_of_the_same_id(taking: httpx.Client, settings: Settings) -> None:
    wrong, good = make_event("twice", event_type="clik"), make_event("twice", 3)
    answer = send(taking, wrong, {**wrong, "colour": "red"}, good, make_event("twice", 2), wrong)
    assert [(one["status"], one.get("reason")) for one in answer["events"]] == [
        ("refused", "not_accepted:event_type"),
        ("refused", "unknown_field"),
        ("accepted", None),
        ("repeated", None),
        ("repeated", None),
    ]
    assert [one for one in logged(settings) if one["event_id"] == "twice"] == [good]


def test_requests_at_the_same_time_are_all_taken(taking: httpx.Client, settings: Settings) -> None:
    def post(number: int) -> int:
        events = [make_event(f"busy-{number}-{place}") for place in range(20)]
        return int(send(taking, *events, make_event("busy-shared"))["accepted"])

    with ThreadPoolExecutor(12) as pool:
        accepted = sum(pool.map(post, range(36)))
    assert accepted == 36 * 20 + 1
    ids = [event["event_id"] for event in logged(settings) if event["event_id"].startswith("busy")]
    assert len(ids) == len(set(ids)) == accepted


def not_taken() -> float:
    """The events that the metrics tell of as turned away for want of a log."""
    return float(TOLD.labels("unavailable")._value.get())


def test_on_a_full_disk_nothing_is_acknowledged_and_the_operator_is_told(
    taking: httpx.Client, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    caplog.set_level("WARNING", "uvicorn.error")
    before = not_taken()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for _ in range(3):
            response = taking.post("/v1/events", json={"events": [make_event("full-1"), make_event("full-2")]})
            detail = problem(response, 503, "event-log-unavailable")["detail"]
            assert "send it again" in detail
            assert str(settings.home) not in detail
            assert response.headers["retry-after"] == "1"
    assert not_taken() == before + 6
    assert "full-1" not in {event["event_id"] for event in logged(settings)}
    assert send(taking, make_event("full-1"))["accepted"] == 1
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1, "one line, however many requests are turned away"
    assert str(settings.events_dir) in errors[0]
    assert "No space left" in errors[0]
    assert "can be written again" in caplog.text


def test_an_erased_customer_does_not_come_back(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with service(settings) as client:
        send(client, make_event("before", customer_id="C2", visitor_id="v_2"))
        erase_ada(settings.shop_home / "erasures")
        send(client, make_event("theirs", customer_id=ADA), make_event("device", visitor_id=BROWSER))
        (settings.shop_home / "erasures" / "key").unlink()
        os.utime(settings.shop_home / "erasures" / "register.json", ns=(1, 1))
        problem(client.post("/v1/events", json={"events": [make_event("x")]}), 503, "event-log-unavailable")
    stored = {event["event_id"]: event for event in logged(settings)}
    assert set(stored) == {"before", "theirs", "device"}
    assert stored["theirs"]["customer_id"] == PSEUDONYM
    assert stored["theirs"]["visitor_id"].startswith("erased-")
    assert stored["device"]["visitor_id"].startswith("erased-")
    assert stored["before"]["visitor_id"] == "v_2"


def test_a_shop_that_loads_no_events_from_here_takes_none(tmp_path: Path) -> None:
    shop = "title: x\ncurrency: EUR\nstart: 2024-01-01\nsources: [{type: some.Source, datasets: [orders]}]\n"
    (tmp_path / "x.yaml").write_text(shop)
    settings = Settings(home=tmp_path / "home", shop="x", shops_dir=tmp_path)
    with service(settings) as client:
        found = problem(client.post("/v1/events", json={"events": [{}]}), 404, "no-event-log")
        assert "EventLogSource" in found["detail"]
    with pytest.raises(NoEventLogError, match="no shop 'y'"):
        open_event_log(Settings(home=tmp_path / "home", shop="y", shops_dir=tmp_path))


def test_the_document_tells_the_fields_of_an_event() -> None:
    schema = create_app(Settings()).openapi()["components"]["schemas"]["EventsRequest"]["properties"]["events"]
    assert list(schema["items"]["properties"]) == list(EVENTS.names)
    assert {column.type for column in EVENTS.columns} <= {"string", "timestamp"} <= set(ARROW_TYPES), (
        "event_contract reads texts and times only"
    )
    (example,) = schema["items"]["examples"]
    (verdict,) = hold([example], now=NOW, shop_window=SHOP, late_limit=RULES.late_limit)
    assert verdict.event is not None


class Sink:
    """A log in memory, which fails while `broken`."""

    def __init__(self) -> None:
        self.groups: list[list[Event]] = []
        self.broken = False

    def append(self, events: Sequence[Event], at: datetime) -> None:
        assert at == NOW
        if self.broken:
            raise LogUnavailableError("broken")
        self.groups.append(list(events))

    def size(self) -> int:
        return sum(map(len, self.groups))

    def close(self) -> None:
        self.groups.append([])


class Online:
    """What was told of events."""

    def __init__(self, *, fails: bool = False) -> None:
        self.told: list[object] = []
        self.fails = fails

    def apply(self, events: Sequence[Any]) -> None:
        self.told += [event["event_id"] for event in events]
        if self.fails:
            raise ValueError("online features are broken")


def statuses(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def test_requests_that_wait_are_written_together_and_one_that_repeats_after_them() -> None:
    async def scenario() -> tuple[list[list[str]], list[list[Event]]]:
        sink = Sink()
        log = EventLog(sink, RULES, clock=lambda: NOW)
        requests = [[make_event("a")], [make_event("b"), make_event("c")], [make_event("a"), make_event("d")]]
        waiting = [asyncio.create_task(log.submit(request)) for request in requests]
        await asyncio.sleep(0)  # each has submitted
        async with log.running():
            found = [statuses(outcomes) for outcomes in await asyncio.gather(*waiting)]
        return found, sink.groups

    found, groups = asyncio.run(scenario())
    assert found == [["accepted"], ["accepted", "accepted"], ["repeated", "accepted"]]
    assert [[event["event_id"] for event in group] for group in groups] == [["a", "b", "c"], ["d"], []]


def test_a_log_that_fails_fails_its_requests_and_forgets_their_events() -> None:
    async def scenario() -> None:
        sink, online = Sink(), Online()
        log = EventLog(sink, RULES, online=online, clock=lambda: NOW)
        async with log.running():
            sink.broken = True
            with pytest.raises(LogUnavailableError):
                await log.submit([make_event("a")])
            sink.broken = False
            assert statuses(await log.submit([make_event("a")])) == ["accepted"]
        assert online.told == ["a"]

    asyncio.run(scenario())


def test_more_than_can_wait_is_turned_away() -> None:
    async def scenario() -> None:
        log = EventLog(Sink(), RULES, clock=lambda: NOW)
        waiting = [asyncio.create_task(log.submit([{}] * 1000)) for _ in range(20)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="20,000 events wait"):
            await log.submit([{}])
        async with log.running():
            assert len(await asyncio.gather(*waiting)) == 20
            assert statuses(await log.submit([{}])) == ["refused"]

    asyncio.run(scenario())


def test_online_features_hear_of_what_is_durable_and_do_not_hold_it_up(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        online = Online(fails=True)
        log = EventLog(Sink(), RULES, online=online, clock=lambda: NOW)
        async with log.running():
            sent = make_event("mine"), make_event("bad", device=""), make_event("mine")
            assert statuses(await log.submit(sent)) == ["accepted", "refused", "repeated"]
            assert online.told == ["mine"]

    asyncio.run(scenario())
    assert "could not be applied" in caplog.text
