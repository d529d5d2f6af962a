"""A child process that executes one job of one code location: `python -m cartograph.cli.worker REQUEST`.

It loads the location's definitions and libraries, which takes seconds, and waits for a line on its standard input
before it executes, so that the next location is ready when the one before has ended. A process of its own keeps
Dagster's log out of the terminal and gives the assets the environment they need. It leads a process group, so that it
and its own children (dbt) die with its parent. Watching it is `cartograph.cli.progress`'s business.
"""

from __future__ import annotations

import importlib
import os
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
from cartograph.trust.automation import RANGE_TAGS

EXIT_FAILED = 1
EXIT_NOTHING_SELECTED = 3


class Request(BaseModel):
    """What to execute: a job of the location module, over a range of partition keys, perhaps a selection of assets.

    `chosen` is the file in which the first worker of a run says what the selection holds in each of the `locations`.
    `step_config` is Dagster's run configuration by the name of the step; that of a step left out is left out, too.
    `tags` are the run's, beside those that each has.
    """

    module: str
    locations: list[str]
    job: str
    run_id: str
    first: str
    last: str
    select: str | None
    chosen: Path
    step_config: dict[str, dict[str, str]] = {}
    tags: dict[str, str] = {}


def execute(request: Request, go: threading.Event) -> int:
    """Execute the request on the instance of `DAGSTER_HOME` once the parent says so; the exit status."""
    try:
        location = importlib.import_module(request.module)
        definitions = location.defs()
    except Exception as error:  # noqa: BLE001  the process boundary: whatever it is, the parent shows its cause
        sys.stderr.write(f"{''.join(traceback.format_exception(error))}\n{root_cause(error)}\n")
        return EXIT_FAILED
    job, selected = definitions.resolve_job_def(request.job), None
    if request.select is not None:
        selected = chosen_of(request)
        if not selected:
            return EXIT_NOTHING_SELECTED
    import_ahead(getattr(location, "LIBRARIES", ()), go)
    go.wait()
    steps = None if selected is None else {key.to_python_identifier() for key in selected}
    config = {step: {"config": c} for step, c in request.step_config.items() if steps is None or step in steps}
    with dg.DagsterInstance.get() as instance:
        result = job.execute_in_process(
            instance=instance,
            run_id=request.run_id,
            asset_selection=selected,
            run_config={"ops": config},
            tags={**request.tags, RANGE_TAGS[0]: request.first, RANGE_TAGS[1]: request.last, CLI_TAG: "true"},
            raise_on_error=False,
        )
    return 0 if result.success else EXIT_FAILED


def chosen_of(request: Request) -> list[dg.AssetKey]:
    """What the request's selection holds in its location, as the first worker said it; said here where none has."""
    chosen = Chosen.read(request.chosen)
    if chosen is None:
        chosen = choose(
            request.select or "", {name: importlib.import_module(name).defs() for name in request.locations}
        )
        chosen.write(request.chosen)
    return [dg.AssetKey.from_user_string(name) for name in chosen.assets[request.module]]


def import_ahead(libraries: Iterable[str], go: threading.Event) -> None:
    """Import what the steps would import one after the other when they need it, as long as there is nothing else to do.

    One that cannot be imported is told by the step that needs it.
    """
    for library in libraries:
        if go.is_set():
            return
        with suppress(ImportError):
            importlib.import_module(library)


def root_cause(error: BaseException) -> str:
    """The message of the exception that the others were raised from: Dagster wraps what a shop file got wrong."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__


def _follow_parent(go: threading.Event) -> None:
    if sys.stdin.readline():
        go.set()
        sys.stdin.read()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main(request: str) -> NoReturn:
    """Execute a request, as JSON, and end this process; it ends, too, when its parent does."""
    told = threading.Event()
    threading.Thread(target=_follow_parent, args=(told,), daemon=True).start()
    leave(execute(Request.model_validate_json(request), told))


if __name__ == "__main__":
    main(sys.argv[1])
