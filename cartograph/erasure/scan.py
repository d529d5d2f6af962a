"""The proof of an erasure: every file under a folder is searched, its bytes and what they say when they are decoded.

Compression and encodings hide text from a search of bytes, so tables are read as tables: Parquet, Arrow, Avro, SQLite,
DuckDB; gzip and zip are unpacked. A hit names the file and the place, never the value. What is looked for is decided by
the caller; taking hits out of texts is `texts`.
"""

from __future__ import annotations

import gzip
import re
import sqlite3
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa
from pyiceberg.avro.file import AvroFile
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.typedef import Record

from cartograph.erasure.forms import AFTER, BEFORE, any_of, near
from cartograph.erasure.register import is_telling

_CHUNK = 8 * 1024 * 1024
_OVERLAP = 64 * 1024
"""Bytes of the chunk before that are searched again, for what lies across the border; nothing wanted is longer, however
it is escaped."""


@dataclass(frozen=True)
class Wanted:
    """What must be nowhere.

    The ids of `customers` and the `identifiers` are looked for in every text and byte; an id that is a short number or
    word only where it is said to be a customer's, as in customer_id=12346, since figures and product numbers equal it
    by chance. `cells` are looked for as the whole value of columns with a given name, since a family name may be a
    town's as well.
    """

    customers: frozenset[str]
    identifiers: frozenset[str] = frozenset()
    cells: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @cached_property
    def short(self) -> frozenset[str]:
        """The ids that are not looked for everywhere."""
        return frozenset(customer for customer in self.customers if not is_telling(customer))

    @cached_property
    def pattern(self) -> str:
        """A regular expression, for Python and RE2, that finds them in a text, in whatever case and escaped or not."""
        everywhere = any_of(self.identifiers | self.customers - self.short)
        found = [f"{BEFORE}{everywhere}{AFTER}"] if everywhere else []
        if self.short:
            short = any_of(self.short)
            between = "(?:[^0-9A-Za-z]|%(?:25)*[0-9a-f]{2}|&quot;|&#[0-9]{2};){1,40}"
            found += [f"customer_id{between}{short}{AFTER}", f"(?:^|[\"']){short}, "]
        return "(?i)" + "|".join(found)

    @cached_property
    def in_text(self) -> re.Pattern[str]:
        """The pattern, for texts."""
        return re.compile(self.pattern)

    def is_in(self, content: bytes) -> bool:
        """Whether some bytes hold any of it: a plain search, which is ten times as fast, tells where to look closer."""
        lowered = content.lower()
        is_near = any(all(part in lowered for part in parts) and form.search(lowered) for parts, form in self._near)
        return is_near and self.in_bytes.search(content) is not None

    @cached_property
    def _near(self) -> list[tuple[list[bytes], re.Pattern[bytes]]]:
        return [near(value) for value in self.customers | self.identifiers]

    @cached_property
    def in_bytes(self) -> re.Pattern[bytes]:
        """The pattern, for bytes in UTF-8."""
        return re.compile(self.pattern.encode())


@dataclass
class Scan:
    """What a search looked at, and the files in which it found something, each with the places in it."""

    files: int = 0
    bytes: int = 0
    hits: list[str] = field(default_factory=list)


def scan(
    roots: Collection[Path],
    wanted: Wanted,
    connect: Callable[[], duckdb.DuckDBPyConnection],
    apart: Path | None = None,
) -> Scan:
    """Search every file under each of `roots`, but for those in `apart`; `connect` gives a DuckDB to read tables.

    This process must have no connection open to a SQLite database there: reading its file would take away its locks.
    """
    done = Scan()
    with connect() as connection:
        for root in roots:
            for path in sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink()):
                if path.parent == apart:
                    continue
                try:
                    places = list(dict.fromkeys(_places(path, root, wanted, connection)))
                    done.bytes += path.stat().st_size
                except FileNotFoundError:  # a running service has put it away: there is nothing left to search
                    continue
                done.files += 1
                if places:
                    done.hits.append(f"{path}: {', '.join(places)}")
    return done


def table_places(connection: duckdb.DuckDBPyConnection, relation: str, wanted: Wanted) -> list[str]:
    """The columns of a DuckDB `relation`, as it stands after FROM, that hold something wanted."""
    conditions: dict[str, str] = {}
    parameters: list[object] = []
    for name, kind, *_ in connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall():
        quoted = '"' + name.replace('"', '""') + '"'
        tests = []
        if kind == "VARCHAR" or "(" in kind.replace("DECIMAL(", "") or kind.endswith("]") or kind in ("JSON", "BLOB"):
            tests.append(f"regexp_matches(CAST({quoted} AS VARCHAR), ?)")
            parameters.append(wanted.pattern)
        if name in wanted.cells and (kind in ("VARCHAR", "DATE") or kind.startswith("TIMESTAMP")):
            tests.append(f"CAST({quoted} AS VARCHAR) IN (SELECT unnest(?))")
            parameters.append(sorted(wanted.cells[name]))
        if tests:
            conditions[name] = f"bool_or(coalesce({' OR '.join(tests)}, false))"
    if not conditions:
        return []
    (found,) = connection.execute(f"SELECT {', '.join(conditions.values())} FROM {relation}", parameters).fetchall()
    return [f"column {name}" for name, is_there in zip(conditions, found, strict=True) if is_there]


def kind_of(path: Path) -> str:
    """What a file is by its first bytes: parquet, arrow, avro, sqlite, duckdb, gzip, zip, or plain."""
    with path.open("rb") as file:
        head = file.read(16)
    magic = {b"PAR1": "parquet", b"ARROW1": "arrow", b"Obj\x01": "avro", b"SQLite format 3": "sqlite"}
    magic |= {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip"}
    if head[8:12] == b"DUCK":
        return "duckdb"
    return next((kind for begin, kind in magic.items() if head.startswith(begin)), "plain")


def _places(path: Path, root: Path, wanted: Wanted, connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    if wanted.in_text.search(path.relative_to(root).as_posix()):
        yield "its name"
    with path.open("rb") as file:
        if _in_stream(file.read, wanted):
            yield "its bytes"
    decoded = _DECODED.get(kind_of(path))
    if decoded is not None:
        yield from decoded(path, wanted, connection)


def _in_stream(read: Callable[[int], bytes], wanted: Wanted) -> bool:
    tail = b""
    while chunk := read(_CHUNK):
        if wanted.is_in(tail + chunk):
            return True
        tail = chunk[-_OVERLAP:]
    return False


def _in_parquet(path: Path, wanted: Wanted, connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    literal = "'" + re.sub(r"([*?\[])", r"[\1]", str(path)).replace("'", "''") + "'"
    yield from table_places(connection, f"read_parquet({literal}, hive_partitioning=false)", wanted)


def _in_arrow(path: Path, wanted: Wanted, connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    connection.register("scanned", pa.ipc.open_file(str(path)).read_all())
    yield from table_places(connection, "scanned", wanted)
    connection.unregister("scanned")


def _in_avro(path: Path, wanted: Wanted, _: duckdb.DuckDBPyConnection) -> Iterator[str]:
    with AvroFile[Record](PyArrowFileIO().new_input(str(path))) as records:
        if any(wanted.in_text.search(repr(record)) for record in records):
            yield "a record"


def _in_gzip(path: Path, wanted: Wanted, _: duckdb.DuckDBPyConnection) -> Iterator[str]:
    with gzip.open(path) as unpacked:
        if _in_stream(unpacked.read, wanted):
            yield "its content"


def _in_zip(path: Path, wanted: Wanted, _: duckdb.DuckDBPyConnection) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        for number, member in enumerate(archive.namelist(), start=1):
            with archive.open(member) as unpacked:
                if _in_stream(unpacked.read, wanted):
                    yield f"member {number}"


def _in_sqlite(path: Path, wanted: Wanted, _: duckdb.DuckDBPyConnection) -> Iterator[str]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=60)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = connection.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in rows.description]
            found: dict[str, None] = {}
            for row in rows:
                for name, value in zip(names, row, strict=True):
                    is_text = isinstance(value, str) and wanted.in_text.search(value)
                    if is_text or (isinstance(value, bytes) and wanted.in_bytes.search(value)):
                        found[name] = None
            yield from (f"column {name} of {table}" for name in found)


def _in_duckdb(path: Path, wanted: Wanted, _: duckdb.DuckDBPyConnection) -> Iterator[str]:
    with duckdb.connect(path, read_only=True) as connection:
        tables = connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal ORDER BY ALL"
        ).fetchall()
        for schema, table in tables:
            places = table_places(connection, f'"{schema}"."{table}"', wanted)
            yield from (f"{place} of {schema}.{table}" for place in places)


_DECODED: dict[str, Callable[[Path, Wanted, duckdb.DuckDBPyConnection], Iterator[str]]] = {
    "parquet": _in_parquet,
    "arrow": _in_arrow,
    "avro": _in_avro,
    "gzip": _in_gzip,
    "zip": _in_zip,
    "sqlite": _in_sqlite,
    "duckdb": _in_duckdb,
}
