"""`cartograph repair`: the partitions that late rows and mended files belong to, found and built anew."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from typing import Annotated

import typer
from rich.markup import escape

from cartograph.cli.console import output, say, say_warning
from cartograph.cli.export import loaded_tables
from cartograph.cli.instance import close_dead_runs, only_run, open_instance, prepare_home
from cartograph.cli.jobs import LOCATIONS, Step, crew_of, execute_all
from cartograph.cli.run import conclude, require_readable_sources, since_first
from cartograph.lake import Lake, TableMissing
from cartograph.settings import Settings, load_settings
from cartograph.shops import load_shop
from cartograph.windows import Window
from cartograph.words import counted


def repair(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which partitions, and why.")] = False,
) -> None:
    """Load the partitions again whose source delivers other rows than were loaded, and what is made of them.

    `cartograph up` does the same by itself, for the warehouse, whenever a source changes.
    """
    nothing = "Nothing {else} is late: each partition that was loaded is what its source delivers."
    mend(load_settings(), only=None, nothing=nothing, dry_run=dry_run)


def mend(settings: Settings, *, only: Collection[Window] | None, nothing: str, dry_run: bool = False) -> None:
    """Find the partitions, of `only` where that is given, that a load would change, and build them anew.

    `nothing` is said where there are none, `{else}` being filled in where something could not be read.

    Raises:
        TableMissing: nothing was loaded.
        Exit: a run failed; it has said why.
    """
    from ecom_assets.defs.quality.late_data import look, repaired_assets, requests
    from ecom_assets.unfinished_repairs import note_begun, note_made, unfinished

    shop = load_shop(settings)
    require_readable_sources(shop)
    if not any(table.startswith("raw.") for table in loaded_tables(Lake.from_settings(settings))):
        raise TableMissing(f"{settings.shop} has loaded nothing yet. `cartograph run` does.")
    prepare_home(settings)
    began = time.monotonic()
    with only_run(settings) as lock, open_instance(settings) as instance:
        close_dead_runs(instance, settings)
        with output.status("looking at the sources"):
            found = replace(look(instance, only), unfinished=unfinished(settings))
        repairs = found.repairs()
        for piece in found.unreadable:
            say_warning(f"{piece.name} cannot be read: {piece.reason}. {piece.cure}. What was loaded of it stays.")
        if not repairs:
            output.print(" ".join(nothing.replace("{else}", "else" if found.unreadable else "").split()))
            return
        for change in found.changes:
            say(f"[yellow]late[/]     {escape(str(change))}")
        for lookup in found.lookups():
            say(f"[yellow]with it[/]  {lookup}")
        for dataset, window in sorted(found.unfinished - found.touched):
            say(f"[yellow]again[/]    {dataset} {window.key}: an earlier repair of it did not end")
        if dry_run:
            number = counted(sum(len(one.windows) for one in repairs), "partition")
            output.print(f"{number} to build anew: `cartograph repair`")
            return
        warehouse, models = LOCATIONS
        if only is None:
            chosen = [repaired_assets(request).to_selection_str() for request in requests(repairs)]
            location = warehouse._replace(stages=(("repair_job",),))
            steps = [Step(location, list(one.windows), select) for one, select in zip(repairs, chosen, strict=True)]
        else:  # the run that loaded them may have been stopped before the warehouse had anything: all of it is made
            steps = [Step(warehouse, list(one.windows), None) for one in repairs]
        steps.append(Step(models, since_first(instance, settings, list(repairs[0].windows)), None))
        note_begun(settings, found.mended())
        with crew_of(settings, lock.fileno(), first=warehouse) as crew:
            logs = execute_all(settings, instance, crew, steps, None)
        if all(log.succeeded for log in logs):
            note_made(settings, [window for one in repairs for window in one.windows])
    conclude(settings, logs, time.monotonic() - began)
