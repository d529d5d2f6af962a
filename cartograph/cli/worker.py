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
from cartograph.cli.selection import choose
from cartograph.leaving import leave
from cartograph.trust.automation import RANGE_TAGS

EXIT_FAILED = 1
EXIT_NOTHING_SELECTED = 3


class Handover(BaseModel):
    """What a worker tells the next one of the selection, and whether there is anything left for it to do."""

    reached: list[list[str]] = []
    is_complete: bool = False

    @classmethod
    def read(cls, path: Path | None) -> Handover:
        """What the worker before told; nothing where there was none."""
        return cls.model_validate_json(path.read_bytes()) if path is not None and path.is_file() else cls()

    def write(self, path: Path) -> None:
        """Tell it, at once: the parent looks at any moment."""
        aside = path.with_suffix(".new")
        aside.write_text(self.model_dump_json(), encoding="utf-8")
        aside.replace(path)


class Request(BaseModel):
    """What to execute: a job of the location module, over a range of partition keys, perhaps a selection of assets.

    `before` is the file in which the worker before told what the selection reached, and `after` that for the next one.
    `step_config` is Dagster's run configuration by the name of the step; that of a step left out is left out, too.
    `tags` are the run's, beside those that each has.
    """

    module: str
    job: str
    run_id: str
    first: str
    last: str
    select: str | None
    before: Path | None
    after: Path
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
    job, graph, selected = definitions.resolve_job_def(request.job), definitions.resolve_asset_graph(), None
    import_ahead(getattr(location, "LIBRARIES", ()), go)
    go.wait()
    if request.select is not None:
        chosen = choose(request.select, graph, Handover.read(request.before).reached)
        Handover(reached=chosen.reached, is_complete=chosen.is_complete).write(request.after)
        selected = sorted(chosen.keys & set(job.asset_layer.executable_asset_keys))
        if not selected:
            return EXIT_NOTHING_SELECTED
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
