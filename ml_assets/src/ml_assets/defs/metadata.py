"""How materialisations describe themselves: rows, columns, the snapshots they were made from, and tables of figures."""

from __future__ import annotations

import subprocess
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from cartograph.contracts import Contract
from ml_assets.core.evaluation.plots import Picture

SNAPSHOTS = "lake_snapshots"
"""The metadata entry that holds the snapshot id of each lake table that a materialisation has read."""


def table_metadata(contract: Contract, rows: int, snapshots: Mapping[str, int]) -> dict[str, Any]:
    """Rows, columns and the snapshots read, of a materialised lake table."""
    columns = [
        dg.TableColumn(
            c.name, c.type, description=c.description, constraints=dg.TableColumnConstraints(nullable=c.nullable)
        )
        for c in contract.columns
    ]
    return {
        "dagster/row_count": rows,
        "dagster/column_schema": dg.TableSchema(columns),
        SNAPSHOTS: snapshot_metadata(snapshots),
    }


def snapshot_metadata(snapshots: Mapping[str, int]) -> dg.JsonMetadataValue:
    """Snapshot ids by table, as strings: JavaScript, which shows them, rounds numbers beyond 2^53."""
    return dg.MetadataValue.json({name: str(snapshot) for name, snapshot in sorted(snapshots.items())})


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> dg.MarkdownMetadataValue:
    """A table that the UI shows."""
    lines = [header, ["---"] * len(header), *rows]
    return dg.MetadataValue.md("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines))


def markdown_picture(picture: Picture) -> dg.MarkdownMetadataValue:
    """A picture that the UI shows, in the text itself: it serves no files, and lets `data:` through in Markdown."""
    data = b64encode(picture.content).decode()
    return dg.MetadataValue.md(f"{picture.caption}\n\n![{picture.name}](data:image/svg+xml;base64,{data})")


def git_commit() -> str | None:
    """The commit of the code that runs; None outside of a Git checkout."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever git the machine has
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return found.stdout.strip() or None
