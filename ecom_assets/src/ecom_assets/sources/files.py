"""Delivers datasets from files: each dataset is a SELECT over file sets, run by DuckDB.

The selects and their windows belong here; the form of the shop's file is in `files_config`, finding, reading and
keeping files in `file_store`, `formats` and `landing`, what a select may reach in `sandbox`.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa

from cartograph.contracts import DUCKDB_TYPES
from cartograph.settings import Settings, get_settings
from cartograph.windows import Window
from cartograph.words import counted, listed
from ecom_assets.contracts import CONTRACTS
from ecom_assets.lineage import Origins, select_origins
from ecom_assets.sources import Delivery, SourceError, Unreadable
from ecom_assets.sources.files_config import FilesConfig, FileSet
from ecom_assets.sources.landing import Landing, Layout
from ecom_assets.sources.sandbox import explain, sandbox, single_select, tables_of
from ecom_assets.sql import identifier, literal

_MARK_MISREAD = "\ufeff".encode().decode("cp1252")
"""How a byte-order mark looks where UTF-8 is read as a Western encoding."""
_OPTIONAL = "Deliver it with the column, or name the column under `optional_columns`: it is null in this file then"


class FilesSource:
    """A `Source` over files. It looks at the files whenever it is asked, and reads again what is new or changed.

    A file that cannot be read, or lacks a column that a select needs, is left out and named in each delivery. What is
    read is kept, parsed, in a temporary folder for as long as the object lives.
    """

    def __init__(self, config: FilesConfig, shop_window: Window, settings: Settings | None = None) -> None:
        self._config = config
        self._shop_window = shop_window
        self._settings = settings or get_settings()
        self._versions: dict[str, int] = {}
        self._parts: dict[str, dict[str, Layout]] = {}
        self._misfits: dict[str, tuple[Unreadable, ...]] = {}
        self._built: set[str] = set()

    @property
    def datasets(self) -> frozenset[str]:
        """The datasets that have a select."""
        return frozenset(self._config.datasets)

    def deliveries(self, dataset: str, windows: Sequence[Window]) -> Iterator[Delivery]:
        """One delivery for the whole span of the consecutive `windows`.

        Raises:
            SourceError: no file is there or readable, or the select cannot be run.
        """
        span = Window(windows[0].start, windows[-1].end)
        sets = self._sets_of(dataset)
        self._refresh(dataset, sets)
        try:
            for owner in self._views_of(dataset):
                self._build(owner, self._views[owner])
            owner = dataset
            self._build(_delivery(dataset), self._placed(dataset))
            rows, unplaced = self._rows(dataset, span), self._unplaced(dataset, span)
        except duckdb.Error as error:
            readable = [self._described(name) for name in sets] or sorted(self._config.files)
            raise explain(owner, error, readable) from None
        unreadable = [file for name in sets for file in (*self._landings[name].unreadable, *self._misfits[name])]
        yield Delivery(span, rows, tuple(unreadable), unplaced)

    def fingerprint(self, dataset: str) -> str:
        """Of the names, sizes and times of the files, and of the select and the views that read them."""
        sets = self._sets_of(dataset)
        told = [self._select(dataset), *(self._views[name] for name in self._views_of(dataset))]
        told += [
            f"{name} {self._config.files[name].model_dump_json()} {self._landings[name].fingerprints()}"
            for name in sets
        ]
        return hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]

    def origins(self, dataset: str) -> dict[str, str]:
        """The file sets that the dataset's select reads, each with its path."""
        return {name: f"Files at {self._config.files[name].path}." for name in self._sets_of(dataset)}

    def column_origins(self, dataset: str) -> Origins:
        """The columns of the files that each column of the dataset's select is made of."""
        sets = self._sets_of(dataset)
        self._refresh(dataset, sets)
        tables = {name: self._columns(name) for name in sets}
        views = {name: self._views[name] for name in self._views_of(dataset)}
        return select_origins(self._select(dataset), views, tables)

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="cartograph-files-")

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        return sandbox(self._settings, Path(self._folder.name) / "spill")

    @cached_property
    def _landings(self) -> dict[str, Landing]:
        folder = Path(self._folder.name)
        return {
            name: Landing(file_set, self._settings, folder, self._connection)
            for name, file_set in self._config.files.items()
        }

    @cached_property
    def _views(self) -> dict[str, str]:
        return {
            name: single_select(self._connection, f"The view {name}", select)
            for name, select in self._config.views.items()
        }

    @cached_property
    def _selects(self) -> dict[str, str]:
        """The selects that can be read, by dataset."""
        found = {}
        for dataset in self._config.datasets:
            with suppress(SourceError):
                found[dataset] = self._select(dataset)
        return found

    def _select(self, dataset: str) -> str:
        return single_select(self._connection, dataset, self._config.datasets[dataset].select)

    @cached_property
    def _behind_views(self) -> dict[str, frozenset[str]]:
        """For each view the file sets and views that it builds on, directly or through one before it."""
        found: dict[str, frozenset[str]] = {}
        for view, select in self._views.items():
            found[view] = _with_views(tables_of(self._connection, select), found)
        return found

    def _uses(self, dataset: str) -> frozenset[str]:
        """The file sets and views that a dataset builds on, directly or through a view."""
        return _with_views(tables_of(self._connection, self._select(dataset)), self._behind_views)

    def _views_of(self, dataset: str) -> list[str]:
        used = self._uses(dataset)
        return [name for name in self._config.views if name in used]

    def _sets_of(self, dataset: str) -> list[str]:
        used = self._uses(dataset)
        return [name for name in self._config.files if name in used]

    def _refresh(self, dataset: str, sets: Sequence[str]) -> None:
        """Bring the tables that the selects see up to date; what was built on earlier ones is forgotten."""
        for name in sets:
            self._landings[name].refresh()
        versions = self._versions | {name: self._landings[name].version for name in sets}
        if versions == self._versions:
            return
        layouts = {name: found for name in versions if (found := self._landings[name].layouts())}
        for name in sets:
            if name not in layouts:
                raise _nothing_readable(dataset, name, self._landings[name].unreadable)
        self._show(layouts)
        self._built.clear()
        self._versions = versions

    def _show(self, layouts: Mapping[str, Sequence[Layout]]) -> None:
        """Give the selects a table for each file set, of the files whose columns do for every select on them."""
        for part in (part for parts in self._parts.values() for part in parts):
            self._connection.unregister(part)
        self._parts = {
            name: {f"__{name}_{number}": layout for number, layout in enumerate(found)}
            for name, found in layouts.items()
        }
        for name, parts in self._parts.items():
            for part, layout in parts.items():
                self._connection.register(part, layout.rows)
            _require_dated(name, self._config.files[name], [layout.rows.schema for layout in parts.values()])
            self._show_parts(name, parts)
        for name, parts in self._parts.items():
            self._misfits[name] = self._leave_out_misfits(name, parts) if len(parts) > 1 else ()

    def _leave_out_misfits(self, name: str, parts: Mapping[str, Layout]) -> tuple[Unreadable, ...]:
        """Show only the files of a set that have all that the selects take; where none has, the select is at fault.

        Raises:
            SourceError: each file lacks a column that another one has.
        """
        given = {dataset: columns for dataset in self._read_from(name) if (columns := self._bound(dataset))}
        complaints = {}
        for part, layout in parts.items():
            self._show_parts(name, {part: layout})
            complaints[part] = self._complaint(name, given)
        fitting = {part: layout for part, layout in parts.items() if complaints[part] is None}
        self._show_parts(name, fitting or parts)
        if not fitting and len(given) == len(self._read_from(name)):
            told = "; ".join(f"{listed(parts[part].files)}: {complaint}" for part, complaint in complaints.items())
            raise SourceError(f"No file of {name} has all columns that are selected ({told}). {_OPTIONAL}.")
        return tuple(
            Unreadable(file, f"it lacks a column that is selected ({complaint})", _OPTIONAL, lacks_column=True)
            for part, complaint in complaints.items()
            if fitting and complaint is not None
            for file in parts[part].files
        )

    def _read_from(self, name: str) -> list[str]:
        """The datasets whose selects are on file set `name`, and on no set that is not read yet."""
        uses = {dataset: set(self._sets_of(dataset)) for dataset in self._selects}
        return [dataset for dataset, sets in uses.items() if name in sets and self._parts.keys() >= sets]

    def _complaint(self, name: str, given: Mapping[str, Set[str]]) -> str | None:
        """Why a select cannot be bound to what is shown of file set `name`, or what it lacks of the columns `given`."""
        for dataset in self._read_from(name):
            try:
                columns = self._columns_of(dataset)
            except duckdb.Error as error:
                reason = str(error).splitlines()[0].removeprefix("Binder Error: ").rstrip("!")
                return f"{dataset}: {reason}; {self._names_in(name)}"
            # A select of all columns can be bound to any file, and would give nulls.
            if lacking := given.get(dataset, set()) - columns:
                return f"{dataset}: no {', '.join(sorted(lacking))}"
        return None

    def _names_in(self, name: str) -> str:
        """Which columns are there in what is shown of file set `name`."""
        columns = self._connection.sql(f"FROM {name}").columns
        marked = any(column.startswith(_MARK_MISREAD) for column in columns)
        cure = "; it begins with a byte-order mark, so set `encoding: utf-8`" if marked else ""
        return f"it has {', '.join(columns)}{cure}"

    def _bound(self, dataset: str) -> Set[str]:
        """The columns of the contract that a select gives of what is shown; none where it cannot be bound to that."""
        try:
            return self._columns_of(dataset)
        except duckdb.Error:
            return set()

    def _columns_of(self, dataset: str) -> Set[str]:
        views = ", ".join(f"{view} AS ({self._views[view]})" for view in self._views_of(dataset))
        with_views = f"WITH {views} " if views else ""
        columns = self._connection.sql(f"{with_views}SELECT * FROM ({self._select(dataset)})").columns
        return set(columns) & set(CONTRACTS[dataset].names)

    def _show_parts(self, name: str, parts: Mapping[str, Layout]) -> None:
        shown = " UNION ALL BY NAME ".join(
            _presented(self._config.files[name], part, layout.rows.schema) for part, layout in parts.items()
        )
        try:
            self._connection.execute(f"CREATE OR REPLACE VIEW {name} AS {shown}")
        except duckdb.Error as error:
            raise SourceError(
                f"The files of {name} cannot be read as one table: {str(error).splitlines()[0]} "
                "Correct `date_formats`, or make two file sets of files whose columns differ in type."
            ) from None

    def _build(self, table: str, select: str) -> None:
        if table not in self._built:
            self._connection.execute(f"CREATE OR REPLACE TABLE {table} AS {select}")
            self._built.add(table)

    def _placed(self, dataset: str) -> str:
        """The dataset's select with `__moment`: the event time, null where it is unreadable or outside the shop's."""
        contract, select = CONTRACTS[dataset], self._select(dataset)
        columns = self._connection.sql(select).columns
        moment = "CAST(NULL AS TIMESTAMPTZ)"
        if contract.event_time is not None:
            if contract.event_time not in columns:
                raise SourceError(
                    f"{dataset}: its select gives no {contract.event_time}, which places a row in time; it gives "
                    f"{', '.join(columns)}. Add it in the shop's file."
                )
            event_type = DUCKDB_TYPES[contract.column(contract.event_time).type]
            moment = f"CAST(TRY_CAST({contract.event_time} AS {event_type}) AS TIMESTAMPTZ)"
        source = "" if "_source" in columns else f", {literal(', '.join(self._sets_of(dataset)) or dataset)} AS _source"
        start, end = (f"TIMESTAMPTZ '{edge}'" for edge in (self._shop_window.start, self._shop_window.end))
        return f"""
            SELECT *{source}, CASE WHEN {moment} >= {start} AND {moment} < {end} THEN {moment} END AS __moment
            FROM ({select})
            """

    def _rows(self, dataset: str, span: Window) -> pa.Table:
        """The rows of `span`, and with the shop's first day those that have no place in its time."""
        return self._connection.execute(
            f"""
            SELECT * EXCLUDE (__moment) FROM {_delivery(dataset)}
            WHERE coalesce(__moment >= $start AND __moment < $end, $is_first)
            """,
            {"start": span.start, "end": span.end, "is_first": self._shop_window.start in span},
        ).to_arrow_table()

    def _unplaced(self, dataset: str, span: Window) -> int:
        """How many rows have no place in the shop's time, where `span` is without the shop's first day."""
        if self._shop_window.start in span or CONTRACTS[dataset].event_time is None:
            return 0
        counted = self._connection.execute(f"SELECT count(*) FROM {_delivery(dataset)} WHERE __moment IS NULL")
        return int(counted.fetchall()[0][0])

    def _described(self, name: str) -> str:
        layouts = self._parts[name].values()
        files = [file for layout in layouts for file in layout.files]
        rows = counted(sum(layout.rows.num_rows for layout in layouts), "row")
        return (
            f"{name} ({counted(len(files), 'file')}, e.g. {', '.join(files[:3])}; "
            f"{rows}; columns {', '.join(self._columns(name))})"
        )

    def _columns(self, name: str) -> tuple[str, ...]:
        """The columns that any file of a set has."""
        return tuple(dict.fromkeys(c for layout in self._parts[name].values() for c in layout.rows.column_names))


def _with_views(used: frozenset[str], behind: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """What a select uses, with what the views among it use."""
    return used.union(*(behind[name] for name in used & behind.keys()))


def _delivery(dataset: str) -> str:
    return f"__delivery_{dataset}"


def _presented(file_set: FileSet, part: str, schema: pa.Schema) -> str:
    """The SELECT that shows files of one layout: dates in ISO form, optional columns there."""
    present = {field.name.lower() for field in schema}
    dates = ", ".join(
        # What a format does not fit stays as it is, so that the quarantine shows the value that was delivered.
        f"coalesce(CAST(try_strptime({name}, [{', '.join(map(literal, formats))}]) AS VARCHAR), {name}) AS {name}"
        for name, formats in ((identifier(column), formats) for column, formats in file_set.date_formats.items())
        if name[1:-1].lower() in present
    )
    absent = "".join(
        f", CAST(NULL AS VARCHAR) AS {identifier(column)}"
        for column in file_set.optional_columns
        if column.lower() not in present
    )
    return f"SELECT *{f' REPLACE ({dates})' if dates else ''}{absent} FROM {part}"


def _require_dated(name: str, file_set: FileSet, schemas: Sequence[pa.Schema]) -> None:
    """Raise SourceError where `date_formats` names a column that no file of the set has."""
    there = {column for schema in schemas for column in schema.names}
    for column in file_set.date_formats:
        if column.lower() not in {one.lower() for one in (*there, *file_set.optional_columns)}:
            raise SourceError(
                f"{name}: its date_formats names {column}, and no file of it has such a column. Correct it in the "
                f"shop's file, or name it under `optional_columns`, too; there are {', '.join(sorted(there))}."
            )


def _nothing_readable(dataset: str, name: str, files: Sequence[Unreadable]) -> SourceError:
    first = " ".join(f"{file.name}: {file.reason}. {file.cure}." for file in files[:3])
    return SourceError(f"{dataset}: no file of {name} can be read, of {len(files):,}. {first}")
