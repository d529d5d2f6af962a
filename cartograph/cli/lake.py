"""`cartograph lake`: the tables of the lake, their snapshots, and their upkeep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cartograph.cli.console import count, names_and_numbers, output, say, size
from cartograph.cli.models import has_registry
from cartograph.cli.options import finite
from cartograph.lake import Lake
from cartograph.releases import ReleaseError, open_store
from cartograph.settings import MOST_HOURS, Settings, load_settings
from cartograph.shops import load_shop
from cartograph.words import counted
from ml_assets.core.registry import ModelRegistry

app = typer.Typer(help="Tables of the lake.", no_args_is_help=True)


@app.command()
def tables() -> None:
    """List the tables with their rows, files and size."""
    found = Lake.from_settings(load_settings()).tables()
    if not found:
        output.print("The lake has no table yet. `cartograph run` fills it.")
        return
    table = names_and_numbers("table", numbers=("columns", "rows", "files", "size", "snapshots"))
    for info in found:
        now = info.current
        content = (count(now.rows), count(now.files), size(now.bytes)) if now else ("–", "–", "–")
        table.add_row(info.identifier, count(info.columns), *content, count(info.snapshots))
    output.print(table)


@app.command()
def snapshots(table: Annotated[str, typer.Argument(help="The table, e.g. raw.orders.")]) -> None:
    """List a table's snapshots, oldest first."""
    numbers = ("added", "deleted", "rows")
    found = names_and_numbers("snapshot", "committed (UTC)", "operation", "window", numbers=numbers)
    for snapshot in Lake.from_settings(load_settings()).snapshots(table):
        found.add_row(
            str(snapshot.snapshot_id),
            f"{snapshot.committed_at:%Y-%m-%d %H:%M:%S}",
            snapshot.operation,
            snapshot.window or "",
            *(count(rows) for rows in (snapshot.added_rows, snapshot.deleted_rows, snapshot.rows)),
        )
    output.print(found)


@app.command()
def maintain(
    table: Annotated[str | None, typer.Argument(help="The table; by default all.")] = None,
    keep: Annotated[int, typer.Option(min=1, help="Newest snapshots to keep of each table.")] = 20,
    grace_hours: Annotated[
        float,
        typer.Option(
            min=0,
            max=MOST_HOURS,
            callback=finite,
            help="Spare what is younger: a reader or writer may still need it.",
        ),
    ] = 24.0,
) -> None:
    """Merge small files, expire old snapshots, delete files that nothing refers to.

    Releases keep their snapshots, and so do the models that predict or wait.
    """
    settings = load_settings()
    lake = Lake.from_settings(settings)
    released, trained = released_snapshots(settings), trained_snapshots(settings)
    for identifier in [table] if table else [info.identifier for info in lake.tables()]:
        done = lake.maintain(
            identifier,
            now=datetime.now(UTC),
            keep_snapshots=keep,
            keep=released.get(identifier, set()) | trained.get(identifier, set()),
            min_age=timedelta(hours=grace_hours),
        )
        say(
            f"{identifier:<34} {counted(done.compacted_files, 'file')} merged into {done.written_files}, "
            f"{counted(done.expired_snapshots, 'snapshot')} expired, "
            f"{counted(done.deleted_files, 'file')} ({size(done.deleted_bytes)}) deleted"
        )


@app.command("copy-to-postgres")
def copy_to_postgres() -> None:
    """Copy the raw and quarantine tables into PostgreSQL (PGHOST, PGDATABASE, …), for dbt's target `postgres`."""
    from ecom_assets.warehouse.lake_views import pinned_views
    from ecom_assets.warehouse.raw_copy import copy_raw

    settings = load_settings()
    lake = Lake.from_settings(settings)
    with output.status("copying"):
        copied = copy_raw(lake, pinned_views(lake, load_shop(settings).datasets))
    for table, rows in copied.items():
        say(f"{table:<34} {counted(rows, 'row')}")


def released_snapshots(settings: Settings) -> dict[str, set[int]]:
    """The snapshot ids that a kept release was made from, by table.

    Raises:
        ReleaseError: a release cannot be read, so nobody knows what it was made from.
    """
    store, found = open_store(settings), dict[str, set[int]]()
    for reason in store.unreadable().values():
        raise ReleaseError(f"What each release was made from must be known, as that does not expire. {reason}")
    for manifest in store.list():
        for identifier, snapshot in manifest.inputs.snapshots.items():
            found.setdefault(identifier, set()).add(snapshot)
    return found


def trained_snapshots(settings: Settings) -> dict[str, set[int]]:
    """The snapshot ids that each champion and each challenger was trained on, by table: they can be made again."""
    found: dict[str, set[int]] = {}
    if not has_registry(settings):
        return found
    registry = ModelRegistry(settings.resolved_mlflow_uri)
    for version in (version for name in registry.names() for version in registry.versions(name) if version.aliases):
        for identifier, snapshot in version.snapshots.items():
            found.setdefault(identifier, set()).add(snapshot)
    return found
