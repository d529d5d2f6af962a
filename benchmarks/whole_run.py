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
from pathlib import Path

from support.processes import watched

DEFAULT_CUSTOMERS = 5_000


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
    command = [sys.executable, "-c", "from cartograph.cli import main; main()", "run"]
    return {**watched(command, environment), "events": events(home / "simulated" / "dagster")}


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
