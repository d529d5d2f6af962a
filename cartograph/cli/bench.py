"""`cartograph bench`: the model cores on a file of one's own; parameters and metrics as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(help="Models on a file of your own; parameters and metrics as JSON.", no_args_is_help=True)

Data = Annotated[Path, typer.Option("--data", help="A CSV file (also .csv.gz) or a Parquet file.")]


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
