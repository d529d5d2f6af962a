"""Runs a command and watches what it takes: seconds, and the memory of all its processes together."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

import psutil

SAMPLE_SECONDS = 0.2


def watched(command: Sequence[str], environment: Mapping[str, str], cwd: str | None = None) -> dict[str, float]:
    """Run `command` to its end: `seconds`, and `peak_mib`, the largest sum of its processes' resident memory (MiB).

    What it prints goes to this process's stderr.

    Raises:
        SystemExit: it ended with another status than 0.
    """
    began = time.perf_counter()
    process = psutil.Popen(command, env=dict(environment), cwd=cwd, stdout=sys.stderr)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _resident(process))
        time.sleep(SAMPLE_SECONDS)
    seconds = time.perf_counter() - began
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return {"seconds": round(seconds, 1), "peak_mib": round(peak / 2**20)}


def _resident(process: psutil.Process) -> int:
    """Resident bytes of a process and all its children; those that end meanwhile count nothing."""
    total = 0
    for member in (process, *_children(process)):
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _children(process: psutil.Process) -> list[psutil.Process]:
    """All descendants; none once the process has ended."""
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
