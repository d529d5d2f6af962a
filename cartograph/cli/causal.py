"""`cartograph causal`: causal questions about a file of yours, with estimates, checks and a verdict as JSON."""

from __future__ import annotations

import csv
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cartograph.cli.causal_panel import panel
from cartograph.cli.console import errors

app = typer.Typer(help="Causal questions: of a file of yours, and of the chosen shop.", no_args_is_help=True)


app.command()(panel)


@app.callback()
def causal() -> None:
    """Causal questions: of a file of yours (`estimate`, printed as JSON), and of the chosen shop."""


class Estimand(StrEnum):
    """Whose effect is asked for."""

    ATE = "ate"
    ATT = "att"


class Kind(StrEnum):
    """What a treatment is."""

    BINARY = "binary"
    DISCRETE = "discrete"
    CONTINUOUS = "continuous"


@app.command()
def estimate(
    data: Annotated[Path, typer.Option("--data", help="The file: CSV, also gzipped, or Parquet.")],
    treatment: Annotated[str, typer.Option(help="The column of what was done: two values, a few, or an amount.")],
    outcome: Annotated[str, typer.Option(help="The column of what came of it: numbers, or true and false.")],
    confounders: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B,…", help="Columns from before the treatment that had a part in it or move the outcome."
        ),
    ] = None,
    modifiers: Annotated[
        list[str] | None,
        typer.Option(metavar="A,B,…", help="Columns by which the effect may differ; they are adjusted for, too."),
    ] = None,
    estimand: Annotated[
        Estimand | None,
        typer.Option(
            case_sensitive=False,
            help="ate: the effect on all; att: on those who were treated. By default ate, or att where too few rows "
            "could have been treated or not.",
        ),
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option(case_sensitive=False, help="What the treatment is; by default its values tell.")
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(help="The value to compare with; by default one like 0, no or control, else the first in order."),
    ] = None,
    randomised: Annotated[
        bool, typer.Option("--randomised", help="Chance decided who was treated: no confounders are needed.")
    ] = False,
    unrecorded: Annotated[
        list[str] | None,
        typer.Option(metavar="WORDS", help="What it was also chosen by and the file does not hold: then no answer."),
    ] = None,
    negative_control: Annotated[
        list[str] | None,
        typer.Option(metavar="A,B,…", help="Columns that the treatment cannot have changed, such as earlier outcomes."),
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="The column that tells rows which depend on each other.")] = None,
    graph: Annotated[
        Path | None,
        typer.Option(help="A YAML file: edges, a list of `cause -> effect`; latent, the nodes that are no columns."),
    ] = None,
    no_trim: Annotated[
        bool, typer.Option("--no-trim", help="Keep rows without a comparison, and refuse if they are many.")
    ] = False,
) -> None:
    """The effect of a treatment on an outcome, with its 95 % interval, checks, and whether to believe it.

    Lists of columns are separated by commas ('"with, comma",age'), or the option is given again. docs/causal.md
    describes what is printed.
    """
    from ml_assets.core.causal.file_rows import Asked
    from ml_assets.core.causal.files import estimate

    asked = Asked(
        treatment=treatment,
        outcome=outcome,
        confounders=_columns(confounders),
        modifiers=_columns(modifiers),
        negative_controls=_columns(negative_control),
        cluster=cluster,
        kind=kind.value if kind else None,
        control=control,
        estimand=None if estimand is None else "ATT" if estimand is Estimand.ATT else "ATE",
        is_randomised=randomised,
        unrecorded=tuple(unrecorded or ()),
        graph=graph,
        trims=not no_trim,
    )
    with errors.status("estimating"):
        found = estimate(data, asked)
    typer.echo(json.dumps(found, indent=2))


def _columns(given: list[str] | None) -> tuple[str, ...]:
    """The columns of an option that was given once or more, each with one or more of them, as a line of CSV."""
    named = (name.strip() for line in csv.reader(given or (), skipinitialspace=True) for name in line)
    return tuple(dict.fromkeys(name for name in named if name))
