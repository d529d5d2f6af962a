"""The Dagster instance of a shop: its folder, the environment of the processes that use it, and left-over runs."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import dagster as dg
from sqlalchemy.exc import DatabaseError
from tenacity import Retrying, retry_if_exception, retry_if_exception_type, stop_after_delay, wait_fixed

from cartograph.cli.room import full_disk
from cartograph.settings import Settings, SettingsError
from cartograph.shops import ShopError

REPOSITORY_ROOT = Path(__file__).parents[2]
CLI_TAG = "cartograph/command_line"
ENDING_SECONDS = 20
"""How long the children of a killed run may take to see it and to end: those that import a library take seconds."""
UNFINISHED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]


def prepare_home(settings: Settings) -> None:
    """Make the shop's folders and put the instance's configuration where Dagster reads it.

    Raises:
        SettingsError: the home cannot be written.
    """
    try:
        settings.dagster_home.mkdir(parents=True, exist_ok=True)
        settings.logs_dir.mkdir(parents=True, exist_ok=True)
        configuration = (REPOSITORY_ROOT / "deploy" / "dagster" / "dagster.yaml").read_text(encoding="utf-8")
        filled = configuration.replace("$DAGSTER_HOME", str(settings.dagster_home.resolve()))
        written = settings.dagster_home / "dagster.yaml"
        if not written.is_file() or written.read_text(encoding="utf-8") != filled:  # on a full disk it would be emptied
            written.write_text(filled, encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"CARTOGRAPH_HOME={settings.home}: {error.filename} cannot be written ({error.strerror}). "
            "It takes a folder in which you may write."
        ) from None


def process_environment(settings: Settings) -> dict[str, str]:
    """The environment of a process that runs assets."""
    return {
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **os.environ,
        "DAGSTER_HOME": str(settings.dagster_home),
        "CARTOGRAPH_HOME": str(settings.home),
        "CARTOGRAPH_SHOP": settings.shop,
        "CARTOGRAPH_SHOPS_DIR": str(settings.resolved_shops_dir),
    }


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The shop's instance, opened from its folder.

    Raises:
        ShopError: its database is damaged, or the disk is full.
    """
    try:
        with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
            yield instance
    except DatabaseError as error:
        damaged = (
            f"Dagster's run history in {settings.dagster_home} cannot be read ({error.orig}). Move that folder away to "
            "begin a new one; lake, warehouse and releases do not depend on it."
        )
        raise ShopError(full_disk(settings) or damaged) from None


@contextmanager
def only_run(settings: Settings) -> Iterator[IO[str]]:
    """Hold the shop's run lock; the kernel frees it when the last process that has the file open ends, however it ends.

    Raises:
        ShopError: another run of the command line works on the shop.
    """
    path = settings.shop_home / "run.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        patient = Retrying(
            retry=retry_if_exception_type(BlockingIOError) & retry_if_exception(lambda _: _is_gone(_holder(file))),
            wait=wait_fixed(0.1),
            stop=stop_after_delay(ENDING_SECONDS),
            reraise=True,
        )
        try:
            patient(fcntl.flock, file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ShopError(
                f"Another run (process {_holder(file) or 'unknown'}) works on shop {settings.shop!r} in "
                f"{settings.home}. Wait for it, or stop it, and try again."
            ) from None
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield file


def _holder(file: IO[str]) -> str:
    """The process id that the lock's last holder has written."""
    file.seek(0)
    return file.read().strip()


def _is_gone(process: str) -> bool:
    """Whether there is no such process: its children end as soon as they see that, and free the lock."""
    if not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's
        return False
    return False


@contextmanager
def only_up(settings: Settings) -> Iterator[IO[str]]:
    """Hold the lock of the shop's `cartograph up`, to be shared with its services: it is free once they all have ended.

    The file says since when there are runs of it; it is emptied where `cartograph up` ended those itself.

    Raises:
        ShopError: another one is at work on the shop.
    """
    with _up_file(settings).open("a+", encoding="utf-8") as file:
        if not _is_free(file):
            raise ShopError(
                f"Another `cartograph up` works on shop {settings.shop!r} in {settings.home}. Stop it first."
            )
        if not _noted(file):
            file.write(datetime.now(UTC).isoformat())
            file.flush()
        yield file


def close_runs_of_up(instance: dg.DagsterInstance, file: IO[str]) -> int:
    """Mark the runs of a `cartograph up` whose services have ended as failed, and free what they held."""
    since = _noted(file)
    found = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED, created_after=since)) if since else []
    left = [run for run in found if CLI_TAG not in run.tags]
    _close(instance, left)
    file.truncate(0)
    return len(left)


def close_dead_runs(instance: dg.DagsterInstance, settings: Settings) -> int:
    """Mark runs that were killed as failed, and free what they held; how many. The run lock must be held.

    Those are runs of the command line, and of a `cartograph up` that did not come to end them. Of a daemon that was
    started otherwise nothing is known here.
    """
    dead = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED, tags={CLI_TAG: "true"}))
    _close(instance, dead)
    if not _up_file(settings).is_file():
        return len(dead)
    with _up_file(settings).open("a+", encoding="utf-8") as file:
        return len(dead) + (close_runs_of_up(instance, file) if _is_free(file) else 0)


def _up_file(settings: Settings) -> Path:
    return settings.shop_home / "up.lock"


def _is_free(file: IO[str]) -> bool:
    """Take a file's lock, if nobody else has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _noted(file: IO[str]) -> datetime | None:
    """Since when there are runs of a `cartograph up` that nobody has ended."""
    file.seek(0)
    text = file.read().strip()
    return datetime.fromisoformat(text) if text else None


def _close(instance: dg.DagsterInstance, dead: Iterable[dg.DagsterRun]) -> None:
    for run in dead:
        instance.report_run_failed(run, "The process was killed before the run ended.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
