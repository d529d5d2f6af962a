"""`cartograph up`: the Dagster UI with its daemon and the API, as children that start, fail and stop together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import typer

from cartograph.alerts.config import load_alerts
from cartograph.cli.console import output, say_error
from cartograph.cli.instance import (
    REPOSITORY_ROOT,
    close_dead_runs,
    close_runs_of_up,
    only_run,
    only_up,
    open_instance,
    prepare_home,
    process_environment,
)
from cartograph.settings import Settings, SettingsError, load_settings
from cartograph.shops import ShopError, load_shop

POLL_SECONDS = 0.5
START_SECONDS = 180
STOP_SECONDS = 30


class Service(NamedTuple):
    """A child process, and the address that answers when it is up."""

    name: str
    command: list[str]
    url: str
    probe: str


def up() -> None:
    """Start the Dagster UI, its daemon and the API; Ctrl-C stops all of them."""
    settings = load_settings()
    load_shop(settings)
    load_alerts(settings)  # a mistake in that file is told here, and not in the daemon's log
    prepare_home(settings)
    for variable, host, port in (
        ("CARTOGRAPH_DAGSTER_PORT", settings.dagster_host, settings.dagster_port),
        ("CARTOGRAPH_API_PORT", settings.api_host, settings.api_port),
    ):
        require_free(variable, host, port)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits it ignored
    with suppress(ShopError), only_run(settings), open_instance(settings) as instance:  # not where a run is at work
        close_dead_runs(instance, settings)  # else the daemon tells in three minutes that they have not started
    with only_up(settings) as lock:
        try:
            _serve(settings, lock.fileno())
        finally:  # nothing runs any more: what was at work is not waited for by the next run
            with open_instance(settings) as instance:
                close_runs_of_up(instance, lock)


def _serve(settings: Settings, lock: int) -> None:
    """Start the services, which hold the file `lock`, and wait until one ends or somebody stops them.

    Raises:
        Exit: a service ended by itself.
    """
    with ExitStack() as stack:
        started = [(s, stack.enter_context(running(s, settings, lock))) for s in services(settings)]
        processes = [process for _, process in started]
        try:
            for service, _ in started:
                if answers(service, processes):
                    output.print(f"[green]✓[/] {service.name:<12} {service.url}")
                elif alive(processes):
                    output.print(
                        f"[yellow]![/] {service.name} does not answer yet. Its log: {log_path(settings, service)}"
                    )
            if alive(processes):
                output.print("Ctrl-C stops everything.")
            while alive(processes):
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            output.print("Stopping.")
            return
        dead = next(service for service, process in started if process.poll() is not None)
        say_error(f"{dead.name} ended by itself.", f"Its log: {log_path(settings, dead)}")
        raise typer.Exit(1)


def services(settings: Settings) -> list[Service]:
    """The services of a laptop: one `dagster dev`, which shares its code servers between UI and daemon, and the API."""
    dagster = f"http://{settings.dagster_host}:{settings.dagster_port}"
    api = f"http://{settings.api_host}:{settings.api_port}"
    workspace = str(REPOSITORY_ROOT / "workspace.yaml")
    address = ["-h", settings.dagster_host, "-p", str(settings.dagster_port)]
    return [
        Service(
            "Dagster",
            [sys.executable, "-m", "dagster", "dev", "-w", workspace, *address],
            dagster,
            f"{dagster}/server_info",
        ),
        Service("API", [sys.executable, "-m", "api"], f"{api}/docs", f"{api}/health"),
    ]


def require_free(variable: str, host: str, port: int) -> None:
    """Raise SettingsError, naming the variable that cures it, where something listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(f"{variable}={port}: {host}:{port} cannot be used ({error.strerror}).") from None


def log_path(settings: Settings, service: Service) -> Path:
    """Where a service's output goes."""
    return settings.logs_dir / f"{service.name.lower()}.log"


@contextmanager
def running(service: Service, settings: Settings, lock: int) -> Iterator[subprocess.Popen[bytes]]:
    """The service as a process group of its own, interrupted at the end and killed where that does not help.

    It holds the file `lock` for as long as it lives.
    """
    with log_path(settings, service).open("wb") as sink:
        process = subprocess.Popen(
            service.command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=process_environment(settings),
            cwd=REPOSITORY_ROOT,
            start_new_session=True,
            pass_fds=(lock,),
        )
        try:
            yield process
        finally:
            _stop(process)


def alive(processes: Iterable[subprocess.Popen[bytes]]) -> bool:
    """Whether none of them has ended."""
    return all(process.poll() is None for process in processes)


def answers(service: Service, processes: Collection[subprocess.Popen[bytes]]) -> bool:
    """Wait for a service: whether it answers before one of all `processes` ends, or has not for too long."""
    deadline = time.monotonic() + START_SECONDS
    while alive(processes) and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(service.probe, timeout=POLL_SECONDS):  # noqa: S310
                return True
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(POLL_SECONDS)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
