"""`cartograph quarantine`: which rows broke their contract, why and where they came from, and loading them again."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cartograph.cli.console import count, names_and_numbers, output, say, size
from cartograph.cli.export import loaded_tables
from cartograph.cli.repair import mend
from cartograph.lake import Lake, TableMissing
from cartograph.lake.exporting import MANIFEST, Format, export
from cartograph.settings import load_settings
from cartograph.windows import Window, advance, floor
from cartograph.words import counted

QUARANTINE = "quarantine."
MERGED = "exact_duplicate"
"""The reason of rows that were merged into an equal one: nothing of them is missing."""

app = typer.Typer(help="Rows that broke their contract: why, where from, and how they get in.", no_args_is_help=True)

Datasets = Annotated[list[str] | None, typer.Argument(metavar="DATASET", help="Datasets; by default all.")]


@app.command("list")
def list_rows(datasets: Datasets = None) -> None:
    """List the reasons, with how many rows broke the contract by each, and on which days."""
    lake = Lake.from_settings(load_settings())
    chosen = quarantines(lake, datasets or [])
    table = names_and_numbers("dataset", "reason", "days", "in words", numbers=("rows",))
    total = 0
    with lake.connect() as connection:
        for identifier in chosen:
            found = connection.execute(
                f"""
                SELECT reason, count(*) AS n, min(CAST(window_start AS DATE)), max(CAST(window_start AS DATE)),
                    min(message)
                FROM ({lake.relation_sql(identifier)}) GROUP BY reason ORDER BY n DESC, reason"""
            ).fetchall()
            for reason, rows, first, last, message in found:
                days = f"{first}" if first == last else f"{first} to {last}"
                table.add_row(identifier.removeprefix(QUARANTINE), reason, days, message, count(rows))
                total += rows if reason != MERGED else 0
    if not table.row_count:
        output.print("No row is in the quarantine.")
        return
    output.print(table)
    if total:
        say(f"Missing from the lake: {counted(total, 'row')}. `cartograph quarantine show DATASET` shows which.")


@app.command()
def show(
    dataset: Annotated[str, typer.Argument(help="The dataset.")],
    reason: Annotated[str | None, typer.Option(help="Only rows with this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many rows.")] = 20,
) -> None:
    """Show rows as they were delivered, each with what is wrong with it and where it came from."""
    lake = Lake.from_settings(load_settings())
    (identifier,) = quarantines(lake, [dataset])
    with lake.connect() as connection:
        rows = connection.execute(
            f"""
            SELECT reason, message, _source, row FROM ({lake.relation_sql(identifier)})
            WHERE $reason IS NULL OR reason = $reason
            ORDER BY reason = $merged, reason, _source, row LIMIT $limit""",
            {"reason": reason, "limit": limit, "merged": MERGED},
        ).fetchall()
    for because, message, source, row in rows:
        say(f"[bold]{escape(because)}[/]  [dim]{escape(source)}[/]")
        output.print(message, markup=False, soft_wrap=True)
        output.print(json.dumps(json.loads(row), ensure_ascii=False), markup=False, soft_wrap=True)
    if not rows:
        output.print(f"No row of {dataset} is in the quarantine{f' for {reason}' if reason else ''}.")


@app.command("export")
def export_rows(
    folder: Annotated[Path, typer.Option("--to", help="The folder; it is made where there is none.")],
    datasets: Datasets = None,
    form: Annotated[Format, typer.Option("--format", help="csv or parquet.")] = "csv",
) -> None:
    """Write the quarantined rows as files, one for each dataset: for whoever mends the source.

    Only their owner can read the files: the rows are as they were delivered, with personal data.
    """
    lake = Lake.from_settings(load_settings())
    pins = lake.pin(quarantines(lake, datasets or []))
    files = export(lake, pins, folder.expanduser().absolute(), form=form, for_owner=True)
    for file in files:
        say(f"[green]✓[/] {file.file}  {counted(file.rows, 'row')}, {size(file.bytes)}")
    say(f"with {MANIFEST} in {folder}; the rows hold personal data as it was delivered")


@app.command()
def retry(datasets: Datasets = None) -> None:
    """Load again the partitions with quarantined rows of which a row would get in now, and all that is made of them.

    Do it after the source, its mapping or the contract was mended: rows that keep the contract now are in the lake
    afterwards, each once, and the others are in the quarantine. Rows that the source does not deliver any more are told
    by the check nothing_vanished.
    """
    settings = load_settings()
    waiting = broken_windows(Lake.from_settings(settings), datasets or [])
    if not waiting:
        output.print("No row waits in the quarantine.")
        return
    where = counted(len(waiting), "partition")
    nothing = f"Nothing {{else}} would change in {where} with quarantined rows: `cartograph quarantine show` says why."
    mend(settings, only=waiting, nothing=nothing)


def quarantines(lake: Lake, datasets: list[str]) -> list[str]:
    """The lake's quarantine tables of `datasets` (none: of all).

    Raises:
        TableMissing: nothing was loaded, or not what was asked for; the message has names that are near.
    """
    tables = [name for name in loaded_tables(lake) if name.startswith(QUARANTINE)]
    known = [table.removeprefix(QUARANTINE) for table in tables]
    if not known:
        raise TableMissing(f"{lake.settings.shop} has loaded nothing yet. `cartograph run` does.")
    unknown = [name for name in datasets if name not in known]
    if unknown:
        near = list(dict.fromkeys(match for name in unknown for match in get_close_matches(name, known)))
        raise TableMissing(
            f"No dataset of {lake.settings.shop} is called {', '.join(unknown)}. "
            + (f"Did you mean {', '.join(near)}? " if near else "")
            + f"There are: {', '.join(known)}."
        )
    return [QUARANTINE + name for name in dict.fromkeys(datasets or known)]


def broken_windows(lake: Lake, datasets: list[str]) -> set[Window]:
    """The partitions with a row that waits in the quarantine."""
    selects = [
        f"SELECT window_start FROM ({lake.relation_sql(table)}) WHERE reason <> '{MERGED}'"
        for table in quarantines(lake, datasets)
    ]
    with lake.connect() as connection:
        starts = connection.execute(f"SELECT DISTINCT window_start FROM ({' UNION ALL '.join(selects)})").fetchall()
    grain = lake.settings.partition_grain
    return {Window(begin := floor(start, grain), advance(begin, grain)) for (start,) in starts}
