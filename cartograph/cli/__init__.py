"""The command line. One module for a noun; each command reads settings, calls the kernel or a location, and prints.

The only part of the kernel that knows Dagster and the code locations. Logic that a test would call without a terminal
belongs elsewhere, except what is about terminals and processes.
"""

from __future__ import annotations

import sys

EXIT_INTERRUPTED = 130


def main() -> None:
    """What the script `cartograph` calls: the command line, which may be interrupted while it is still imported."""
    try:
        from cartograph.cli.app import main as run_command
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    run_command()
