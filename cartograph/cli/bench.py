"""`cartograph bench`: the models' own cores on a file of yours, with parameters and metrics as JSON."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from cartograph.cli.console import errors
from cartograph.cli.options import finite

app = typer.Typer(
    help="Run the models on a file in a documented format, apart from any shop; prints JSON.", no_args_is_help=True
)

Data = Annotated[Path, typer.Option("--data", help="The file.")]


@app.command()
def clv(
    data: Data,
    calibration_end: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Last day given to the models; by default the middle of the dates."),
    ] = None,
    unit_days: Annotated[
        float,
        typer.Option(
            callback=finite, min=1 / 24, max=366, help="Unit of time of the parameters, in days: 7 for weeks."
        ),
    ] = 7,
) -> None:
    """Customer lifetime value: BG/NBD and Gamma-Gamma on transactions, CSV or Parquet: customer, date, amount.

    Prints the parameters, and how near the orders and the spend of each customer after the calibration were
    predicted: by the models, by each customer's own rate so far, and by the last period of the same length. Where
    amounts have no mean (all are 0 or less, or the tail is too heavy), spend is left to these two, and a note says why.
    """
    from ml_assets.core.bench.clv import bench

    last = calibration_end.date() if calibration_end else None
    typer.echo(json.dumps(bench(data, calibration_end=last, unit_days=unit_days), indent=2))


@app.command()
def recommend(data: Data) -> None:
    """Score the recommendation models on sequences: a user's id and then items, oldest first, one user a line.

    The last item of each user is the test, the one before it tunes, all items that the user has not seen are ranked.
    """
    from ml_assets.core.bench.recommend import bench

    with errors.status("reading") as status:
        found = bench(data, status.update)
    typer.echo(json.dumps(found, indent=2))


@app.command()
def forecast(
    data: Data,
    horizon: Annotated[
        int | None,
        typer.Option(min=1, max=366, help="Periods ahead; by default 14 days, 8 weeks or 6 months, as the dates are."),
    ] = None,
    absent: Annotated[
        Literal["zero", "unknown"] | None,
        typer.Option(
            help="A date without a row: nothing sold, or not counted. By default the file's own zeros decide."
        ),
    ] = None,
) -> None:
    """Forecast demand. Columns: series, date, quantity (0 or more), and any regressors that are known ahead."""
    from ml_assets.core.bench.forecast import bench

    typer.echo(json.dumps(bench(data, horizon=horizon, absent=absent), indent=2))
