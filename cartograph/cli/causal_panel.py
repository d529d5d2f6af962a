"""`cartograph causal panel`: difference-in-differences or a synthetic control on a file of yours, as JSON."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cartograph.cli.console import say_error


class Design(StrEnum):
    """How treated units are compared."""

    DID = "did"
    SYNTHETIC_CONTROL = "synthetic_control"


def panel(
    data: Annotated[Path, typer.Option("--data", help="The file, CSV or Parquet: a row for each unit and period.")],
    unit: Annotated[str, typer.Option(help="The column of the unit: a region, a shop, a product.")],
    time: Annotated[str, typer.Option(help="The column of the period: numbers, or dates as 2024-01-31 or 2024-01.")],
    outcome: Annotated[str, typer.Option(help="The column of what is counted.")],
    treated: Annotated[str, typer.Option(help="The column that is 1 from a unit's first treated period on, else 0.")],
    cluster: Annotated[
        str | None, typer.Option(help="The column of what units depend on each other by; by default each is its own.")
    ] = None,
    method: Annotated[
        Design | None,
        typer.Option(help="By default few units treated at one time get a synthetic control, all others did."),
    ] = None,
) -> None:
    """What did a roll-out do? Units that got it at different times, some later or never.

    Prints estimates with intervals, the effect by period, the checks and the verdict. `not identified` says which
    check refuses it, such as units that moved apart before.
    """
    from ml_assets.core.bench.errors import BenchDataError
    from ml_assets.core.causal.panels.files import report
    from ml_assets.core.causal.panels.table import PanelError

    try:
        found = report(data, unit, time, outcome, treated, cluster, None if method is None else method.value)
    except (BenchDataError, PanelError) as error:
        say_error("Cannot answer:", str(error))
        raise typer.Exit(2) from None
    typer.echo(json.dumps(found, indent=2))
