"""What attackers send: it ends in a problem or an ended connection, never in a fault, and never reaches anything."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest
from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from api.connections import MAX_HEADER_BYTES, BoundedProtocol
from api.guard import MAX_BODY_BYTES
from api.main import create_app
from cartograph.keys import KeyStore
from cartograph.settings import Settings
from tests.api.making import problem, publish, service, serving

JSON = {"Content-Type": "application/json"}
TEXTS = (
    "' OR '1'='1",
    "'; DROP TABLE customers; --",
    '" UNION SELECT * FROM read_csv("/etc/passwd") --',
    "$(cat /etc/passwd)",
    "{{7*7}}",
    "<script>alert(1)</script>",
    "%0d%0aSet-Cookie:a=b",
    "C0001%00",
    "\u202e\ufeff\u0000",
    "😀" * 30,
)
PATHS = (
    "/v1/models/..%2f..%2f..%2fetc/card",
    "/v1/models/%2e%2e/%2e%2e/card",
    "/v1/models/churn_classifier/..%2fcard.svg",
    "/v1/models/..%5c..%5cwindows/card",
    "/v1/causal/effects/..%2f..%2fmanifest/a.svg",
    "/static-offline-docs/..%2f..%2f..%2f..%2f..%2fetc/passwd",
    "/static-offline-docs/%2e%2e/%2e%2e/main.py",
    "/v1/../health/../v1/release",
    "//v1/release",
    "/dbt-docs/../keys.db",
)


class Impatient(BoundedProtocol):
    """Waits no longer than a test does."""

    header_seconds = drain_seconds = 0.2


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = Settings(home=tmp_path_factory.mktemp("impatient"), api_timeout_seconds=0.2)
    publish(settings)
    with serving(create_app(settings), Impatient) as client:
        yield client


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service that asks for keys and answers by any name, asked with one."""
    settings = Settings(home=tmp_path_factory.mktemp("keyed"), env="production")
    publish(settings)
    _, key = KeyStore(settings.keys_path).create("crm", ["read"], now=datetime.now(UTC), days=1)
    with service(settings) as client:
        client.headers["X-API-Key"] = key
        yield client


def connect(client: httpx.Client) -> socket.socket:
    address = urlsplit(str(client.base_url))
    return socket.create_connection((address.hostname, address.port), timeout=30)


def said(connection: socket.socket) -> bytes:
    """All that comes until the service ends the connection; a test that waits for ever fails by its timeout."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def sent(client: httpx.Client, raw: bytes) -> bytes:
    """What the service says to these bytes, and ends the connection."""
    with connect(client) as connection:
        connection.sendall(raw)
        return said(connection)


def ask(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([*lines, b"", body])


@pytest.mark.parametrize("text", TEXTS)
def test_texts_that_are_code_elsewhere_are_plain_texts_here(client: httpx.Client, text: str) -> None:
    quoted = quote(text, safe="")
    for path in (f"/v1/customers/{quoted}", f"/v1/products/{quoted}/similar", f"/v1/causal/effects/{quoted}"):
        found = client.get(path)
        assert found.status_code in {404, 422}, (path, found.text)
        assert "root:" not in found.text
    for url, body in {"/v1/predict/churn": {"features": {text: text}}, "/v1/orders/risk": {text: text}}.items():
        found = client.post(url, content=json.dumps(body), headers=JSON)
        assert found.status_code in {404, 422}, (url, found.text)
        assert "set-cookie" not in found.headers
    session = client.post("/v1/recommendations/session", content=json.dumps({"products": [text]}), headers=JSON)
    assert session.raise_for_status().json()["unknown_products"] == [text]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leaves_the_release(client: httpx.Client, path: str) -> None:
    answer = sent(client, ask(b"GET " + path.encode() + b" HTTP/1.1", b"Host: localhost", b"Connection: close"))
    assert answer.split()[1] in {b"404", b"422"}, answer
    for leaked in (b"root:", b"def create_app", b"SQLite format"):
        assert leaked not in answer


def test_a_body_that_is_too_long_is_not_read(client: httpx.Client) -> None:
    for url in ("/v1/predict/churn", "/v1/recommendations/session"):
        start = (f"POST {url} HTTP/1.1".encode(), b"Host: localhost", b"Content-Type: application/json")
        refused = sent(client, ask(*start, b"Content-Length: 1000000000000", body=b"{"))
        assert refused.startswith(b"HTTP/1.1 413 ")
        assert b"urn:cartograph:problem:body-too-large" in refused
        unannounced = client.post(url, content=iter([b" " * 1024] * (MAX_BODY_BYTES // 1024 + 1)), headers=JSON)
        problem(unannounced, 413, "body-too-large")


@pytest.mark.parametrize(
    "body", [b"[" * MAX_BODY_BYTES, b'{"features":' * 5000, b'{"features": {"recency_days": NaN}}', b"\xff\xfe{\0}\0"]
)
def test_a_body_that_harms_parsers_is_not_parsed(client: httpx.Client, body: bytes) -> None:
    told = problem(client.post("/v1/predict/churn", content=body, headers=JSON), 422, "invalid-request")
    assert told["errors"][0]["detail"].startswith("The body ")


def test_numbers_beyond_all_bounds_are_refused(client: httpx.Client) -> None:
    for number in ("1e999", "-1e999", "9" * 400, "9" * 5000):
        body = f'{{"features": {{"recency_days": {number}, "mean_gap_days": 1.0, "is_opted_in": true}}}}'
        assert client.post("/v1/predict/churn", content=body, headers=JSON).status_code in {400, 422}, number


LENGTH = b"Content-Length: 2"
CHUNKED = b"Transfer-Encoding: chunked"
SMUGGLED = {
    "a length in two ways": [LENGTH, CHUNKED],
    "two lengths": [LENGTH, b"Content-Length: 3"],
    "the same length twice": [LENGTH, LENGTH],
    "a list of lengths": [b"Content-Length: 2, 2"],
    "a length that is no number": [b"Content-Length: +2"],
    "a negative length": [b"Content-Length: -1"],
    "two codings": [CHUNKED, b"Transfer-Encoding: identity"],
    "a list of codings": [b"Transfer-Encoding: chunked, identity"],
    "an unknown coding": [b"Transfer-Encoding: xchunked"],
    "a coding with a tab": [b"Transfer-Encoding:\tchunked\x0b"],
    "a space before the colon": [b"Content-Length : 2"],
    "a line that goes on": [b"X-A: b", b" Content-Length: 2"],
    "two hosts": [b"Host: evil.example"],
    "a NUL": [b"X-A: a\0b"],
    "a bare CR": [b"X-A: a\rX-B: b"],
}


@pytest.mark.parametrize("headers", SMUGGLED.values(), ids=SMUGGLED.keys())
def test_a_header_that_can_be_read_in_two_ways_ends_the_connection(client: httpx.Client, headers: list[bytes]) -> None:
    """None of what comes after it is taken for a request: that one would be somebody else's."""
    host = b"Host: " + urlsplit(str(client.base_url)).netloc.encode()
    smuggled = ask(b"GET /v1/release HTTP/1.1", host, b"Connection: close")
    raw = ask(b"POST /v1/predict/churn HTTP/1.1", host, b"Content-Type: application/json", *headers, body=b"0\r\n\r\n")
    answer = sent(client, raw + smuggled)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"release_id" not in answer


@pytest.mark.parametrize("host", [b"[", b"[evil", b"a b", b"", b"evil.example:port", b"\xff\xfe", b"/@?#"])
def test_a_host_that_is_no_name_ends_in_no_fault(keyed: httpx.Client, client: httpx.Client, host: bytes) -> None:
    """Neither where each name is answered, nor where only the machine's own is; nor is an answer made of it."""
    key = b"X-API-Key: " + keyed.headers["X-API-Key"].encode()
    for path in (b"/v1/nothing", b"/health/", b"/v1/customers?limit=x", b"/docs/", b"/openapi.json"):
        for asked in (keyed, client):
            raw = ask(b"GET " + path + b" HTTP/1.1", b"Host: " + host, key, b"Connection: close")
            answer = sent(asked, raw)
            assert answer.split()[1] in {b"200", b"404", b"421", b"422"}, answer
            assert b"location:" not in answer.lower()


def test_a_request_without_a_host_is_none_but_of_an_old_client(keyed: httpx.Client) -> None:
    assert sent(keyed, ask(b"GET /health HTTP/1.1")).startswith(b"HTTP/1.1 400 ")
    assert sent(keyed, ask(b"GET /health HTTP/1.0")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("wish", [b"h2c", b"websocket", b"foo/2"])
@pytest.mark.parametrize("is_chunked", [True, False])
@pytest.mark.parametrize("waits", [True, False])
def test_a_wish_for_another_protocol_is_ignored_and_the_body_is_no_request(
    client: httpx.Client, wish: bytes, is_chunked: bool, waits: bool
) -> None:
    """With the header the body was lost, after it it was answered: to whom a proxy's connection belonged by then."""
    host = b"Host: " + urlsplit(str(client.base_url)).netloc.encode()
    body = ask(b"GET /v1/release HTTP/1.1", host, b"Connection: close")
    headers = [host, b"Connection: keep-alive, Upgrade, HTTP2-Settings", b"Upgrade: " + wish]
    headers += [b"Content-Type: application/json", *([b"Expect: 100-continue"] if waits else [])]
    if is_chunked:
        head, body = [*headers, b"Transfer-Encoding: chunked"], b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        head = [*headers, b"Content-Length: %d" % len(body)]
    last = ask(b"GET /health HTTP/1.1", host, b"Connection: close")
    raw = [ask(b"POST /v1/predict/churn HTTP/1.1", *head), body + last]
    with connect(client) as connection:
        if waits:
            connection.sendall(raw.pop(0))
            assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"".join(raw))
        answer = said(connection)
    assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"422", b"200"], answer
    assert b"release_id" not in answer


def test_a_body_after_a_wish_for_another_protocol_is_read(client: httpx.Client) -> None:
    features = {"recency_days": 200, "mean_gap_days": 12.5, "is_opted_in": True}
    wish = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQ"}
    plain = client.post("/v1/predict/churn", json={"features": features}).raise_for_status()
    assert client.post("/v1/predict/churn", json={"features": features}, headers=wish).json() == plain.json()


def test_a_tunnel_is_no_request(client: httpx.Client) -> None:
    answer = sent(
        client, b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n" + ask(b"GET /health HTTP/1.1")
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_nobody_is_led_elsewhere_by_a_slash_too_many(client: httpx.Client) -> None:
    for path in ("/health/", "/v1/customers/", "/docs/", "/v1/admin/releases/", "/static-offline-docs"):
        answer = client.get(path)
        problem(answer, 404)
        assert "location" not in answer.headers


def test_what_is_no_request_is_told_so_in_a_problem(client: httpx.Client) -> None:
    for raw in (b"nonsense\r\n\r\n", ask(b"GET /health HTTP/9.9"), ask(b"GET /health HTTP/1.1", b"X : a", b"Host: a")):
        head, _, body = sent(client, raw).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"content-type: application/problem+json" in head
        assert b"x-content-type-options: nosniff" in head
        assert b"connection: close" in head
        assert b"server:" not in head
        told = json.loads(body)
        assert (told["type"], told["status"]) == ("urn:cartograph:problem:malformed-request", 400)
        assert told["detail"] == "Invalid HTTP request received."


def test_a_chunked_body_is_one_body(client: httpx.Client) -> None:
    host = b"Host: " + urlsplit(str(client.base_url)).netloc.encode()
    start = (b"POST /v1/predict/churn HTTP/1.1", host, b"Content-Type: application/json", CHUNKED)
    assert sent(client, ask(*start, b"Connection: close", body=b"2\r\n{}\r\n0\r\n\r\n")).startswith(b"HTTP/1.1 422 ")
    assert sent(client, ask(*start, body=b"2g\r\n{}\r\n0\r\n\r\n")).startswith(b"HTTP/1.1 4")


def test_a_header_that_is_too_long_ends_the_connection(client: httpx.Client) -> None:
    host = b"Host: " + urlsplit(str(client.base_url)).netloc.encode()
    long = MAX_HEADER_BYTES + 1
    for raw in (
        ask(b"GET /" + b"a" * long + b" HTTP/1.1", host),
        ask(b"GET /health HTTP/1.1", host, b"X-A: " + b"a" * long),
        ask(b"GET /health HTTP/1.1", host, *[b"X-%d: a" % n for n in range(5000)]),
        b"GET /health HTTP/1.1\r\nX-A: " + b"a" * long * 8,
    ):
        assert sent(client, raw).startswith(b"HTTP/1.1 400 ")


def test_long_headers_within_bounds_pass_one_request_after_another(client: httpx.Client) -> None:
    for _ in range(4):
        assert client.get("/health", headers={"X-A": "a" * (MAX_HEADER_BYTES // 2)}).status_code == 200


SLOW = {
    "nothing at all": b"",
    "a part of a line": b"GET /hea",
    "a header without its end": b"GET /health HTTP/1.1\r\nHost: localhost\r\n",
    "empty lines": b"\r\n\r\n",
}


@pytest.mark.parametrize("begun", SLOW.values(), ids=SLOW.keys())
def test_a_connection_whose_header_does_not_come_is_ended(impatient: httpx.Client, begun: bytes) -> None:
    assert sent(impatient, begun) == b""


@pytest.mark.parametrize("begun", [b"GET /hea", b"\r\n"])
def test_so_is_one_whose_next_header_does_not_come(impatient: httpx.Client, begun: bytes) -> None:
    answer = sent(impatient, ask(b"GET /health HTTP/1.1", b"Host: localhost") + begun)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_header_that_dribbles_in_is_not_waited_for_longer(impatient: httpx.Client) -> None:
    """Each byte that comes is no reason to wait anew: the connection ends although there is always one more."""
    with connect(impatient) as connection:
        connection.settimeout(0.02)
        ended = False
        for _ in range(2000):
            try:
                connection.sendall(b"a")
                ended = connection.recv(1) == b""
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                ended = True
            if ended:
                break
    assert ended


def test_a_body_that_does_not_come_is_a_problem_and_ends_the_connection(impatient: httpx.Client) -> None:
    start = (b"POST /v1/predict/churn HTTP/1.1", b"Host: localhost", b"Content-Type: application/json")
    for body in (ask(*start, b"Content-Length: 10", body=b"{"), ask(*start, CHUNKED, body=b"1\r\n{\r\n")):
        answer = sent(impatient, body)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"urn:cartograph:problem:slow-request" in answer


def test_an_answer_that_takes_too_long_is_a_problem(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, api_timeout_seconds=0.2)
    app, router = create_app(settings), APIRouter()
    stopped = []

    @router.get("/v1/endless")
    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(True)

    app.include_router(router)
    with serving(app) as client:
        assert "Ask for less" in problem(client.get("/v1/endless"), 503, "slow-answer")["detail"]
    assert stopped == [True]


def test_a_client_that_does_not_read_is_left(tmp_path: Path) -> None:
    app, router, left = create_app(Settings(home=tmp_path, api_timeout_seconds=600)), APIRouter(), threading.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"a" * 65536
                await asyncio.sleep(0)  # or the loop never hears that the connection has ended
        finally:
            left.set()

    @router.get("/v1/endless")
    async def download() -> StreamingResponse:
        return StreamingResponse(endless())

    app.include_router(router)
    with serving(app, Impatient) as client, connect(client) as connection:
        connection.sendall(ask(b"GET /v1/endless HTTP/1.1", b"Host: localhost"))
        assert left.wait(60)


def test_the_connection_is_kept_where_nothing_is_wrong(tmp_path: Path) -> None:
    with service(Settings(home=tmp_path)) as client, connect(client) as connection:
        for _ in range(3):
            connection.sendall(ask(b"GET /health HTTP/1.1", b"Host: localhost"))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
