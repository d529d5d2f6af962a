"""Keeps the readable files of a file set at hand as memory-mapped Arrow, reading again only what is new or changed.

Landed files live in a temporary folder of the process: memory stays flat and each file is parsed once however many
datasets and windows are read from it. What the rows mean is not known here: `files` runs the selects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from cartograph.settings import Settings
from ecom_assets.sources import Unreadable
from ecom_assets.sources.file_store import FileStore, FoundFile
from ecom_assets.sources.files_config import FileSet
from ecom_assets.sources.formats import FILE, UnusableFileError, explained, read


@dataclass(frozen=True)
class Layout:
    """Files that have the same columns, as one table with `_file` and `_line`."""

    rows: pa.Table
    files: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Landed:
    fingerprint: str
    rows: pa.Table
    left_out: UnusableFileError | None


class Landing:
    """The files of one set. `version` rises when what can be read from them changes."""

    def __init__(self, file_set: FileSet, settings: Settings, folder: Path, connection: duckdb.DuckDBPyConnection):
        self.version = 0
        self.unreadable: tuple[Unreadable, ...] = ()
        self._file_set = file_set
        self._store = FileStore(file_set.path, settings)
        self._folder = folder
        self._connection = connection
        self._landed: dict[str, _Landed] = {}
        self._count = 0

    def fingerprints(self) -> list[tuple[str, str]]:
        """The name and fingerprint of each file that is there now. Raises SourceError where there is none."""
        return [(file.name, file.fingerprint) for file in self._store.list()]

    def refresh(self) -> None:
        """Look at the files: read what is new or changed, forget what is gone.

        A file that cannot be read, or that changes while it is read, is left out and named in `unreadable`; it is
        tried again the next time. A file of which only lines are left out is named there, too.

        Raises:
            SourceError: there are no files, or they cannot be listed.
        """
        found = self._store.list()
        landed: dict[str, _Landed] = {}
        unreadable = []
        stale = False
        for file in found:
            known = self._landed.get(file.name)
            if known is not None and known.fingerprint == file.fingerprint:
                landed[file.name] = known
                continue
            stale = True
            try:
                landed[file.name] = self._land(file)
            except UnusableFileError as problem:
                unreadable.append(Unreadable(file.name, problem.reason, problem.cure))
        if stale:
            moved = [name for name in _changed(found, self._store.list()) if landed.pop(name, None) is not None]
            unreadable += [
                Unreadable(name, "it changed while it was read", "Run again when it is complete") for name in moved
            ]
        unreadable += [Unreadable(n, f.left_out.reason, f.left_out.cure) for n, f in landed.items() if f.left_out]
        if landed != self._landed:
            self.version += 1
        self._landed = landed
        self.unreadable = tuple(unreadable)

    def layouts(self) -> list[Layout]:
        """The readable files, those with the same columns together, in the order of their names."""
        groups: dict[pa.Schema, list[str]] = {}
        for name in sorted(self._landed):
            groups.setdefault(self._landed[name].rows.schema.remove_metadata(), []).append(name)
        return [
            Layout(pa.concat_tables(self._landed[name].rows.replace_schema_metadata() for name in names), tuple(names))
            for names in groups.values()
        ]

    def _land(self, file: FoundFile) -> _Landed:
        self._count += 1
        target = self._folder / f"{self._count}.arrow"
        try:
            with explained(self._file_set):
                is_gzip = file.name.lower().endswith(".gz")
                parsed = read(lambda: self._store.open(file), is_gzip, self._file_set, self._connection)
                last = len(parsed.schema) - 1
                with pa.ipc.new_file(target, parsed.schema.insert(last, pa.field(FILE, pa.string()))) as writer:
                    for batch in parsed.batches:
                        name = pa.repeat(pa.scalar(file.name), batch.num_rows)
                        writer.write_batch(batch.add_column(last, FILE, name))
            rows = pa.ipc.open_file(pa.memory_map(str(target))).read_all()
            return _Landed(file.fingerprint, rows, parsed.left_out)
        finally:
            target.unlink(missing_ok=True)


def _changed(before: Sequence[FoundFile], after: Sequence[FoundFile]) -> list[str]:
    now = {file.name: file.fingerprint for file in after}
    return [file.name for file in before if now.get(file.name) != file.fingerprint]
