"""The service is killed while it takes events: each that it acknowledged is in the lake, once, and nothing else is.

And what it acknowledged is known to the service's other process, and to the next one from its first answer on. The
workers of a killed parent end.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import httpx

from cartograph.events import recover, segments
from cartograph.lake import Lake
from cartograph.settings import Settings
from cartograph.shops import load_shop
from cartograph.windows import windows
from ecom_assets.contracts import CONTRACTS
from ecom_assets.ingestion import Batch, load
from ecom_assets.sources.event_log import EventLogReader
from tests.api.making import publish
from tests.api.test_service import start
from tests.support.killed_service import KilledService, killed_service
from tests.unit.events.making import make_event

KILLS = 20
CLIENTS = 4
MOST_BEFORE_KILL = 8
"""Answers between a start and the next kill; while it comes, the other clients wait for theirs."""
LATE = timedelta(hours=48)
PRODUCTS = {1: "P03", 2: "P00"}


class Clients:
    """Clients that send events of their own, each batch again and again until it is acknowledged."""

    def __init__(self, port: int, seed: int) -> None:
        self.acknowledged: list[str] = []
        self.answers = self.retries = 0
        self._url, self._seed = f"http://127.0.0.1:{port}", seed
        self._changed = threading.Condition()
        self._stopping = False
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, answers: int) -> None:
        """Wait until so many more batches are acknowledged."""
        with self._changed:
            wanted = self.answers + answers
            assert self._changed.wait_for(lambda: self.answers >= wanted, timeout=120)

    def stop(self) -> None:
        """Have each end with an acknowledged batch."""
        self._stopping = True
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive()

    def _send(self, number: int) -> None:
        draw, batch = random.Random(f"{self._seed} {number}"), 0
        while not self._stopping:
            batch += 1
            ids = [f"{number}-{batch}-{place}" for place in range(draw.randint(1, 30))]
            events = [make_event(one, draw.uniform(0, 700)) for one in ids]
            while not self._acknowledged(events):
                self.retries += 1
            with self._changed:
                self.acknowledged += ids
                self.answers += 1
                self._changed.notify_all()

    def _acknowledged(self, events: list[dict[str, str]]) -> bool:
        try:
            response = httpx.post(f"{self._url}/v1/events", json={"events": events}, timeout=60)
        except httpx.TransportError:
            return False
        assert response.status_code == 202
        assert response.json()["refused"] == 0
        return True


def kill_again_and_again(service: KilledService, clients: Clients, moments: random.Random) -> None:
    for _ in range(KILLS):
        clients.wait_for(moments.randint(1, MOST_BEFORE_KILL))
        service.kill()
        service.start()


def test_twenty_kills_lose_nothing_that_was_acknowledged_and_double_nothing(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as port, killed_service(tmp_path, port) as service:
        clients = Clients(port.getsockname()[1], seed=20240101)
        try:
            kill_again_and_again(service, clients, random.Random(20240101))
        finally:
            clients.stop()
    assert clients.retries > 0, "no kill came while a client waited"
    assert len(segments(settings.events_dir)) > KILLS / 2, "the processes took nothing"

    lake, shop = Lake.from_settings(settings), load_shop(settings)
    for number in range(2):  # a second load, and a torn tail cut off in between, change nothing
        report = load(
            lake,
            EventLogReader(settings.events_dir, shop.span),
            CONTRACTS["events"],
            list(windows(shop.span.start, shop.span.end, "monthly")),
            shop_window=shop.span,
            grain="monthly",
            batch=Batch(ingested_at=datetime(2026, 1, 1, tzinfo=UTC), batch_id=f"{number}"),
            late_limit=LATE,
        )
        assert report.is_accounted_for
        assert report.unreadable == []
        counts = Counter(lake.batches("raw.events", columns=["event_id"]).read_all()["event_id"].to_pylist())
        assert counts == Counter(dict.fromkeys(clients.acknowledged, 1))
        recover(settings.events_dir)


def test_what_one_process_took_the_other_knows_soon_and_the_next_at_once(tmp_path: Path) -> None:
    publish(Settings(home=tmp_path))
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
        killed_service(tmp_path, one) as service,
        killed_service(tmp_path, other),
    ):
        taking, asked = (f"http://127.0.0.1:{port.getsockname()[1]}" for port in (one, other))
        stranger, wanted = recommended(asked, visitor_id="v_17"), recommended(asked, products=["P03", "P00"])
        assert stranger != wanted
        seen = [make_event(str(n), 1 + n / 1440, event_type="product_view", product_id=p) for n, p in PRODUCTS.items()]
        assert httpx.post(f"{taking}/v1/events", json={"events": seen}, timeout=60).json()["accepted"] == 2
        assert recommended(taking, visitor_id="v_17") == wanted
        deadline = monotonic() + 60
        while recommended(asked, visitor_id="v_17") != wanted:
            assert monotonic() < deadline, "the other process never heard of it"
        service.kill()
        service.start()
        assert recommended(taking, visitor_id="v_17") == wanted


def test_the_workers_of_a_killed_parent_end_and_the_next_service_has_their_port(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for _ in range(2):
        parent = start(tmp_path, port, CARTOGRAPH_API_WORKERS="2")
        try:
            assert parent.stderr is not None
            said = [parent.stderr.readline()]
            while sum("startup complete" in line for line in said) < 2:
                assert said[-1], "".join(said)
                said.append(parent.stderr.readline())
            assert httpx.get(f"http://127.0.0.1:{port}/health", timeout=60).status_code == 200
            parent.kill()
            parent.communicate(timeout=60)  # until the last one that holds its end of the pipe has ended
        finally:
            with suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)


def recommended(url: str, **body: object) -> list[dict[str, object]]:
    """What a process recommends for a session."""
    response = httpx.post(f"{url}/v1/recommendations/session", json=body, timeout=60)
    assert response.status_code == 200, response.text
    found: list[dict[str, object]] = response.json()["recommendations"]
    return found
