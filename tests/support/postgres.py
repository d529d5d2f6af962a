"""A PostgreSQL server of its own for a test: a new cluster in a folder of its own, reached by a socket there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
USER = "cartograph"
DATABASE = "postgres"
PATIENCE_SECONDS = 60


class NoServerError(RuntimeError):
    """Why this machine cannot run a server. The message says what is missing."""


@contextmanager
def postgres_server() -> Iterator[dict[str, str]]:
    """A running server, as libpq's variables that lead to it. It ends, and its folder goes, with the block.

    Raises:
        NoServerError: the binaries are not there, or the server, which refuses to run as root, has no other user.
    """
    binaries, account = _binaries(), _account()
    folder = Path(
        tempfile.mkdtemp(prefix="cartograph-pg-")
    )  # not below pytest's, whose names a socket's path is too long for
    try:
        if account:
            shutil.chown(folder, account["user"], account["group"])
        _create(binaries, folder, account)
        with _running(binaries, folder, account) as variables:
            yield variables
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    on_path = shutil.which("pg_ctl")  # Debian's stand beside the path, one folder for each version
    folders = [*BINARIES, *([Path(on_path).resolve().parent] if on_path else [])]
    if not folders:
        raise NoServerError("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    return folders[-1]


def _account() -> dict[str, Any]:
    """As whom the server runs: as whoever runs the tests, except for root."""
    if os.geteuid() != 0:
        return {}
    import pwd

    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        raise NoServerError("the tests run as root, the server must not, and there is no user `postgres`") from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _create(binaries: Path, folder: Path, account: dict[str, Any]) -> None:
    options = ["--encoding=UTF8", "--locale=C", "--auth=trust", f"--username={USER}", "--no-sync"]
    done = subprocess.run(
        [binaries / "initdb", *options, f"--pgdata={folder / 'data'}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        **account,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def _running(binaries: Path, folder: Path, account: dict[str, Any]) -> Iterator[dict[str, str]]:
    """The server on the cluster; only a socket in its folder leads to it, so that no port can be taken."""
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": folder,
        "timezone": "UTC",
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    log = folder / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", folder / "data", *options],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            **account,
        )
    variables = {"PGHOST": str(folder), "PGPORT": "5432", "PGUSER": USER, "PGDATABASE": DATABASE, "PGPASSWORD": ""}
    try:
        _wait(binaries, server, log, variables)
        yield variables
    finally:
        server.send_signal(signal.SIGINT)  # "fast": it ends sessions, then itself
        server.wait(PATIENCE_SECONDS)


def _wait(binaries: Path, server: subprocess.Popen[bytes], log: Path, variables: dict[str, str]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    ready = [binaries / "pg_isready", "--quiet"]
    while subprocess.run(ready, env={**os.environ, **variables}, check=False).returncode != 0:
        assert time.monotonic() < deadline, f"the server was not ready in {PATIENCE_SECONDS} s:\n{log.read_text()}"
        with suppress(subprocess.TimeoutExpired):
            server.wait(0.05)
            raise AssertionError(f"the server ended:\n{log.read_text()}")
