"""What does taking events cost: single ones from many clients, batches of a thousand, and reading the log again?

A service of one process on the loopback, in a home of its own. Each result is a line of JSON; beside it stands what one
sync of the same disk takes, since nothing is acknowledged before one.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from cartograph.events import SegmentWriter
from cartograph.settings import Settings
from cartograph.windows import Window
from ecom_assets.sources.event_log import EventLogReader
from tests.api.making import service

START = datetime(2024, 1, 1, tzinfo=UTC)
SPAN = Window(START, datetime(2026, 1, 1, tzinfo=UTC))
CLIENTS, REQUESTS = 32, 1_000
BATCHES, BATCH = 50, 1_000
LOG_EVENTS = 300_000


def event(number: int) -> dict[str, str]:
    """A product view."""
    at = START + timedelta(seconds=number % 60_000_000)
    return {
        "event_id": f"e{number:08}",
        "occurred_at": at.isoformat(),
        "received_at": (at + timedelta(seconds=1)).isoformat(),
        "event_type": "product_view",
        "visitor_id": f"v{number % 1000}",
        "product_id": f"P{number % 500:08}",
    }


async def post(url: str, bodies: Iterator[bytes], clients: int) -> list[float]:
    """Send all bodies from so many clients at once; the seconds that each answer took."""
    took: list[float] = []

    async def one(client: httpx.AsyncClient) -> None:
        for body in bodies:
            began = time.perf_counter()
            response = await client.post("/v1/events", content=body, headers={"content-type": "application/json"})
            took.append(time.perf_counter() - began)
            response.raise_for_status()

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
        await asyncio.gather(*(one(client) for _ in range(clients)))
    return took


def told(question: str, events: int, seconds: float, took: list[float], **more: float) -> None:
    """Print a result."""
    ranked = sorted(took)
    figures = {"events_per_second": round(events / seconds)} | {
        f"{name}_ms": round(1000 * ranked[int(share * (len(ranked) - 1))], 1)
        for name, share in (("median", 0.5), ("p99", 0.99))
    }
    print(json.dumps({"question": question, "events": events, **figures, **more}))


def body(first: int, size: int) -> bytes:
    """A request's body."""
    return json.dumps({"events": [event(number) for number in range(first, first + size)]}).encode()


def sync_ms(folder: Path) -> float:
    """What a small write and its sync take, in milliseconds: the median of 20."""

    def once() -> None:
        os.write(file, b"x" * 200)
        os.fsync(file)

    file = os.open(folder / "sync", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        return round(1000 * statistics.median(timed(once) for _ in range(20)), 2)
    finally:
        os.close(file)


def timed(work: Callable[[], object]) -> float:
    """The seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextmanager
def home() -> Iterator[Path]:
    """A folder for a while."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> None:
    """Print the results."""
    with home() as folder, service(Settings(home=folder)) as client:
        url = str(client.base_url)
        client.post("/v1/events", content=body(90_000_000, 1), headers={"content-type": "application/json"})
        for question, requests, size, clients in (
            ("single events, one client", 100, 1, 1),
            ("single events, many clients", REQUESTS, 1, CLIENTS),
            ("batches of 1,000", BATCHES, BATCH, 2),
        ):
            base = clients * 1_000_000
            bodies = [body(base + number * size, size) for number in range(requests)]
            began = time.perf_counter()
            took = asyncio.run(post(url, iter(bodies), clients))
            told(question, requests * size, time.perf_counter() - began, took, sync_ms=sync_ms(folder))
    with home() as folder:
        writer = SegmentWriter(folder)
        for first in range(0, LOG_EVENTS, 10_000):
            writer.append([event(number) for number in range(first, first + 10_000)], START)
        reader = EventLogReader(folder, SPAN)
        seconds = timed(lambda: list(reader.deliveries("events", [SPAN])))
        told("reading the log", LOG_EVENTS, seconds, [seconds])


if __name__ == "__main__":
    main()
