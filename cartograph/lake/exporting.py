"""Copies of tables as plain files, for tools that read no Iceberg: Tableau, Power BI, Excel.

The files, their manifest, and how they come to stand in a folder all at once. Which tables are meant, and what a user
is told, is in `cartograph.cli.export`.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import duckdb
from pydantic import BaseModel, ConfigDict, ValidationError

from cartograph.lake.errors import ExportFailed
from cartograph.lake.lake import Lake
from cartograph.lake.reading import named, quoted
from cartograph.windows import Window

Format = Literal["parquet", "csv"]
MANIFEST = "manifest.json"
EXCEL_ROWS = 1_048_576
"""Rows of an Excel sheet, the header's included; Excel cuts a longer file off."""

_ASIDE = ".export-"
_BOM = "\ufeff"
# ADR 8. What OWASP lists under "CSV injection" as the beginnings that a spreadsheet takes for a formula.
_FORMULA = r"^[=+\-@\t\r\n＝＋－＠]"


class ExportedColumn(BaseModel):
    """A column of an exported file, with DuckDB's name of its type: CSV has none of its own."""

    model_config = ConfigDict(frozen=True)

    name: str
    type: str


class ExportedFile(BaseModel):
    """One table as a file, and how it was chosen to be written.

    `filtered_by` is the column that the days of the export were applied to, and `first_moment` and `end_moment` bound
    it, the latter without itself; None where the table has no time or all of it was exported.
    """

    model_config = ConfigDict(frozen=True)

    table: str
    file: str
    format: Format
    for_excel: bool
    snapshot_id: str  # a 64-bit number, which readers of JSON would round
    rows: int
    bytes: int
    sha256: str
    filtered_by: str | None
    first_moment: str | None
    end_moment: str | None
    columns: tuple[ExportedColumn, ...]


class ExportManifest(BaseModel):
    """What exports wrote into a folder, by table. The same snapshots and choices give the same: it holds no time."""

    model_config = ConfigDict(frozen=True)

    shop: str
    time_zone: Literal["UTC"] = "UTC"
    files: tuple[ExportedFile, ...]


def export(
    lake: Lake,
    pins: dict[str, int],
    folder: Path,
    *,
    form: Format,
    for_excel: bool = False,
    for_owner: bool = False,
    window: Window | None = None,
    on_table: Callable[[str], None] = lambda _: None,
) -> tuple[ExportedFile, ...]:
    """Write tables at their snapshots into `folder`, a file for each, and `manifest.json` last; the files written.

    Everything is written aside first, so that a failure leaves the folder as it was; files of the same names that an
    earlier export wrote are then replaced, each by one rename, and no other file is touched. The manifest keeps what
    it says of the others that are still there. Memory stays flat.
    `window` filters the tables that have an event time. `for_excel` begins a CSV with the byte order mark by which
    Excel knows UTF-8, and puts a `'` before a text that Excel would take for a formula; without it values are as they
    are. `for_owner` lets nobody else read the files. `on_table` hears of each table before it is written.

    Raises:
        ExportFailed: the folder cannot be written, or its disk is full, or a file there is not of an export, or what is
            exported there is of another shop.
    """
    earlier = _earlier(folder, lake.settings.shop, [f"{_name(identifier)}.{form}" for identifier in pins])
    with _aside(folder) as aside:
        files = []
        for identifier, snapshot_id in pins.items():
            on_table(identifier)
            files.append(_write(lake, identifier, snapshot_id, aside, form=form, for_excel=for_excel, window=window))
        written = {file.file for file in files}
        for name in written if for_owner else ():
            (aside / name).chmod(0o600)
        kept = (file for file in earlier if file.file not in written and (folder / file.file).exists())
        everything = tuple(sorted((*kept, *files), key=lambda file: file.file))
        manifest = ExportManifest(shop=lake.settings.shop, files=everything)
        (aside / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        for name in (*sorted(written), MANIFEST):
            (aside / name).replace(folder / name)
    return tuple(files)


def _earlier(folder: Path, shop: str, names: Sequence[str]) -> tuple[ExportedFile, ...]:
    """What exports wrote to `folder` before; ExportFailed where it is another shop's, or others wrote these names."""
    earlier: tuple[ExportedFile, ...] = ()
    own = set()
    with suppress(OSError, ValidationError):
        manifest = ExportManifest.model_validate_json((folder / MANIFEST).read_bytes())
        if manifest.shop != shop:
            raise ExportFailed(
                f"Nothing was exported to {folder}: {folder} has what was exported of shop {manifest.shop!r}. "
                f"Choose another folder for {shop!r}."
            )
        earlier, own = manifest.files, {*(file.file for file in manifest.files), MANIFEST}
    foreign = [name for name in (*names, MANIFEST) if name not in own and (folder / name).exists()]
    if foreign:
        raise ExportFailed(
            f"Nothing was exported to {folder}: no export wrote what is there under the same name: "
            f"{', '.join(foreign[:3])}. Choose another folder, or move it away."
        )
    return earlier


def _name(identifier: str) -> str:
    return identifier.split(".", 1)[1]


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """A folder within `folder`, so on the same disk, that is deleted at the end; a killed export leaves its own."""
    aside = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder, prefix=_ASIDE))
        yield aside
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise _failed(folder, f"{error.strerror or error}{where}") from None
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def _failed(folder: Path, reason: str) -> ExportFailed:
    return ExportFailed(
        f"Nothing could be exported to {folder}: {reason}. What is in it is as it was. "
        f"See that it is a folder that can be written, with room, or choose another."
    )


def _write(
    lake: Lake,
    identifier: str,
    snapshot_id: int,
    aside: Path,
    *,
    form: Format,
    for_excel: bool,
    window: Window | None,
) -> ExportedFile:
    path, event_time = aside / f"{_name(identifier)}.{form}", lake.event_time(identifier)
    filtered_by = event_time if window is not None else None
    scan = f"({lake.relation_sql(identifier, snapshot_id)}) AS exported"
    where = ""
    if window is not None and filtered_by is not None:
        low, high = (quoted(moment.isoformat()) for moment in (window.start, window.end))
        column = f"CAST({named(filtered_by)} AS TIMESTAMPTZ)"
        where = f" WHERE {column} >= TIMESTAMPTZ {low} AND {column} < TIMESTAMPTZ {high}"
    with lake.connect() as connection:
        described = connection.sql(f"SELECT * FROM {scan}")
        columns = [ExportedColumn(name=n, type=str(t)) for n, t in zip(described.columns, described.types, strict=True)]
        chosen = ", ".join(_csv_columns(columns, for_excel=for_excel) if form == "csv" else ["*"])
        options = "FORMAT csv, HEADER" if form == "csv" else "FORMAT parquet"
        try:
            copied = connection.execute(f"COPY (SELECT {chosen} FROM {scan}{where}) TO {quoted(str(path))} ({options})")
            (rows,) = copied.fetchone() or (0,)
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            raise _failed(aside.parent, str(error).splitlines()[0].rstrip(".")) from None
    with path.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    return ExportedFile(
        table=identifier,
        file=path.name,
        format=form,
        for_excel=for_excel,
        snapshot_id=str(snapshot_id),
        rows=rows,
        bytes=path.stat().st_size,
        sha256=digest,
        filtered_by=filtered_by,
        first_moment=window.start.isoformat() if window and filtered_by else None,
        end_moment=window.end.isoformat() if window and filtered_by else None,
        columns=tuple(columns),
    )


def _csv_columns(columns: Sequence[ExportedColumn], *, for_excel: bool) -> list[str]:
    """A select list for CSV: moments as UTC without an offset, which spreadsheets do not read as a time otherwise."""
    chosen = []
    for place, column in enumerate(columns):
        value = named(column.name)
        if column.type == "TIMESTAMP WITH TIME ZONE":
            value = f"{value} AT TIME ZONE 'UTC'"
        elif column.type == "VARCHAR" and for_excel:
            value = f"CASE WHEN regexp_matches({value}, {quoted(_FORMULA)}) THEN '''' || {value} ELSE {value} END"
        # DuckDB has no option for a byte order mark; the file begins with the first column's name.
        name = _BOM + column.name if for_excel and place == 0 else column.name
        chosen.append(f"{value} AS {named(name)}")
    return chosen
