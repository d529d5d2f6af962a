"""The service in processes that a test kills: forked from one that has imported it, all on the test's own socket.

Connections that come while none lives wait in the socket for the next. A module of its own, run as a program, because
a test's process has threads and must not be forked.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


class KilledService:
    """A service that is started again after each kill."""

    def __init__(self, forker: subprocess.Popen[str]) -> None:
        self._forker = forker
        self._pid: int | None = None

    def start(self) -> None:
        """Start a process of the service; it takes connections when it is ready."""
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        self._forker.stdin.write("\n")
        self._forker.stdin.flush()
        self._pid = int(self._forker.stdout.readline())

    def kill(self) -> None:
        """End it as a power cut would, as far as the process is concerned."""
        assert self._pid is not None
        os.kill(self._pid, signal.SIGKILL)


@contextmanager
def killed_service(home: Path, port: socket.socket) -> Iterator[KilledService]:
    """The service of the simulated shop in `home`, on a listening socket; the last process ends with the block."""
    command = [sys.executable, "-m", "tests.support.killed_service", str(home), str(port.fileno())]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[port.fileno()]
    ) as forker:
        service = KilledService(forker)
        try:
            service.start()
            yield service
        finally:
            service.kill()
            forker.kill()


def _serve(home: str, port: str) -> None:
    """Fork a process of the service for each line of standard input, and tell its number."""
    import uvicorn

    from api.main import create_app
    from cartograph.settings import Settings

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while sys.stdin.readline():
        if (pid := os.fork()) == 0:
            config = uvicorn.Config(create_app(Settings(home=Path(home))), log_level="error")
            uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(port))])
            os._exit(1)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
