"""A run that is killed at any moment loses nothing and doubles nothing: the next run gives the same marts."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from tests.support.whole_run import Bench, content

KILLS = 10
NAMESPACES = ("raw", "published", "features", "predictions")
SHOP = {"customers": 250, "end": "2024-11-01"}


def stable_content(bench: Bench) -> dict[str, str]:
    """All that a re-run must reproduce: everything but the provenance columns of raw rows."""
    return content(bench.settings, *NAMESPACES)


def test_ten_kills_change_nothing(tmp_path: Path) -> None:
    undisturbed = Bench.with_small_shop(tmp_path / "undisturbed", **SHOP)
    undisturbed.cartograph("run")
    expected = stable_content(undisturbed)

    bench = Bench.with_small_shop(tmp_path / "killed", **SHOP)
    moments = random.Random(20240101)
    for _ in range(KILLS):
        with subprocess.Popen(
            bench.command("run"),
            env=bench.environment,
            cwd=bench.root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        ) as process:
            try:
                process.wait(timeout=moments.uniform(2, 25))
            except subprocess.TimeoutExpired:
                process.kill()
    bench.cartograph("run")
    assert stable_content(bench) == expected
