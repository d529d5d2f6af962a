"""`cartograph run`: both code locations in order, with live progress and a summary that says where to go next."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal, NamedTuple
from uuid import uuid4

import dagster as dg
import typer
from pydantic import ValidationError
from rich.markup import escape

from cartograph.alerts.runbook import section
from cartograph.cli import EXIT_INTERRUPTED
from cartograph.cli.console import count, errors, names_and_numbers, output, say, say_error
from cartograph.cli.instance import close_dead_runs, only_run, open_instance, prepare_home, process_environment
from cartograph.cli.progress import LOADED, POLL_SECONDS, AssetDone, Outcome, RunLog, follow
from cartograph.cli.room import full_disk
from cartograph.cli.selection import Chosen
from cartograph.cli.worker import EXIT_NOTHING_SELECTED, Request
from cartograph.releases import NoRelease, Override, open_store
from cartograph.settings import Settings, load_settings
from cartograph.shops import Shop, ShopError, load_shop
from cartograph.trust.automation import OVERRIDE_TAGS
from cartograph.windows import Window, advance, at_midnight, windows
from cartograph.words import counted

EXIT_FAILED = 1
STOP_SECONDS = 30


class Location(NamedTuple):
    """A code location: the module of its definitions, and the job that runs all of it.

    `edge` says which edge of a window names a partition: its start, or, for as-of dates, its end. `releases` says
    whether the release is made there.
    """

    module: str
    job: str
    edge: Literal["start", "end"]
    releases: bool

    def partition_key(self, window: Window) -> str:
        """The key of the partition that belongs to `window`."""
        return (window.start if self.edge == "start" else window.end).date().isoformat()


LOCATIONS = (
    Location("ecom_assets.definitions", "warehouse_job", "start", releases=False),
    Location("ml_assets.definitions", "ml_job", "end", releases=True),
)


class Step(NamedTuple):
    """What one worker does: its location, the windows that it works on, and the assets, by default all of the job."""

    location: Location
    windows: list[Window]
    select: str | None


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
    with only_run(settings) as lock, open_instance(settings) as instance:
        if dead := close_dead_runs(instance):
            output.print(f"[yellow]Killed before: {counted(dead, 'run')}; what was not finished is loaded anew.[/]")
        warehouse, models = LOCATIONS
        since = chosen if select else since_first(instance, settings, chosen)
        steps = [Step(warehouse, chosen, select), Step(models, since, select)]
        logs = execute_all(settings, instance, steps, override, lock.fileno())
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


def override_config(override: Override) -> dict[str, dict[str, str]]:
    """The configuration by which the release hears of `override`."""
    return {"serving__release": {"override_by": override.by, "override_reason": override.reason}}


def override_tags(override: Override) -> dict[str, str]:
    """The tags of a run by which what it publishes hears of `override`."""
    return dict(zip(OVERRIDE_TAGS, (override.by, override.reason), strict=True))


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


class Worker(NamedTuple):
    """A child process that waits to execute a location's job: what it was told, and where its log is."""

    process: subprocess.Popen[bytes]
    request: Request
    log_path: Path

    @property
    def location(self) -> str:
        """The name of the code location."""
        return self.request.module.split(".")[0]


def execute_all(
    settings: Settings, instance: dg.DagsterInstance, steps: list[Step], override: Override | None, lock: int
) -> list[RunLog]:
    """Execute `steps` in order, up to the first that fails; each worker gets ready while the one before works.

    Not earlier: two that load their definitions side by side keep each other up. A step of which nothing is selected
    has no log; where that is known by then, it does not begin.
    """
    logs = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))

        said = {step.select: folder / f"{number}.json" for number, step in enumerate(steps)}

        def workers() -> Iterator[Worker]:
            for step in steps:
                chosen = Chosen.read(said[step.select])
                if chosen is None or chosen.assets[step.location.module]:
                    yield stack.enter_context(worker(settings, step, override, lock, said[step.select]))

        waiting = workers()
        ready: deque[Worker] = deque()

        def ready_the_next() -> None:
            if not ready:
                ready.extend(islice(waiting, 1))

        ready_the_next()
        while ready:
            log = execute(settings, instance, ready.popleft(), when_begun=ready_the_next)
            ready_the_next()
            if log is not None:
                logs.append(log)
                if not log.succeeded:
                    break
    return logs


@contextmanager
def worker(settings: Settings, step: Step, override: Override | None, lock: int, chosen: Path) -> Iterator[Worker]:
    """A child that loads a location's definitions and then waits to be told to go; it ends with the block."""
    location = step.location
    request = Request(
        module=location.module,
        locations=[one.module for one in LOCATIONS],
        job=location.job,
        run_id=str(uuid4()),
        first=location.partition_key(step.windows[0]),
        last=location.partition_key(step.windows[-1]),
        select=step.select,
        chosen=chosen,
        step_config=override_config(override) if override and location.releases else {},
        tags=override_tags(override) if override else {},
    )
    log_path = settings.logs_dir / f"{request.run_id}.log"
    with (
        log_path.open("wb") as sink,
        subprocess.Popen(
            [sys.executable, "-m", "cartograph.cli.worker", request.model_dump_json()],
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=process_environment(settings),
            pass_fds=(lock,),
            process_group=0,
            bufsize=0,  # so that a worker that has ended leaves nothing to be written when its pipe is closed
        ) as process,
    ):
        try:
            yield Worker(process, request, log_path)
        finally:
            if process.poll() is None:
                process.kill()


def execute(
    settings: Settings, instance: dg.DagsterInstance, started: Worker, when_begun: Callable[[], None]
) -> RunLog | None:
    """Let a worker go and show its progress; None where the selection leaves nothing to do in its location.

    `when_begun` is called again and again from its first step on.
    """
    process, request, log_path = started
    output.print(
        f"[bold]{started.location}[/]  {request.first} to {request.last}  [dim]log: {log_path}[/]", soft_wrap=True
    )
    log = RunLog()
    with suppress(BrokenPipeError):  # it has ended already: its exit status says why
        process.stdin.write(b"go\n")  # type: ignore[union-attr]
    with output.status("loading definitions") as status:
        try:
            while process.poll() is None:
                _show(instance, request.run_id, log)
                if log.running:
                    when_begun()
                status.update((log.running or "loading definitions").replace("__", "/", 1))
                with suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_SECONDS)
        except KeyboardInterrupt:
            status.update("stopping")
            _stop(process)
            errors.print("[yellow]Stopped.[/] What was finished is kept; run again to go on.")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        _show(instance, request.run_id, log)
    if process.returncode == EXIT_NOTHING_SELECTED:
        return None
    if process.returncode != 0:
        log.succeeded = False
        log.first_cause = log.first_cause or _last_line(log_path.read_text(encoding="utf-8", errors="replace"))
        place = section(log.failed_check[1] if log.failed_check else "run")
        causes = [log.first_cause, f"What to do: {place}", *filter(None, [full_disk(settings)])]
        causes.append(f"The whole log: {log_path}")
        say_error(f"{started.location} failed.", "\n".join(causes))
    return log


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


def _show(instance: dg.DagsterInstance, run_id: str, log: RunLog) -> None:
    for done in follow(instance, run_id, log):
        rows = counted(done.rows, "row") if done.rows is not None else ""
        output.print(f"  [green]✓[/] {done.key:<44} {rows:>16} {done.seconds:>7.1f} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "The process ended without a message."
