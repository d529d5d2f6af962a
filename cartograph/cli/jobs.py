"""The jobs of the code locations, in order, in child processes, with live progress.

Jobs of a stage work side by side, a process each; the stages of a location, and the locations, one after the other.
What a child does is in `cartograph.cli.worker`.
"""

from __future__ import annotations

import select
import signal
import subprocess
import sys
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple
from uuid import uuid4

import dagster as dg
import typer

from cartograph.alerts.runbook import section
from cartograph.cli import EXIT_INTERRUPTED
from cartograph.cli.console import errors, output, say_error
from cartograph.cli.instance import close_dead_runs, process_environment
from cartograph.cli.progress import POLL_SECONDS, RunLog, follow
from cartograph.cli.room import full_disk
from cartograph.cli.selection import Chosen
from cartograph.cli.worker import EXIT_FAILED, EXIT_NOTHING_SELECTED, READY, Request
from cartograph.releases import Override
from cartograph.settings import Settings
from cartograph.trust.automation import OVERRIDE_TAGS
from cartograph.windows import Window
from cartograph.words import counted

STOP_SECONDS = 30


class Location(NamedTuple):
    """A code location: the module of its definitions, and the stages of jobs that together run all of it.

    No job takes what another of its stage makes. `edge` says which edge of a window names a partition: its start, or,
    for as-of dates, its end.
    """

    module: str
    stages: tuple[tuple[str, ...], ...]
    edge: Literal["start", "end"]

    @property
    def name(self) -> str:
        """The name of the code location."""
        return self.module.split(".")[0]

    @property
    def jobs(self) -> list[str]:
        """The jobs of all stages, in order."""
        return [job for stage in self.stages for job in stage]

    def partition_key(self, window: Window) -> str:
        """The key of the partition that belongs to `window`."""
        return (window.start if self.edge == "start" else window.end).date().isoformat()


LOCATIONS = (
    Location("ecom_assets.definitions", (("warehouse_job",),), "start"),
    Location("ml_assets.definitions", (("features_job",), ("models_job", "evidence_job"), ("release_job",)), "end"),
)
MOST_AT_ONCE = max(len(stage) for location in LOCATIONS for stage in location.stages)


class Step(NamedTuple):
    """What is done in one location: the windows that it works on, and the assets, by default all of its jobs."""

    location: Location
    windows: list[Window]
    select: str | None


@dataclass
class Worker:
    """A child process of a code location."""

    location: Location
    process: subprocess.Popen[bytes]
    log_path: Path
    ready: bool = False
    busy: bool = False
    status: int | None = None
    """What it answered, or that of the process where it has ended."""

    def ask(self, request: Request) -> None:
        """Let it execute `request`, as soon as its definitions are loaded."""
        self.busy = True
        with suppress(BrokenPipeError):  # it has ended already: its status says so
            self.process.stdin.write(f"{request.model_dump_json()}\n".encode())  # type: ignore[union-attr]

    def listen(self) -> None:
        """Take in what it has said."""
        channel = self.process.stdout
        while self.status is None and select.select([channel], [], [], 0)[0]:
            said = channel.readline().decode().strip()  # type: ignore[union-attr]
            if said == READY:
                self.ready = True
            else:
                self.status = int(said) if said else self.process.wait() or EXIT_FAILED

    def rest(self) -> None:
        """Free it for what is next; one whose process has ended stays as it is."""
        self.busy = False
        if self.process.poll() is None:
            self.status = None


class Run(NamedTuple):
    """What a worker executes, and what has been told of it."""

    worker: Worker
    request: Request
    log: RunLog


class Plan:
    """The steps of a run, what is selected of each, and what its workers are asked."""

    def __init__(self, steps: list[Step], override: Override | None, folder: Path) -> None:
        """For `steps`; in `folder` workers say what the selections hold."""
        self.steps, self._override, self._folder = steps, override, folder

    def request(self, step: Step, job: str) -> Request:
        """What a worker is asked to execute."""
        return Request(
            locations={one.location.module: one.location.jobs for one in self.steps if one.select == step.select},
            job=job,
            run_id=str(uuid4()),
            first=step.location.partition_key(step.windows[0]),
            last=step.location.partition_key(step.windows[-1]),
            select=step.select,
            chosen=self._said(step),
            tags=override_tags(self._override) if self._override else {},
        )

    def holds(self, step: Step, job: str) -> bool:
        """Whether something of `job` is selected, as far as that is known by now."""
        chosen = Chosen.read(self._said(step))
        return chosen is None or bool(chosen.assets[job])

    def needed(self, step: Step) -> int | None:
        """How many workers can work side by side on `step`; None while that is not known."""
        if step.select is not None and not self._said(step).is_file():
            return None
        return max(sum(self.holds(step, job) for job in stage) for stage in step.location.stages)

    def _said(self, step: Step) -> Path:
        """The file in which a worker says what the selection of `step` holds."""
        return self._folder / f"{[one.select for one in self.steps].index(step.select)}.json"


class Crew:
    """The workers of a run: each is started ahead of its first job, once those before it are ready.

    Not all at once: those that load their definitions side by side keep each other up.
    """

    def __init__(self, settings: Settings, lock: int, stack: ExitStack) -> None:
        """Without any yet; the lock file `lock` stays open in each worker, and all of them end with `stack`."""
        self._settings, self._lock, self._stack = settings, lock, stack
        self._workers: defaultdict[str, list[Worker]] = defaultdict(list)

    def start(self, location: Location) -> None:
        """Start one more worker of `location`."""
        started = start_worker(self._settings, location, self._lock)
        self._workers[location.module].append(self._stack.enter_context(started))

    def free(self, location: Location) -> Worker | None:
        """A worker of the location that has nothing to do; the first one is started here where it was not needed."""
        workers = self._workers[location.module]
        if not workers:
            self.start(location)
        return next((worker for worker in workers if not worker.busy), None)

    def start_next(self, plan: Plan, now: Step) -> None:
        """Start the worker that is needed next, unless one is still getting ready, while `now` is at work.

        That is one more of its location where its jobs will be side by side, or the first of the location after it.
        """
        for worker in chain.from_iterable(self._workers.values()):
            worker.listen()
            if not worker.ready:
                return
        after = plan.steps[plan.steps.index(now) + 1 :]
        for step, most in ((now, MOST_AT_ONCE), *((step, 1) for step in after[:1])):
            if (needed := plan.needed(step)) is None:
                return
            if len(self._workers[step.location.module]) < min(needed, most):
                self.start(step.location)
                return


def override_tags(override: Override) -> dict[str, str]:
    """The tags of a run by which what it publishes and releases hears of `override`."""
    return dict(zip(OVERRIDE_TAGS, (override.by, override.reason), strict=True))


@contextmanager
def start_worker(settings: Settings, location: Location, lock: int) -> Iterator[Worker]:
    """A child that loads a location's definitions and then waits to be asked; it ends with the block."""
    log_path = settings.logs_dir / f"{location.name}-{uuid4()}.log"
    with (
        log_path.open("wb") as sink,
        subprocess.Popen(
            [sys.executable, "-m", "cartograph.cli.worker", location.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            env=process_environment(settings),
            pass_fds=(lock,),
            process_group=0,
            bufsize=0,  # nothing is left to be written when a pipe is closed, and nothing read that was not asked for
        ) as process,
    ):
        try:
            yield Worker(location, process, log_path)
        finally:
            process.stdin.close()  # type: ignore[union-attr]
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            process.kill()


@contextmanager
def crew_of(settings: Settings, lock: int, first: Location) -> Iterator[Crew]:
    """The workers of a run that holds the lock file `lock`, one of `first` so far; they end with the block."""
    with ExitStack() as stack:
        crew = Crew(settings, lock, stack)
        crew.start(first)
        yield crew


def execute_all(
    settings: Settings, instance: dg.DagsterInstance, crew: Crew, steps: list[Step], override: Override | None
) -> list[RunLog]:
    """Execute `steps` in order, up to the first stage in which a job fails; a job without assets has no log."""
    logs: list[RunLog] = []
    with TemporaryDirectory() as folder:
        plan = Plan(steps, override, Path(folder))
        for step in steps:
            for stage in step.location.stages:
                done = execute_side_by_side(settings, instance, crew, plan, step, stage)
                logs += done
                if not all(log.succeeded for log in done):
                    return logs
    return logs


def execute_side_by_side(
    settings: Settings, instance: dg.DagsterInstance, crew: Crew, plan: Plan, step: Step, stage: Iterable[str]
) -> list[RunLog]:
    """Let workers execute the jobs of a stage, and show their progress."""
    waiting, runs, logs = deque(job for job in stage if plan.holds(step, job)), list[Run](), list[RunLog]()
    with output.status("loading definitions") as status:
        try:
            while waiting or runs:
                while waiting and (free := crew.free(step.location)) is not None:
                    runs.append(_begun(free, plan.request(step, waiting.popleft())))
                crew.start_next(plan, step)
                select.select([run.worker.process.stdout for run in runs], [], [], POLL_SECONDS)
                for run in list(runs):
                    run.worker.listen()
                    _show(instance, run)
                    if run.worker.status is not None:
                        runs.remove(run)
                        logs += _concluded(settings, run)
                        run.worker.rest()
                at_work = ((run.log.running or "loading definitions").replace("__", "/", 1) for run in runs)
                status.update(", ".join(at_work))
        except KeyboardInterrupt:
            status.update("stopping")
            _stop([run.worker for run in runs])
            close_dead_runs(instance, settings)  # those that had not begun
            errors.print("[yellow]Stopped.[/] What was finished is kept; run again to go on.")
            raise typer.Exit(EXIT_INTERRUPTED) from None
    return logs


def _begun(worker: Worker, request: Request) -> Run:
    worker.ask(request)
    what = f"[bold]{worker.location.name}[/] {request.job}"
    output.print(f"{what}  {request.first} to {request.last}  [dim]log: {worker.log_path}[/]", soft_wrap=True)
    return Run(worker, request, RunLog())


def _show(instance: dg.DagsterInstance, run: Run) -> None:
    for done in follow(instance, run.request.run_id, run.log):
        rows = counted(done.rows, "row") if done.rows is not None else ""
        output.print(f"  [green]✓[/] {done.key:<44} {rows:>16} {done.seconds:>7.1f} s")


def _concluded(settings: Settings, run: Run) -> list[RunLog]:
    """The log of what a worker has done, none where it had nothing to do; where it failed, that is said."""
    worker, log = run.worker, run.log
    if worker.status == EXIT_NOTHING_SELECTED:
        return []
    if worker.status != 0:
        log.succeeded = False
        log.first_cause = log.first_cause or _last_line(worker.log_path.read_text(encoding="utf-8", errors="replace"))
        place = section(log.failed_check[1] if log.failed_check else "run")
        causes = [log.first_cause, *(f"Also {cause}" for cause in log.further_causes), f"What to do: {place}"]
        causes += filter(None, [full_disk(settings)])
        causes.append(f"The whole log: {worker.log_path}")
        say_error(f"{worker.location.name} failed.", "\n".join(causes))
    return [log]


def _stop(workers: list[Worker]) -> None:
    """Interrupt what they do, and wait a while for it to end; what has not by then is killed with the others."""
    for worker in workers:
        worker.process.send_signal(signal.SIGINT)
    until = time.monotonic() + STOP_SECONDS
    for worker in workers:
        select.select([worker.process.stdout], [], [], max(0, until - time.monotonic()))


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "The process ended without a message."
