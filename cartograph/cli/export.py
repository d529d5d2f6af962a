"""`cartograph export`: published marts as files for Tableau, Power BI and Excel."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cartograph.cli.console import count, names_and_numbers, output, say, size
from cartograph.lake import ExportFailed, Lake, TableMissing
from cartograph.lake.exporting import EXCEL_ROWS, MANIFEST, ExportedFile, Format, export
from cartograph.settings import Settings, load_settings
from cartograph.windows import Window, at_midnight
from cartograph.words import counted

PUBLISHED = "published."
EVERYTHING = (datetime(1, 1, 1), datetime(9999, 12, 30))  # noqa: DTZ001 - days


def export_marts(
    folder: Annotated[Path, typer.Option("--to", help="The folder; it is made where there is none.")],
    marts: Annotated[list[str] | None, typer.Argument(metavar="MART", help="Marts; by default all.")] = None,
    form: Annotated[
        Format, typer.Option("--format", help="Parquet keeps the types; CSV is for what does not read it.")
    ] = "parquet",
    for_excel: Annotated[
        bool,
        typer.Option(
            "--excel", help="CSV that Excel opens by a click: with a byte order mark, and formulas in texts disarmed."
        ),
    ] = False,
    first_day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day of marts that have a time.")
    ] = None,
    last_day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day of marts that have a time.")
    ] = None,
) -> None:
    """Write published marts as files, one for each, with a manifest of snapshots, rows and checksums.

    A later export into the same folder replaces what it exports again; the rest stays, in the manifest too.

    CSV is UTF-8 with a header; moments are UTC. Personal data is exported as it is: docs/data-catalog.md names it.
    Without --excel, texts that a spreadsheet would take for formulas are exported as they are too.
    """
    settings = load_settings()
    if for_excel and form != "csv":
        raise ExportFailed("--excel is for CSV: add `--format csv`.")
    folder = folder.expanduser().absolute()
    if folder.resolve().is_relative_to(settings.home.resolve()):
        raise ExportFailed(
            f"{folder} lies in {settings.home}, where Cartograph keeps its state: choose another folder."
        )
    window, lake = chosen_window(first_day, last_day), Lake.from_settings(settings)
    pins = chosen_marts(lake, settings, marts or [])
    with output.status("exporting") as status:
        done = export(
            lake,
            pins,
            folder,
            form=form,
            for_excel=for_excel,
            window=window,
            on_table=lambda identifier: status.update(identifier.removeprefix(PUBLISHED)),
        )
    _print(done, folder)


def chosen_window(first_day: datetime | None, last_day: datetime | None) -> Window | None:
    """The days `first_day` to `last_day`, both included; None where neither is given.

    Raises:
        ExportFailed: the first is after the last.
    """
    if first_day is None and last_day is None:
        return None
    first, last = first_day or EVERYTHING[0], last_day or EVERYTHING[1]
    if first > last:
        raise ExportFailed(f"--first-day {first.date()} is after --last-day {last.date()}: exchange them.")
    return Window(at_midnight(first.date()), at_midnight(last.date() + timedelta(days=1)))


def chosen_marts(lake: Lake, settings: Settings, names: list[str]) -> dict[str, int]:
    """The lake tables of the marts called `names` (none: all that are published), each with its current snapshot.

    Raises:
        TableMissing: nothing is published, or not the one that was asked for; the message has names that are near.
    """
    pins = lake.pin(identifier for identifier in loaded_tables(lake) if identifier.startswith(PUBLISHED))
    published = [identifier.removeprefix(PUBLISHED) for identifier in pins]
    if not published:
        raise TableMissing(f"{settings.shop} has no published mart yet. `cartograph run` makes them.")
    unknown = [name for name in names if name not in published]
    if unknown:
        near = {match: None for name in unknown for match in get_close_matches(name, published)}
        raise TableMissing(
            f"No mart is published as {', '.join(unknown)}. "
            + (f"Did you mean {', '.join(near)}? " if near else "")
            + f"There are: {', '.join(published)}."
        )
    return {PUBLISHED + name: pins[PUBLISHED + name] for name in dict.fromkeys(names or published)}


def loaded_tables(lake: Lake) -> list[str]:
    """The lake's tables; a shop without state has none, and asking makes no folder."""
    has_state = lake.settings.shop_home.is_dir() or lake.settings.catalog_uri is not None
    return [info.identifier for info in lake.tables()] if has_state else []


def _print(files: Sequence[ExportedFile], folder: Path) -> None:
    table = names_and_numbers("file", "filtered by", numbers=("rows", "size"))
    for file in files:
        table.add_row(file.file, file.filtered_by or "", count(file.rows), size(file.bytes))
    output.print(table)
    for file in files:
        if file.for_excel and file.rows >= EXCEL_ROWS:
            say(f"[yellow]{file.file} is longer than an Excel sheet.[/] Choose fewer days, or read it by Power Query.")
    say(f"[green]✓[/] {counted(len(files), 'file')} and {MANIFEST} in {escape(str(folder))}")
