"""Commands of `cartograph` in processes of their own that are forked from one which has imported it.

Starting Python and importing the command line takes seconds, for each of a hundred commands. Nothing of a command is
left to the next: the process that forks only imports.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

from cartograph.leaving import leave

ROOT = Path(__file__).parents[2]
_SERVE = "from tests.support.forked import serve; serve()"


class NoAnswerError(RuntimeError):
    """The process that forks has ended; what ended it stands on its standard error."""


def call(arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, output: Path, seconds: int) -> int:
    """Call `cartograph` with nothing on its standard input and both channels in the file `output`; its exit status.

    That is negative where a signal ended it: SIGALRM where it took longer than `seconds`.

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
        env={**os.environ, "COLUMNS": "160"},  # rich asks for the width when it is imported
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

    while line := sys.stdin.readline():
        if (pid := os.fork()) == 0:
            _become(json.loads(line))
            _end(main)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
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
    signal.alarm(int(str(request["seconds"])))
    sys.argv = ["cartograph", *request["arguments"]]  # type: ignore[misc]
    output = os.open(str(request["output"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
