"""A child process that executes jobs of one code location: `python -m cartograph.cli.worker MODULE`.

It loads the location's definitions and libraries, which takes seconds, says `READY` on its standard output, executes
what is asked on its standard input, a line each, and answers each with a status. What is printed meanwhile, Dagster's
log above all, goes to its standard error. A process of its own keeps that out of the terminal and gives the assets the
environment they need. It leads a process group, so that it and its own children (dbt) die with its parent. The other
end, and the order of jobs, is `cartograph.cli.jobs`'s business.
"""

from __future__ import annotations

import importlib
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import dagster as dg
from pydantic import BaseModel

from cartograph.cli.instance import CLI_TAG
from cartograph.cli.selection import Chosen, choose
from cartograph.leaving import leave
from cartograph.starting import to_stay
from cartograph.trust.automation import RANGE_TAGS

READY = "ready"
EXIT_FAILED = 1
EXIT_NOTHING_SELECTED = 3


class Request(BaseModel):
    """What to execute: a job of the location, over a range of partition keys, perhaps a selection of assets.

    `chosen` is the file in which the first worker of a run says what the selection holds of each job of `locations`.
    `tags` are the run's, beside those that each has.
    """

    locations: dict[str, list[str]]
    job: str
    run_id: str
    first: str
    last: str
    select: str | None
    chosen: Path
    tags: dict[str, str] = {}


def execute(definitions: dg.Definitions, request: Request) -> int:
    """Execute the request on the instance of `DAGSTER_HOME`; the status."""
    job = definitions.resolve_job_def(request.job)
    assets = {key.to_user_string(): key for key in job.asset_layer.executable_asset_keys}
    chosen = set(assets)
    if request.select is not None:
        chosen.intersection_update(chosen_of(request).assets[request.job])
        if not chosen:
            return EXIT_NOTHING_SELECTED
    with dg.DagsterInstance.get() as instance:
        result = job.execute_in_process(
            instance=instance,
            run_id=request.run_id,
            asset_selection=None if request.select is None else [assets[name] for name in sorted(chosen)],
            tags={**request.tags, RANGE_TAGS[0]: request.first, RANGE_TAGS[1]: request.last, CLI_TAG: "true"},
            raise_on_error=False,
        )
    return 0 if result.success else EXIT_FAILED


def chosen_of(request: Request) -> Chosen:
    """What the request's selection holds, as the first worker said it; said here where none has."""
    chosen = Chosen.read(request.chosen)
    if chosen is None:
        locations = [(importlib.import_module(name).defs(), jobs) for name, jobs in request.locations.items()]
        chosen = choose(request.select or "", locations)
        chosen.write(request.chosen)
    return chosen


def import_ahead(libraries: Iterable[str], asked: queue.Queue[str | None]) -> None:
    """Import what the steps would import one after the other when they need it, as long as there is nothing else to do.

    One that cannot be imported is told by the step that needs it.
    """
    for library in libraries:
        if not asked.empty():
            return
        with suppress(ImportError):
            importlib.import_module(library)


def root_cause(error: BaseException) -> str:
    """The message of the exception that the others were raised from: Dagster wraps what a shop file got wrong."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__


def _follow_parent(asked: queue.Queue[str | None]) -> None:
    """Take in what is asked. Where nobody asks any more, what is being done is killed, with its children."""
    for line in sys.stdin:
        asked.put(line)
    if asked.unfinished_tasks:
        os.killpg(os.getpgrp(), signal.SIGKILL)
    asked.put(None)


def main(module: str) -> NoReturn:
    """Execute what is asked until the parent closes the channel or ends; then this process ends, too."""
    asked: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_follow_parent, args=(asked,), daemon=True).start()
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        try:
            with to_stay():
                location = importlib.import_module(module)
                definitions = location.defs()
        except Exception as error:  # noqa: BLE001  the process boundary: whatever it is, the parent shows its cause
            sys.stderr.write(f"{''.join(traceback.format_exception(error))}\n{root_cause(error)}\n")
            leave(EXIT_FAILED)
        with to_stay():
            import_ahead(getattr(location, "LIBRARIES", ()), asked)
        answers.write(f"{READY}\n")
        while (request := asked.get()) is not None:
            status = execute(definitions, Request.model_validate_json(request))
            asked.task_done()
            answers.write(f"{status}\n")
    leave(0)


if __name__ == "__main__":
    main(sys.argv[1])
