"""What a request leaves behind: its id, its line in the log, and nothing of whom it was about."""

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from api.observability import logs
from api.observability.logs import REQUEST_ID, configure, formatter, tell_request
from api.observability.metrics import REQUESTS, UNMATCHED
from api.observability.watching import Watching, given_or_new
from cartograph.settings import Settings
from tests.api.making import publish, service

NEW = re.compile(r"[0-9a-f]{32}")


@contextmanager
def logged(level: int = logging.INFO) -> Iterator[io.StringIO]:
    """What is logged within the block, as the service's process would write it."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter(for_people=False))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    loggers = [logging.getLogger(name) for name in ("uvicorn", "uvicorn.error")]
    kept = [(one, one.handlers, one.propagate, one.level) for one in loggers]
    for one in loggers:  # as with `log_config=None`, which the tests' server does not have
        one.handlers, one.propagate = [], True
    try:
        yield out
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        for one, handlers, propagate, own in kept:
            one.handlers, one.propagate = handlers, propagate
            one.setLevel(own)


@contextmanager
def configured(settings: Settings) -> Iterator[io.StringIO]:
    """The logs of this process as those of the service's, within the block."""
    root, out = logging.getLogger(), io.StringIO()
    kept, level = root.handlers[:], root.level
    try:
        root.handlers = []
        configure(settings, out)
        yield out
    finally:
        root.handlers = kept
        root.setLevel(level)
        logs._lines.out = None


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def requests(out: io.StringIO) -> list[dict[str, Any]]:
    return [line for line in lines(out) if line["logger"] == "api.requests"]


@pytest.mark.parametrize("path", ["/health", "/v1/customers/C0001", "/v1/customers/nobody", "/nothing"])
def test_each_answer_has_an_id_of_its_own(client: httpx.Client, path: str) -> None:
    ids = {client.get(path).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(NEW.fullmatch(one) for one in ids)


def test_the_callers_id_is_kept_where_it_is_fit(client: httpx.Client) -> None:
    given_id = "checkout-7f3a.42_A"
    assert client.get("/health", headers={"X-Request-ID": given_id}).headers["x-request-id"] == given_id


@pytest.mark.parametrize(
    "unfit", ["", "short", "a" * 65, "with space 1", '{"level":"x"}', "jane@example.com", "../../etc/passwd", "é" * 9]
)
def test_an_unfit_id_is_replaced(client: httpx.Client, unfit: str) -> None:
    answer = client.get("/health", headers={"X-Request-ID": unfit.encode()})
    assert NEW.fullmatch(answer.headers["x-request-id"])


@given(st.binary(max_size=100))
def test_no_id_can_break_a_line_or_a_header(header: bytes) -> None:
    found = given_or_new({"headers": [(b"x-request-id", header)]})
    assert re.fullmatch(r"[A-Za-z0-9._-]{8,64}", found)


def test_a_request_is_logged_by_its_route_with_its_id(client: httpx.Client) -> None:
    with logged() as out:
        answer = client.get("/v1/customers/C0001")
        client.get("/health")
        client.get("/metrics")
    (line,) = requests(out)
    assert line.pop("duration_ms") > 0
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request",
        "level": "info",
        "logger": "api.requests",
        "method": "GET",
        "route": "/v1/customers/{customer_id}",
        "status": 200,
        "request_id": answer.headers["x-request-id"],
    }


@pytest.mark.parametrize("fails", [False, True])
def test_a_request_is_counted_once_before_the_last_of_its_answer_goes_out(*, fails: bool) -> None:
    """So whoever has an answer finds it counted."""
    counted, seen = REQUESTS.labels("GET", UNMATCHED, "203")._value, []
    before = counted.get()

    async def answering(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 203})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})
        if fails:
            raise ValueError

    async def send(_: Message) -> None:
        seen.append(counted.get() - before)

    async def receive() -> Message:
        return {"type": "http.request"}

    with suppress(ValueError):
        asyncio.run(Watching(answering)({"type": "http", "method": "GET", "headers": []}, receive, send))
    assert (seen, counted.get() - before) == ([0, 0, 1], 1)


def test_nothing_of_a_request_that_may_be_somebodys_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=tmp_path)
    publish(settings)

    def fails(_: object, customer_id: str) -> None:
        raise ValueError(f"no such row: {customer_id} with token s3cr3t-token") from KeyError("jane@example.com")

    monkeypatch.setattr("api.services.customers.Customers.find", fails)
    secrets = ("C-77-jane", "jane@example.com", "s3cr3t-token", "ctg_abc_topsecret", "555-0199", "192.0.2.7")
    headers = {
        "Connection": "close",
        "Authorization": "Bearer ctg_abc_topsecret",
        "X-Forwarded-For": "192.0.2.7",
        "Cookie": "s3cr3t-token",
    }
    with service(settings) as client, logged(logging.DEBUG) as out:
        failed = client.get("/v1/customers/C-77-jane", headers=headers)
        client.get("/v1/customers/C-77-jane?mail=jane@example.com", headers=headers)
        client.get("/v1/jane@example.com")
        client.post("/v1/predict/churn", json={"features": {"jane@example.com": "555-0199"}}, headers=headers)
        client.post("/v1/recommendations/session", content=b'{"products": ["555-0199', headers=headers)
    ours = "\n".join(text for text in out.getvalue().splitlines() if '"logger":"httpcore' not in text)
    ours = "\n".join(text for text in ours.splitlines() if '"logger":"httpx' not in text)  # the caller's own
    assert len(ours.splitlines()) >= 5
    assert [secret for secret in secrets if secret in ours] == []
    assert failed.status_code == 500
    (error,) = (json.loads(text) for text in ours.splitlines() if '"error":' in text)
    assert error["request_id"] == failed.headers["x-request-id"], "the answer leads to the line of the log"
    assert [one["type"] for one in error["error"]] == ["builtins.ValueError", "builtins.KeyError"]
    assert any("fails" in place for place in error["error"][0]["at"])


def test_what_libraries_log_is_json_too_and_goes_where_the_settings_say(tmp_path: Path) -> None:
    with configured(Settings(home=tmp_path, log_level="WARNING")) as out:
        logging.getLogger("some.library").warning("%s is low", "space")
        logging.getLogger("some.library").info("not told")
        tell_request(logging.INFO, {"route": "/not/told"})
    (line,) = lines(out)
    assert line["event"] == "space is low"
    assert (line["level"], line["logger"]) == ("warning", "some.library")


def test_the_line_of_a_request_is_the_same_whichever_way_it_is_written(tmp_path: Path) -> None:
    about = {"method": "GET", "route": '/v1/"x"/{y}', "status": 200, "duration_ms": 0.5}
    token = REQUEST_ID.set("an-id-of-ours")
    try:
        with logged() as by_logging:
            tell_request(logging.INFO, about)
        with configured(Settings(home=tmp_path)) as directly:
            tell_request(logging.INFO, about)
            tell_request(logging.DEBUG, about)
    finally:
        REQUEST_ID.reset(token)
    (first,), (second,) = lines(by_logging), lines(directly)
    assert first.keys() == second.keys()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", second.pop("timestamp"))
    first.pop("timestamp")
    assert first == second
    assert second["request_id"] == "an-id-of-ours"
