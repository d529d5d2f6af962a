"""How long, how much memory and how many Dagster events does the main job take at 1, 4 and 16 times the default size?

The simulated shop in a home of its own, through the command line. Memory is the largest sum of the resident memory of
all its processes, sampled; events are the rows of Dagster's event log.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import psutil

DEFAULT_CUSTOMERS = 5_000
SAMPLE_SECONDS = 0.2


def main() -> None:
    """Run each size once and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scales", type=int, nargs="+", default=[1, 4, 16], help="Multiples of the default size.")
    for scale in parser.parse_args().scales:
        with tempfile.TemporaryDirectory() as home:
            print(json.dumps({"benchmark": "whole_run", "scale": scale, **measure(Path(home), scale)}), flush=True)


def measure(home: Path, scale: int) -> dict[str, float]:
    """Run the main job of a shop `scale` times the default size in `home`; seconds, peak memory in MiB, events."""
    environment = {
        **os.environ,
        "CARTOGRAPH_HOME": str(home),
        "CARTOGRAPH_SHOP": "simulated",
        "CARTOGRAPH_SIMULATOR_CUSTOMERS": str(scale * DEFAULT_CUSTOMERS),
    }
    command = [sys.executable, "-c", "from cartograph.cli.app import main; main()", "run"]
    began = time.perf_counter()
    process = psutil.Popen(command, env=environment, stdout=sys.stderr)
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident(process))
        time.sleep(SAMPLE_SECONDS)
    seconds = time.perf_counter() - began
    if process.returncode != 0:
        raise SystemExit(f"cartograph run ended with status {process.returncode} at {scale} times the default size")
    return {
        "seconds": round(seconds, 1),
        "peak_mib": round(peak / 2**20),
        "events": events(home / "simulated" / "dagster"),
    }


def resident(process: psutil.Process) -> int:
    """Resident bytes of a process and all its children; those that end meanwhile count nothing."""
    total = 0
    for member in (process, *children(process)):
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def children(process: psutil.Process) -> list[psutil.Process]:
    """All descendants; none once the process has ended."""
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def events(dagster_home: Path) -> int:
    """The rows in the event logs of all runs of a Dagster instance on SQLite."""
    total = 0
    for log in (dagster_home / "history" / "runs").glob("*.db"):
        if log.stem not in {"index", "runs"}:
            with sqlite3.connect(log) as connection:
                total += connection.execute("SELECT count(*) FROM event_logs").fetchone()[0]
    return total


if __name__ == "__main__":
    main()
