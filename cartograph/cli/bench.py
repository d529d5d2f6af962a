"""`cartograph bench`: the models' own cores on a file of yours, with parameters and metrics as JSON."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

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
        float, typer.Option(min=1 / 24, max=366, help="Unit of time of the parameters, in days: 7 for weeks.")
    ] = 7,
) -> None:
    """Customer lifetime value: BG/NBD and Gamma-Gamma on transactions, CSV or Parquet: customer, date, amount.

    Prints the parameters, and how near the orders and the spend of each customer after the calibration were
    predicted: by the models, by each customer's own rate so far, and by the last period of the same length.
    """
    from ml_assets.core.bench.clv import run

    last = calibration_end.date() if calibration_end else None
    typer.echo(run(data, calibration_end=last, unit_days=unit_days).model_dump_json(indent=2))
