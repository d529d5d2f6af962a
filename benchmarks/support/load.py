"""A load client of one process: closed loops that keep a service as busy as it can be, and an open loop at a rate.

Requests are bytes that were made before, answers are parsed by httptools and dropped: a client that costs little beside
the service. It takes HTTP/1.1 with keep-alive, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import httptools
import numpy as np
import uvloop

PATIENCE_SECONDS = 60.0
"""How long an open loop waits for its last answers."""


class LoadError(RuntimeError):
    """The service gave another answer than 2xx, or closed the connection: what was measured is no measurement."""


class Latencies(NamedTuple):
    """Of an open loop: from the moment at which a request was due to the end of its answer, in milliseconds."""

    p50: float
    p99: float
    count: int


def request(
    method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None, host: str = "127.0.0.1"
) -> bytes:
    """A request as it is sent; `body` is sent as JSON."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", *(f"{name}: {of}" for name, of in (headers or {}).items())]
    if content:
        lines += ["content-type: application/json", f"content-length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


def saturate(port: int, requests: Sequence[bytes], seconds: float, connections: int) -> float:
    """Requests answered per second, when on each of the `connections` one follows the answer to the other.

    Raises:
        LoadError: an answer was not 2xx.
    """
    return uvloop.run(_saturate(port, requests, seconds, connections))


def at_rate(port: int, requests: Sequence[bytes], rate: float, seconds: float, connections: int) -> Latencies:
    """The latencies of requests that are due `rate` times a second, whether earlier ones are answered or not.

    What waits for one of the `connections` has begun to wait when it was due, so a service that stalls is not spared
    the requests that it did not see.

    Raises:
        LoadError: an answer was not 2xx, or some were not answered a minute after the last was due.
    """
    return uvloop.run(_at_rate(port, requests, rate, seconds, connections))


class _Connection(asyncio.Protocol):
    """One connection with one request on it at a time; `answered` is called after each answer."""

    def __init__(self) -> None:
        self.answered = lambda: None
        self.failure: str | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)  # uvloop's is none of asyncio's classes

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio gives it
        self._end("the service closed the connection")

    def on_body(self, body: bytes) -> None:
        """What httptools calls for a part of a body: a wrong answer is quoted."""
        self._body = body

    def on_message_complete(self) -> None:
        """What httptools calls at the end of an answer."""
        status = self._parser.get_status_code()
        if not 200 <= status < 300:
            self._end(f"the service answered {status}: {self._body[:500]!r}")
        else:
            self.answered()

    def _end(self, failure: str) -> None:
        self.failure = self.failure or failure
        self.answered()


async def _opened(port: int, count: int) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(_Connection, "127.0.0.1", port))[1] for _ in range(count)]


def _closed(connections: Sequence[_Connection]) -> None:
    for connection in connections:
        connection.answered = lambda: None
        connection.transport.close()


async def _saturate(port: int, requests: Sequence[bytes], seconds: float, count: int) -> float:
    connections = await _opened(port, count)
    done = asyncio.get_running_loop().create_future()
    answers, until = 0, time.perf_counter() + seconds

    def follow(connection: _Connection) -> None:
        nonlocal answers
        if connection.failure and not done.done():
            done.set_exception(LoadError(connection.failure))
        if done.done():
            return
        answers += 1
        if time.perf_counter() < until:
            connection.transport.write(requests[answers % len(requests)])
        else:
            done.set_result(None)

    began = time.perf_counter()
    for at, connection in enumerate(connections):
        connection.answered = lambda connection=connection: follow(connection)
        connection.transport.write(requests[at % len(requests)])
    try:
        await done
    finally:
        _closed(connections)
    return answers / (time.perf_counter() - began)


async def _at_rate(port: int, requests: Sequence[bytes], rate: float, seconds: float, count: int) -> Latencies:
    connections = await _opened(port, count)
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    idle, waiting = deque(connections), deque[float]()
    total = max(round(rate * seconds), 1)
    took: list[float] = []
    began = time.perf_counter() + 0.05

    def send() -> None:
        while waiting and idle:
            connection, due = idle.popleft(), waiting.popleft()
            connection.answered = lambda connection=connection, due=due: follow(connection, due)
            connection.transport.write(requests[len(took) % len(requests)])

    def follow(connection: _Connection, due: float) -> None:
        if connection.failure and not done.done():
            done.set_exception(LoadError(connection.failure))
        if done.done():
            return
        took.append(time.perf_counter() - due)
        idle.append(connection)
        if len(took) == total:
            done.set_result(None)
        send()

    async def schedule() -> None:
        for at in range(total):
            due = began + at / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            waiting.append(due)
            send()

    scheduling = asyncio.create_task(schedule())
    try:
        await asyncio.wait_for(done, seconds + PATIENCE_SECONDS)
    except TimeoutError:
        raise LoadError(f"{total - len(took)} of {total} requests were not answered") from None
    finally:
        scheduling.cancel()
        _closed(connections)
    p50, p99 = np.quantile(np.array(took) * 1000, [0.5, 0.99])
    return Latencies(float(p50), float(p99), len(took))
