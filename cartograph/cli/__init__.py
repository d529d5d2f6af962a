"""The command line. One module for a noun; each command reads settings, calls the kernel or a location, and prints.

The only part of the kernel that knows Dagster and the code locations. Logic that a test would call without a terminal
belongs elsewhere, except what is about terminals and processes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from cartograph.starting import to_stay

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

EXIT_INTERRUPTED = 130
_AGAIN_SECONDS = 0.05


def main() -> None:
    """What the script `cartograph` calls: the command line, which may be interrupted while it is still imported.

    OpenMP gets one thread, here and in every process that is started from here: with the default, two processes of
    gradient boosting at once ran 80 times slower, and one beside other work 12 times.
    """
    sys.unraisablehook = interrupt_again
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `timeout` and `docker stop` end it as Ctrl-C does
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        with to_stay():
            from cartograph.cli.app import main as run_command
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    run_command()


def interrupt_again(lost: UnraisableHookArgs) -> None:
    """Interrupt the main thread once more where Ctrl-C came while Python freed something: there no exception gets on.

    SQLAlchemy's callbacks are that long: two of three interrupts of a repair that looked at its sources were lost.
    """
    if lost.exc_type is KeyboardInterrupt:
        main_thread = threading.main_thread().ident
        threading.Timer(_AGAIN_SECONDS, signal.pthread_kill, [main_thread, signal.SIGINT]).start()
    else:
        sys.__unraisablehook__(lost)
