"""The quick end of a process that somebody waits for. Which processes these are is decided where they are started."""

from __future__ import annotations

import atexit
import os
import sys
from typing import NoReturn


def leave(status: int) -> NoReturn:
    """End this process with its exit functions and `status`, and leave it to the system to free the memory.

    Python takes everything that was imported apart first: with Dagster and dbt a third of the time of the import. Other
    threads are not waited for.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
