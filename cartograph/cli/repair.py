"""`cartograph repair`: the partitions that late rows and mended files belong to, found and built anew."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.markup import escape

from cartograph.cli.console import output, say
from cartograph.cli.instance import close_dead_runs, only_run, open_instance, prepare_home
from cartograph.cli.run import LOCATIONS, Step, conclude, execute_all, require_readable_sources
from cartograph.settings import load_settings
from cartograph.shops import load_shop
from cartograph.windows import windows


def repair(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which partitions, and why.")] = False,
) -> None:
    """Load the partitions again whose source delivers other rows than were loaded, and what is made of them.

    `cartograph up` does the same by itself, for the warehouse, whenever a source changes.
    """
    from ecom_assets.defs.quality.late_data import look, repaired_assets, requests

    settings = load_settings()
    shop = load_shop(settings)
    require_readable_sources(shop)
    prepare_home(settings)
    began = time.monotonic()
    with only_run(settings) as lock, open_instance(settings) as instance:
        close_dead_runs(instance)
        with output.status("looking at the sources"):
            found = look(instance)
        repairs = found.repairs()
        if not repairs:
            output.print("Nothing is late: each partition that was loaded is what its source delivers.")
            return
        for change in found.changes:
            say(f"[yellow]late[/]     {escape(str(change))}")
        for lookup in found.lookups():
            say(f"[yellow]with it[/]  {lookup}")
        if dry_run:
            output.print(f"{sum(len(one.windows) for one in repairs)} partitions to build anew: `cartograph repair`")
            return
        warehouse, models = LOCATIONS
        steps = [
            Step(warehouse._replace(job="repair_job"), list(one.windows), repaired_assets(request).to_selection_str())
            for one, request in zip(repairs, requests(repairs), strict=True)
        ]
        # A feature looks at all of the past, so each later as-of date has changed, too.
        first, grain = repairs[0].windows[0], settings.partition_grain
        steps.append(Step(models, list(windows(first.start, found.loaded_until, grain)), None))
        logs = execute_all(settings, instance, steps, None, lock.fileno())
    conclude(settings, logs, time.monotonic() - began)
