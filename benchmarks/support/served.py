"""A shop whose release is served by processes of their own, as they would be in use: on loopback, one worker."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from cartograph.releases import open_store
from cartograph.releases.contents.files import CUSTOMERS
from cartograph.releases.contents.tables import open_customers
from cartograph.settings import PREFIX, Settings, load_settings

PATIENCE_SECONDS = 120.0
SHOP_CUSTOMERS = 5_000


class Served:
    """A running service, and what it has used."""

    def __init__(self, process: psutil.Popen, port: int, start_seconds: float) -> None:
        self.port = port
        self.start_seconds = start_seconds
        self._process = process

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """The processor time that it and its children have taken."""
        return sum(sum(one.cpu_times()[:2]) for one in self._all())

    def resident_mib(self) -> float:
        """The memory that it and its children hold, MiB: with the pages of mapped files that they have read."""
        return sum(one.memory_info().rss for one in self._all()) / 2**20

    def _all(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]


@contextmanager
def home_of_shop(given: Path | None) -> Iterator[dict[str, str]]:
    """The environment that leads to a shop's home: the one `given`, or a new one after the main job.

    Raises:
        CalledProcessError: the main job failed.
    """
    if given is not None:
        yield {**os.environ, "CARTOGRAPH_HOME": str(given)}
        return
    with tempfile.TemporaryDirectory() as home:
        chosen = {"CARTOGRAPH_HOME": home, "CARTOGRAPH_SIMULATOR_CUSTOMERS": str(SHOP_CUSTOMERS)}
        command = [sys.executable, "-c", "from cartograph.cli import main; main()", "run"]
        subprocess.run(command, env={**os.environ, **chosen}, check=True, stdout=sys.stderr)
        yield {**os.environ, **chosen}


@contextmanager
def served(
    command: Sequence[str], environment: Mapping[str, str], port: int, ready: str = "/ready"
) -> Iterator[Served]:
    """The service that `command` starts on `port`, from the moment at which it answers at `ready`.

    Raises:
        RuntimeError: it ended, or did not answer in time.
    """
    with tempfile.TemporaryFile() as log:
        began = time.perf_counter()
        process = psutil.Popen(command, env=dict(environment), stdout=log, stderr=log)
        try:
            while not _answers(f"http://127.0.0.1:{port}{ready}"):
                if process.poll() is not None or time.perf_counter() - began > PATIENCE_SECONDS:
                    log.seek(0)
                    raise RuntimeError(f"{' '.join(command)} does not answer: {log.read().decode()[-2000:]}")
                with suppress(psutil.TimeoutExpired):
                    process.wait(0.02)
            yield Served(process, port, time.perf_counter() - began)
        finally:
            family = [*(process.children(recursive=True) if process.is_running() else []), process]
            for one in family:
                with suppress(psutil.NoSuchProcess):
                    one.terminate()
            for one in psutil.wait_procs(family, timeout=10)[1]:
                one.kill()


def free_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def api(environment: Mapping[str, str], port: int) -> dict[str, str]:
    """The environment in which `python -m api` listens on `port` and logs no line for each request."""
    return {**environment, "CARTOGRAPH_API_PORT": str(port), "CARTOGRAPH_LOG_LEVEL": "WARNING"}


def release_folder(environment: Mapping[str, str]) -> Path:
    """The files of the current release of the shop that the environment leads to."""
    store = open_store(settings_of(environment))
    return store.fetch(store.current_id())


def customer_ids(environment: Mapping[str, str], count: int) -> list[str]:
    """Some customers of that release, from all over it."""
    ids = open_customers(release_folder(environment) / CUSTOMERS)["customer_id"]
    return [ids[at].as_py() for at in range(0, len(ids), max(len(ids) // count, 1))][:count]


def settings_of(environment: Mapping[str, str]) -> Settings:
    """The settings of what runs in that environment."""
    names = {f"{PREFIX}{name.upper()}": name for name in Settings.model_fields}
    return load_settings(**{names[key]: value for key, value in environment.items() if key in names})


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False
