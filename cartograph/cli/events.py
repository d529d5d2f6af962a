"""`cartograph events`: what the API took and keeps in the event log, and removing what the lake has for good."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cartograph.cli.console import count, names_and_numbers, output, say, size
from cartograph.cli.instance import only_run
from cartograph.events import Event, read, remove, segments
from cartograph.lake import Lake
from cartograph.settings import load_settings
from cartograph.words import counted

app = typer.Typer(help="Events that the API took: what waits in the log, and removing what is loaded.")


@app.command("list")
def list_segments() -> None:
    """List the segments of the log: how many events each has, and whether the lake has them all."""
    from ecom_assets.sources.event_log import is_loaded

    settings = load_settings()
    lake = Lake.from_settings(settings)
    table = names_and_numbers("segment", "in the lake", numbers=("events", "damaged", "size"))
    for path in segments(settings.events_dir):
        found = read(path)
        loaded = "all" if is_loaded(lake, found.events) else "not all"
        table.add_row(path.name, loaded, count(len(found.events)), count(found.damaged), size(path.stat().st_size))
    output.print(table if table.row_count else "The log is empty.")


@app.command()
def prune(
    keep_days: Annotated[int, typer.Option(min=0, help="Segments of this many last days stay in any case.")] = 30,
) -> None:
    """Remove segments whose events are all in the lake. Without them the lake alone has these events: back it up."""
    from ecom_assets.sources.event_log import is_loaded

    settings = load_settings()
    lake = Lake.from_settings(settings)
    first_kept = (datetime.now(UTC) - timedelta(days=keep_days)).date().isoformat()

    def is_done(name: str, events: Sequence[Event]) -> bool:
        return name < first_kept and is_loaded(lake, events)

    if not segments(settings.events_dir):
        output.print("The log is empty.")
        return
    with only_run(settings), output.status("looking the events up in the lake"):
        gone = remove(settings.events_dir, is_done)
    say(f"{counted(len(gone), 'segment')} removed, {count(len(segments(settings.events_dir)))} kept")
