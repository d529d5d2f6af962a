"""`cartograph run`: both code locations in order, with live progress and a summary that says where to go next."""

from __future__ import annotations

import threading
import time
import warnings
from collections import Counter
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Annotated

import dagster as dg
import typer
from pydantic import ValidationError
from rich.markup import escape

from cartograph.cli.console import count, names_and_numbers, output, say
from cartograph.cli.instance import close_dead_runs, only_run, open_instance, prepare_home
from cartograph.cli.jobs import LOCATIONS, Step, crew_of, execute_all
from cartograph.cli.progress import LOADED, AssetDone, Outcome, RunLog
from cartograph.releases import NoRelease, Override, open_store
from cartograph.settings import Settings, load_settings
from cartograph.shops import Shop, ShopError, load_shop
from cartograph.windows import Window, advance, at_midnight, windows
from cartograph.words import counted

EXIT_FAILED = 1
OUTCOMES: tuple[Outcome, ...] = ("passed", "warned", "failed")


def run(
    shop: Annotated[str | None, typer.Option(help="The shop; by default CARTOGRAPH_SHOP.")] = None,
    start: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day; by default the shop's first.")
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day; by default the shop's last.")
    ] = None,
    select: Annotated[
        str | None, typer.Option(help="Assets, in Dagster's selection syntax, e.g. 'key:raw/orders+'.")
    ] = None,
    override_by: Annotated[
        str | None,
        typer.Option(
            help="Your name, where you answer for what blocking checks keep from being published and released."
        ),
    ] = None,
    override_reason: Annotated[
        str | None, typer.Option(help="Why it goes out nevertheless; kept in the release with your name.")
    ] = None,
) -> None:
    """Load, build, train and release: everything, or the partitions and assets that you choose."""
    from ecom_assets.unfinished_repairs import note_made

    override = override_of(override_by, override_reason)
    require_selection(select)
    settings = load_settings(**({"shop": shop} if shop else {}))
    shop_of_run = load_shop(settings)
    chosen = chosen_windows(
        shop_of_run, settings, start.date() if start else None, end.date() if end else None, datetime.now(UTC)
    )
    require_readable_sources(shop_of_run)
    prepare_home(settings)
    began = time.monotonic()
    threading.Thread(target=parse_early, args=(settings, shop_of_run), daemon=True).start()
    warehouse, models = LOCATIONS
    with (
        only_run(settings) as lock,
        crew_of(settings, lock.fileno(), first=warehouse) as crew,  # it imports while the instance is opened
        open_instance(settings) as instance,
    ):
        if dead := close_dead_runs(instance, settings):
            output.print(f"[yellow]Killed before: {counted(dead, 'run')}; what was not finished is loaded anew.[/]")
        since = chosen if select else since_first(instance, settings, chosen)
        steps = [Step(warehouse, chosen, select), Step(models, since, select)]
        logs = execute_all(settings, instance, crew, steps, override)
        if select is None and all(log.succeeded for log in logs):
            note_made(settings, chosen)
    if not logs:
        raise ShopError(
            f"--select {select!r} selects no asset of this shop. Assets are named like marts/fct_orders: "
            "the graph in the UI (`cartograph up`) shows all, docs/naming.md says how they are called."
        )
    conclude(settings, logs, time.monotonic() - began)


def override_of(by: str | None, reason: str | None) -> Override | None:
    """The decision to release although blocking checks forbid it.

    Raises:
        BadParameter: only one of both is given, or the reason is too short to be one.
    """
    if by is None and reason is None:
        return None
    try:
        return Override(by=by or "", reason=reason or "")
    except ValidationError:
        raise typer.BadParameter(
            "--override-by takes a name, --override-reason says why in 10 to 1,000 characters on one line; give both."
        ) from None


def require_selection(select: str | None) -> None:
    """Raise BadParameter where `select` cannot be read, before anything is loaded."""
    if select is not None:
        try:
            with warnings.catch_warnings(action="ignore"):  # of Dagster's own use of its beta parameters
                dg.AssetSelection.from_string(select)
        except dg.DagsterError:
            raise typer.BadParameter(
                f"--select {select!r} is no asset selection. "
                "Examples: 'key:\"raw/orders\"+', 'group:\"marts\"', '+key:\"serving/release\"'."
            ) from None


def require_readable_sources(shop: Shop) -> None:
    """Raise ShopError or SourceError now, not in a child, where the shop's file names a source or attribute wrongly."""
    from ecom_assets.defs.ingestion.shop_sources import source_component

    for spec in shop.sources:
        source_component(spec, shop).reader(shop)


def chosen_windows(shop: Shop, settings: Settings, start: date | None, end: date | None, now: datetime) -> list[Window]:
    """The shop's partitions that hold the days `start` to `end`, both included.

    Raises:
        ShopError: no partition does.
    """
    if start is not None and end is not None and start > end:
        raise ShopError(f"--from {start} is after --to {end}: exchange them.")
    everything = shop.windows(settings.partition_grain, now)
    chosen = [
        window
        for window in everything
        if (start is None or window.end.date() > start) and (end is None or window.start.date() <= end)
    ]
    if not chosen:
        whole = f"{everything[0].key} to {everything[-1].end.date()}" if everything else "no ended partition yet"
        raise ShopError(f"No {settings.partition_grain} partition of {shop.name} lies in --from/--to; it has {whole}.")
    return chosen


def since_first(instance: dg.DagsterInstance, settings: Settings, chosen: list[Window]) -> list[Window]:
    """The windows from the first of `chosen` to the last that is published or chosen.

    A feature looks at all of the past: what changes in a window changes each later as-of date. One that was loaded and
    not published, as its run was killed, has none yet: customers would look as if they had stopped to order.
    """
    published = instance.get_materialized_partitions(dg.AssetKey(["published", "fct_orders"]))
    last = max([chosen[-1].start, *(at_midnight(date.fromisoformat(key)) for key in published)])
    return list(windows(chosen[0].start, advance(last, settings.partition_grain), settings.partition_grain))


def parse_early(settings: Settings, shop: Shop) -> None:
    """Parse the dbt project while the worker is still importing what it needs; it would take seconds after that.

    A project that does not parse is told by the worker, which finds no parse and tries itself.
    """
    from ecom_assets.warehouse.dbt_project import DbtProjectError, parsed_project

    with suppress(DbtProjectError):
        parsed_project(settings, shop.datasets)


def conclude(settings: Settings, logs: list[RunLog], seconds: float) -> None:
    """Print the summary; the exit status says whether everything succeeded."""
    summarise(settings, logs, seconds)
    if not all(log.succeeded for log in logs):
        raise typer.Exit(EXIT_FAILED)


def summarise(settings: Settings, logs: list[RunLog], seconds: float) -> None:
    """Print what was made, by layer, and where to look next."""
    title = f"{settings.shop}: {seconds:.0f} s"
    table = names_and_numbers("layer", numbers=("assets", "rows", "seconds"), title=title)
    layers: dict[str, list[AssetDone]] = {}
    for log in logs:
        for done in log.assets.values():
            layers.setdefault(done.key.split("/")[0], []).append(done)
    for layer, assets in layers.items():
        told = [done.rows for done in assets if done.rows is not None]  # views and models say none
        spent = sum(done.seconds for done in assets)
        table.add_row(layer, count(len(assets)), count(sum(told) if told else None), f"{spent:.1f}")
    output.print()
    output.print(table)
    loaded = sum((log.loaded for log in logs), Counter())
    if loaded["delivered_rows"]:
        delivered = counted(loaded[LOADED[0]], "row")
        accepted, merged, quarantined = (count(loaded[name]) for name in LOADED[1:])
        say(
            f"loaded   {delivered} delivered: {accepted} accepted, {merged} merged into a row that is equal, "
            f"{quarantined} quarantined; `cartograph quarantine list` says why"
        )
    tallies = (f"{count(sum(log.tally(outcome) for log in logs))} {outcome}" for outcome in OUTCOMES)
    say(f"checks   {', '.join(tallies)}")
    for log in logs:
        for (asset, check), reason in log.complaints.items():
            mark = "[yellow]![/]" if log.checks[asset, check] == "warned" else "[red]✗[/]"
            say(f"         {mark} {asset} {check}: {escape(reason)}")
    try:
        say(f"release  {open_store(settings).current().release_id}")
    except NoRelease:
        say("release  none yet")
    if all(log.succeeded for log in logs):
        chosen = f"CARTOGRAPH_SHOP={settings.shop} " if settings.shop != load_settings().shop else ""
        say(f"next     `{chosen}cartograph up` starts the UI and the API; `{chosen}cartograph status` tells the state")
