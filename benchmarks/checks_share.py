"""What do the checks cost? The main job, side by side with the same job without any check.

Both sides run both locations in one process each, from an empty home, one after the other. Without checks means: no dbt
test, no check of a load, no quality score, no gate. What a feature or a model is judged by stays on both sides. Alerts
are found and sent by sensors in the daemon, beside the job: what a look costs is measured apart, on the first home.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg

from cartograph.cli import worker
from cartograph.cli.instance import open_instance, prepare_home, process_environment
from cartograph.cli.jobs import LOCATIONS
from cartograph.cli.run import chosen_windows, parse_early
from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.signals import observe
from cartograph.trust.watching import watched
from cartograph.windows import at_midnight

SIDES = ("with_checks", "without_checks")


def main() -> None:
    """Run both sides, print a line for each, their ratio, and what the sensors' looks cost."""
    with tempfile.TemporaryDirectory() as root:
        took = {side: timed(side, Path(root) / side) for side in SIDES}
        (with_them, without) = (took[side] for side in SIDES)
        ratios = {f"{name}_ratio": round(with_them[name] / without[name], 3) for name in with_them}
        print(json.dumps({"benchmark": "checks_share", **ratios}), flush=True)
        subprocess.run([sys.executable, __file__, "looks"], env=environment(Path(root) / SIDES[0]), check=True)


def environment(home: Path) -> dict[str, str]:
    """A process's environment on the default shop in `home`."""
    return {**os.environ, "CARTOGRAPH_HOME": str(home), "CARTOGRAPH_SHOP": "simulated"}


def timed(side: str, home: Path) -> dict[str, float]:
    """Run a side and print its seconds: on the clock, and of processors, which a busy machine does not lengthen."""
    began, used = time.perf_counter(), processors()
    subprocess.run([sys.executable, __file__, side], env=environment(home), stdout=sys.stderr, check=True)
    took = {"seconds": time.perf_counter() - began, "cpu_seconds": processors() - used}
    rounded = {name: round(seconds, 1) for name, seconds in took.items()}
    print(json.dumps({"benchmark": "checks_share", "side": side, **rounded}), flush=True)
    return took


def processors() -> float:
    """Seconds that the ended children of this process, and theirs, have used of all processors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(side: str) -> None:
    """All jobs of `cartograph run`, one after the other."""
    settings = get_settings()
    shop = load_shop(settings)
    assert shop.end is not None
    prepare_home(settings)
    os.environ.update({"OMP_NUM_THREADS": "1"} | process_environment(settings))
    parse_early(settings, shop)
    if side == "without_checks":
        without_checks()
    windows = chosen_windows(shop, settings, None, None, at_midnight(shop.end))
    for location in LOCATIONS:
        definitions = importlib.import_module(location.module).defs()
        for job in location.jobs:
            request = worker.Request(
                locations={location.module: location.jobs},
                job=job,
                run_id=str(uuid4()),
                first=location.partition_key(windows[0]),
                last=location.partition_key(windows[-1]),
                select=None if side == "with_checks" else '* and not key:"quality/scores"',
                chosen=settings.shop_home / f"{location.name}.json",
            )
            status = worker.execute(definitions, request)
            if status != 0:
                raise SystemExit(f"{job} ended with status {status}")


def without_checks() -> None:
    """Take the checks out of this process: their specs, what computes them, and dbt's tests."""
    import ecom_assets.defs.dbt.warehouse as dbt_assets
    from ecom_assets.components import source_component
    from ecom_assets.defs.dbt.resource import InstalledDbt
    from ml_assets.defs.serving import release

    def no_specs(_: Any) -> list[dg.AssetCheckSpec]:
        return []

    def no_results(*_: Any) -> Iterator[dg.AssetCheckResult]:
        return iter(())

    def no_offenders(*_: Any) -> dict[str, list[str]]:
        return {}

    def cli(self: InstalledDbt, args: list[str], **given: Any) -> Any:
        return super(InstalledDbt, self).cli([*args, "--exclude-resource-type", "test"], **given)

    source_component.load_check_specs, source_component.load_checks = no_specs, no_results  # type: ignore[assignment]
    dbt_assets.offending_rows = no_offenders
    InstalledDbt.cli = cli  # type: ignore[method-assign]
    release.outcomes = lambda *_: ()


def looks() -> None:
    """Print what the sensors' first look at all results costs, and one at which nothing is new."""
    with open_instance(get_settings()) as instance:
        for location in LOCATIONS:
            what = watched(
                importlib.import_module(location.module).defs().get_repository_def(), "team:data-platform", "warning"
            )
            now, began = datetime.now(UTC), time.perf_counter()
            first = observe(instance, what, {}, now)
            middle = time.perf_counter()
            observe(instance, what, first.positions, now)
            line = {"first_seconds": round(middle - began, 3), "next_seconds": round(time.perf_counter() - middle, 3)}
            name = f"checks_share.looks.{location.name}"
            print(json.dumps({"benchmark": name, "checks": len(what.checks), **line}), flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            main()
        case ["looks"]:
            looks()
        case [side]:
            run(side)
