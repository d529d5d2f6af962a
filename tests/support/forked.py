"""Commands of `cartograph` in processes of their own that are forked from one which has imported it.

Starting Python and importing the command line takes seconds, for each of a hundred commands; what a worker of a run
imports takes more. Nothing of a command is left to the next: the process that forks only imports.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from cartograph.leaving import leave

ROOT = Path(__file__).parents[2]
_SERVE = "from tests.support.forked import serve; serve()"
_WORKER = (sys.executable, "-m", "cartograph.cli.worker")
_RUN_JOBS = {"run", "repair", "erase", "quarantine"}


class NoAnswerError(RuntimeError):
    """The process that forks has ended; what ended it stands on its standard error."""


def call(arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, output: Path, seconds: float) -> int:
    """Call `cartograph` with nothing on its standard input and both channels in the file `output`; its exit status.

    That is negative where a signal ended it: SIGKILL where it took longer than `seconds`.

    Raises:
        NoAnswerError: there is no process that could fork.
    """
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    request = {"arguments": list(arguments), "env": dict(env), "cwd": str(cwd), "output": str(output)}
    server.stdin.write(f"{json.dumps({**request, 'seconds': seconds})}\n")
    server.stdin.flush()
    answer = server.stdout.readline()
    if not answer:
        raise NoAnswerError(f"{_SERVE!r} has ended: see its standard error.")
    return int(answer)


@cache
def _server() -> subprocess.Popen[str]:
    """The process that forks, for as long as this one lives."""
    started = subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        cwd=ROOT,
        env={
            **os.environ,
            "COLUMNS": "160",  # rich asks for the width when it is imported
            "MLFLOW_DISABLE_TELEMETRY": "true",  # and MLflow for this
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    atexit.register(started.kill)
    return started


def serve() -> None:
    """Fork a process for each line of standard input, and tell its exit status when it has ended."""
    from cartograph.cli.app import main
    from cartograph.cli.jobs import LOCATIONS

    workers = sum(max(len(stage) for stage in location.stages) for location in LOCATIONS)
    _import_what_workers_need()
    while line := sys.stdin.readline():
        request = json.loads(line)
        if (pid := os.fork()) == 0:
            _become(request)
            if request["arguments"][0] in _RUN_JOBS:
                _Popen.spares = [_Spare() for _ in range(workers)]
            subprocess.Popen = _Popen  # type: ignore[misc]
            _end(main)
        limit = threading.Timer(request["seconds"], os.kill, [pid, signal.SIGKILL])
        limit.start()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        limit.cancel()
        limit.join()  # a process that forks has no other thread
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


def _end(main: Callable[[], None]) -> NoReturn:
    """Call `main` and end this process with its status."""
    status = 0
    try:
        main()
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:  # noqa: BLE001  the process boundary
        traceback.print_exc()
        status = 1
    leave(status)


def _become(request: Mapping[str, object]) -> None:
    """Make this process what a shell would have started."""
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[call-overload]
    os.chdir(str(request["cwd"]))
    sys.argv = ["cartograph", *request["arguments"]]  # type: ignore[misc]
    output = os.open(str(request["output"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)


def _import_what_workers_need() -> None:
    """Import it, but for the modules of definitions, which read settings."""
    from cartograph.cli.worker import import_ahead
    from ml_assets.definitions import LIBRARIES

    import_ahead(["ecom_assets.components", "dagster_dbt", *LIBRARIES], queue.Queue())


class _Spare:
    """A child that is forked while this process has one thread, and waits to become a worker or for its end."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        if (pid := os.fork()) == 0:
            self.socket.close()
            _become_worker(theirs)
        theirs.close()
        self.pid = pid

    def start(self, arguments: Sequence[str], env: Mapping[str, str], channels: Sequence[int]) -> None:
        """Make it a worker that has `channels` as its standard input, output and error, and keeps the others open."""
        with self.socket as orders:
            socket.send_fds(orders, [b"!"], channels)
            orders.sendall(json.dumps({"arguments": list(arguments), "env": dict(env)}).encode())
            orders.shutdown(socket.SHUT_WR)  # the next spare has this end, too


def _become_worker(orders: socket.socket) -> NoReturn:
    """Wait for orders and carry them out; end when their sender has ended."""
    try:
        begun, channels, _, _ = socket.recv_fds(orders, 1, 8)
        if not begun:
            os._exit(0)
        with orders.makefile() as file:
            request = json.loads(file.read())
        os.setpgid(0, 0)
        for channel, place in zip(channels, range(3), strict=False):
            os.dup2(channel, place)
            os.close(channel)
        os.environ.clear()
        os.environ.update(request["env"])
        from cartograph.cli import worker

        worker.main(*request["arguments"])
    except BaseException:  # noqa: BLE001  the process boundary
        traceback.print_exc()
    leave(1)


class _Popen(subprocess.Popen[Any]):
    """Popen that makes a spare child the worker where one is started; the pipes and the waiting are Popen's own."""

    spares: list[_Spare] = []  # noqa: RUF012  of the process

    def _execute_child(self, args: Any, *others: Any) -> None:
        if tuple(args[:3]) != _WORKER or not self.spares:
            super()._execute_child(args, *others)  # type: ignore[misc]
            return
        _, _, _, pass_fds, _, env, _, _, _, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *_ = others
        spare = self.spares.pop(0)
        spare.start(args[3:], env, [p2cread, c2pwrite, errwrite, *pass_fds])
        self.pid, self._child_created = spare.pid, True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]
