"""`cartograph bench`: the model cores on a file of the user's own, with parameters and metrics as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cartograph.cli.console import errors

app = typer.Typer(help="Score the models on a file; prints JSON.", no_args_is_help=True)

Data = Annotated[Path, typer.Option("--data", help="The file.")]


@app.command()
def recommend(data: Data) -> None:
    """Score the recommendation models on sequences: a user's id and then items, oldest first, one user a line.

    The last item of each user is the test, the one before it tunes, all items that the user has not seen are ranked.
    """
    from ml_assets.core.bench.recommend import bench

    with errors.status("reading") as status:
        found = bench(data, status.update)
    typer.echo(json.dumps(found, indent=2))
