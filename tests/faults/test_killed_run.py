"""A run that is killed at any moment loses nothing and doubles nothing: the next run gives the same marts."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from tests.support.whole_run import Bench, content

KILLS = 10
NAMESPACES = ("raw", "published", "features", "predictions")
RUN_SECONDS = 45
"""About as long as a run takes where nothing else works; a run that ends before its kill counts as well."""


def test_ten_kills_change_nothing(tmp_path: Path, small_shop: tuple[Bench, str]) -> None:
    undisturbed, _ = small_shop
    bench = Bench.with_small_shop(tmp_path)
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
                process.wait(timeout=moments.uniform(1, RUN_SECONDS))
            except subprocess.TimeoutExpired:
                process.kill()
    bench.cartograph("run")
    assert content(bench.settings, *NAMESPACES) == content(undisturbed.settings, *NAMESPACES)
