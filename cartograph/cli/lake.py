"""`cartograph lake`: the tables of the lake, their snapshots, and their upkeep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.table import Table

from cartograph.cli.console import count, output, size
from cartograph.lake import Lake
from cartograph.settings import load_settings

app = typer.Typer(help="Tables of the lake.", no_args_is_help=True)


@app.command()
def tables() -> None:
    """List the tables with their rows, files and size."""
    lake = Lake.from_settings(load_settings())
    table = Table("table", header_style="bold")
    for heading in ("rows", "files", "size", "snapshot"):
        table.add_column(heading, justify="right")
    for info in lake.tables():
        table.add_row(
            info.identifier, count(info.rows), count(info.files), size(info.bytes), str(info.snapshot_id or "")
        )
    output.print(table)


@app.command()
def snapshots(table: Annotated[str, typer.Argument(help="The table, e.g. raw.orders.")]) -> None:
    """List a table's snapshots, oldest first."""
    found = Table("snapshot", "committed (UTC)", "operation", header_style="bold")
    found.add_column("rows", justify="right")
    for snapshot in Lake.from_settings(load_settings()).snapshots(table):
        found.add_row(
            str(snapshot.snapshot_id),
            f"{snapshot.committed_at:%Y-%m-%d %H:%M:%S}",
            snapshot.operation,
            count(snapshot.rows),
        )
    output.print(found)


@app.command()
def maintain(
    table: Annotated[str | None, typer.Argument(help="The table; by default all.")] = None,
    keep: Annotated[int, typer.Option(min=1, help="Snapshots to keep in each table.")] = 10,
    grace_hours: Annotated[
        float,
        typer.Option(min=0, help="Spare unreferenced files younger than this; a writer may yet commit them."),
    ] = 24.0,
) -> None:
    """Merge small files, expire old snapshots and delete files that no snapshot refers to."""
    lake = Lake.from_settings(load_settings())
    older_than = datetime.now(UTC) - timedelta(hours=grace_hours)
    for identifier in [table] if table else [info.identifier for info in lake.tables()]:
        done = lake.maintain(identifier, keep_snapshots=keep, older_than=older_than)
        output.print(
            f"{identifier:<34} {done.files_before} → {done.files_after} files, "
            f"{done.snapshots_expired} snapshots expired, "
            f"{done.files_deleted} files ({size(done.bytes_deleted)}) deleted"
        )
