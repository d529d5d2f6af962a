"""A process that runs actions on a lake in children that it forks, and kills them at a chosen point.

Forked, because starting Python and importing the lake takes seconds. The point is a number of function calls, so that a
test can try moments spread over all of an action without waiting for any of them.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from tests.unit.lake.making import TABLE, VISITS, days, make_lake, month, overwrite, visits_in


def overwrite_part_of_january(home: Path, note: str) -> None:
    window = days(0, 20)
    overwrite(make_lake(home), window, visits_in(window, 3, note=note))


def overwrite_on_a_full_disk(home: Path, note: str) -> None:
    """No file can grow, as on a disk without room."""
    lake = make_lake(home)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
    overwrite(lake, days(0, 20), visits_in(days(0, 20), 3, note=note))


def overwrite_months(home: Path, note: str) -> None:
    lake = make_lake(home)
    for number in range(int(note), 12, 4):
        overwrite(lake, month(number), visits_in(month(number), 3, note=note))


def create_and_overwrite_all(home: Path, note: str) -> None:
    lake = make_lake(home)
    lake.ensure(TABLE, VISITS, "monthly")
    overwrite(lake, None, visits_in(month(0), 3, note=note), visits_in(month(1), 3, note=note))


def maintain(home: Path, _note: str) -> None:
    make_lake(home).maintain(TABLE, now=datetime.now(UTC) + timedelta(hours=1), min_age=timedelta(0), keep_snapshots=1)


ACTIONS: dict[str, Callable[[Path, str], None]] = {
    action.__name__: action
    for action in (
        overwrite_part_of_january,
        overwrite_on_a_full_disk,
        overwrite_months,
        create_and_overwrite_all,
        maintain,
    )
}


class Forking:
    """The other side of the pipe."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, action: str, home: Path, notes: list[str], *, after_calls: int | None = None) -> list[int]:
        """Run the action once for each note, at the same time; the children's exit codes, or -9 for a killed one.

        With `after_calls`, each child kills itself with SIGKILL at that number of function calls.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"action": action, "home": str(home), "notes": notes, "after_calls": after_calls}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: list[int] = json.loads(self._process.stdout.readline())
        return answer

    def calls(self, action: str, home: Path, note: str) -> int:
        """Run the action and count its function calls, in thousands rounded down."""
        (count,) = self.run(action, home, [note], after_calls=-1)
        return count * 1000


@contextmanager
def forking() -> Iterator[Forking]:
    """Start the process; it ends with the context."""
    command = [sys.executable, "-m", "tests.unit.lake.forking"]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Forking(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def _child(request: dict[str, Any], note: str) -> int:
    """Do the action; the exit code. Counting, it is the number of calls in thousands."""
    limit, calls = request["after_calls"], 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        if event in ("call", "c_call"):
            calls += 1
            if calls == limit:
                os.kill(os.getpid(), signal.SIGKILL)

    if limit is not None:
        sys.setprofile(count)
    ACTIONS[request["action"]](Path(request["home"]), note)
    sys.setprofile(None)
    return calls // 1000 if limit == -1 else 0


def _main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        children = []
        for note in request["notes"]:
            child = os.fork()
            if child == 0:
                code = 255
                try:
                    code = _child(request, note)
                finally:
                    if code == 255:
                        traceback.print_exc()
                    os._exit(code)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        sys.stdout.write(json.dumps(codes) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main()
