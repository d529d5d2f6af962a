"""`cartograph status`: what the shop delivers, what that switches off, the tables, the last runs and the release."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated

import dagster as dg
import typer
from pydantic import BaseModel
from rich.markup import escape

from cartograph.cli import experiment, questions
from cartograph.cli.console import count, names_and_numbers, output, say
from cartograph.cli.declared import Declared
from cartograph.cli.instance import open_instance
from cartograph.cli.progress import RunLog, follow
from cartograph.lake import Lake
from cartograph.releases import NoRelease, open_store
from cartograph.settings import Settings, load_settings
from cartograph.shops import Shop, load_shop

_PUBLISHED = "published."


class LastRun(BaseModel):
    """The latest run of a job. `first_cause` says why it failed; where a check did, it is one of the complaints.

    `further_causes` say why other steps failed.
    """

    job: str
    run_id: str
    status: str
    started_at: datetime
    checks_passed: int
    checks_warned: int
    checks_failed: int
    complaints: list[str]
    first_cause: str | None
    further_causes: list[str]


class Status(BaseModel):
    """The state of a shop.

    `switched_off` says for each dataset that no source delivers what it would enable, `absent_marts` which marts.
    `empty_marts` were built and have no row, as where a column is not delivered that they are made of.
    `experiments_left_out` says why for each.
    `questions_left_out` says for each causal question that is not asked why.
    """

    shop: str
    title: str
    home: str
    start: date
    end: date | None
    partition_grain: str
    datasets: list[str]
    switched_off: dict[str, str]
    absent_marts: dict[str, list[str]]
    empty_marts: list[str]
    experiments_left_out: dict[str, str]
    questions_left_out: dict[str, str]
    tables: dict[str, int]
    last_runs: list[LastRun]
    release: str | None
    release_as_of: date | None


def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False) -> None:
    """Show the state of the chosen shop."""
    settings = load_settings()
    found = collect(settings, load_shop(settings))
    if as_json:
        output.print_json(found.model_dump_json())
    else:
        _print(found)


def collect(settings: Settings, shop: Shop) -> Status:
    """Gather the status; changes nothing, and makes no folder for a shop that has never run."""
    from ecom_assets.attribution import markov
    from ecom_assets.contracts import CONTRACTS
    from ecom_assets.warehouse.dbt_project import PROJECT_DIR
    from ecom_assets.warehouse.marts import marts_enabled_by

    has_state = settings.shop_home.is_dir()
    enabled_by = marts_enabled_by(PROJECT_DIR)
    enabled_by[markov.MADE_OF] = sorted([*enabled_by[markov.MADE_OF], markov.CONTRACT.dataset])
    try:
        release = open_store(settings).current() if has_state or settings.release_uri else None
    except NoRelease:
        release = None
    tables = Lake.from_settings(settings).tables() if has_state or settings.catalog_uri else []
    rows = {info.identifier: info.current.rows if info.current else 0 for info in tables}
    return Status(
        shop=shop.name,
        title=shop.title,
        home=str(settings.shop_home),
        start=shop.start,
        end=shop.end,
        partition_grain=settings.partition_grain,
        datasets=[name for name in CONTRACTS if name in shop.datasets],
        switched_off={name: c.enables for name, c in CONTRACTS.items() if name not in shop.datasets},
        absent_marts={name: marts for name, marts in enabled_by.items() if name not in shop.datasets},
        empty_marts=[name.removeprefix(_PUBLISHED) for name in rows if name.startswith(_PUBLISHED) and not rows[name]],
        experiments_left_out=_left_out(experiment.states(settings)),
        questions_left_out=_left_out(questions.states(settings)),
        tables=rows,
        last_runs=last_runs(settings),
        release=release.release_id if release else None,
        release_as_of=release.inputs.as_of if release else None,
    )


def _left_out(files: list[Declared]) -> dict[str, str]:
    """Why files are not used, by their names."""
    return {name: problem or lacking for name, problem, lacking in files if problem or lacking}


def last_runs(settings: Settings) -> list[LastRun]:
    """The latest run of each job, from the shop's Dagster instance; none where there is no instance yet."""
    if not (settings.dagster_home / "dagster.yaml").is_file():
        return []
    found: dict[str, LastRun] = {}
    with open_instance(settings) as instance:
        for record in instance.get_run_records(limit=50):
            run = record.dagster_run
            if run.job_name in found:
                continue
            log = RunLog()
            follow(instance, run.run_id, log)
            complaints = {name: f"{' '.join(name)}: {reason}" for name, reason in log.complaints.items()}
            cause = complaints[log.failed_check] if log.failed_check else log.first_cause
            found[run.job_name] = LastRun(
                job=run.job_name,
                run_id=run.run_id,
                status=run.status.value.lower(),
                started_at=datetime.fromtimestamp(record.start_time or record.create_timestamp.timestamp(), UTC),
                checks_passed=log.tally("passed"),
                checks_warned=log.tally("warned"),
                checks_failed=log.tally("failed"),
                complaints=list(complaints.values()),
                first_cause=cause if run.status == dg.DagsterRunStatus.FAILURE else None,
                further_causes=log.further_causes,
            )
    return list(found.values())


def print_run(run: LastRun) -> None:
    """Print how a run ended, what its checks complained of, and why it failed; each once."""
    checks = f"checks {run.checks_passed} passed, {run.checks_warned} warned, {run.checks_failed} failed"
    say(f"last run  {run.job} {run.status} {run.started_at:%Y-%m-%d %H:%M} UTC, {checks}")
    if run.first_cause:
        for cause in (run.first_cause, *run.further_causes):
            say(f"          [red]{escape(cause)}[/]")
    for complaint in run.complaints:
        if complaint != run.first_cause:
            say(f"          [yellow]{escape(complaint)}[/]")


def _print(found: Status) -> None:
    until = found.end or "open"
    output.print(
        f"[bold]{escape(found.title)}[/] ({found.shop})  {found.start} to {until}, {found.partition_grain} partitions"
    )
    output.print(f"home      {escape(str(found.home))}")
    output.print(f"delivers  {', '.join(found.datasets)}")
    for name, enables in found.switched_off.items():
        absent = f"; absent marts: {', '.join(found.absent_marts[name])}" if name in found.absent_marts else ""
        output.print(f"[yellow]without[/]   {name}: no {enables or 'required data'}{absent}")
    if found.empty_marts:
        output.print(
            f"[yellow]empty[/]     {', '.join(found.empty_marts)}: what the shop delivers gives no row; "
            "docs/data-catalog.md says what each is made of"
        )
    for name, reason in found.experiments_left_out.items():
        output.print(f"[yellow]left out[/]  the experiment {name}: {escape(reason)}")
    for name, reason in found.questions_left_out.items():
        output.print(f"[yellow]left out[/]  the question {name}: {escape(reason)}")
    for run in found.last_runs:
        print_run(run)
    if found.tables:
        table = names_and_numbers("table", numbers=("rows",))
        for name, rows in found.tables.items():
            table.add_row(name, count(rows))
        output.print(table)
    if found.release:
        output.print(f"release   {found.release}, as of {found.release_as_of}")
    else:
        output.print("release   none yet: `cartograph run` makes one")
