"""Reads one file of a source into Arrow batches: CSV, JSON lines or Parquet, unpacked and decoded.

A file is read to its end before any row of it is used: DuckDB's own readers give the rows before the cut of a truncated
gzip file without an error, so files are parsed here and DuckDB sees only whole ones.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import BinaryIO, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from cartograph.words import counted
from ecom_assets.sources.files_config import FileSet, Format
from ecom_assets.sql import identifier, literal

FILE, LINE = "_file", "_line"
_RESERVED = {FILE, LINE}
_BLOCK_BYTES = 8 << 20  # the longest row that can be read, and the memory that a read takes
_LINES_AT_ONCE = 65_536
_LONGEST_RUN = 64  # of quotation marks that is told apart where two blocks meet
_DELIVER_AGAIN = "Deliver it again; write a file under another name and rename it when it is complete"

_ON_LINES = "Write each object on a line of its own, with no brackets or commas around them (`jq -c '.[]'` does so)"
_GZIP = b"\x1f\x8b"  # how each such file begins

Opener = Callable[[], BinaryIO]
Ints = npt.NDArray[np.int64]


class UnusableFileError(Exception):
    """A file cannot be read; `landing` catches it and names the file in `Unreadable`."""

    def __init__(self, reason: str, cure: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.cure = cure


class Parsed(NamedTuple):
    """The rows of one file, `_line` their last column, and what is wrong with those of it that are left out."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    left_out: UnusableFileError | None = None


def read(open_file: Opener, is_gzip: bool, file_set: FileSet, connection: duckdb.DuckDBPyConnection) -> Parsed:
    """The rows of one file; wrap their use in `explained`.

    `connection` is used to take JSON apart, and knows which types it can take.
    """
    readers: dict[Format, Callable[[], Parsed]] = {
        "csv": lambda: _csv(_unpacked(open_file, is_gzip), file_set),
        "jsonl": lambda: _json_lines(_unpacked(open_file, is_gzip), file_set, connection),
        "parquet": lambda: _parquet(_unpacked(open_file, is_gzip), connection),
    }
    if not is_gzip:
        _require_unpacked(open_file)
    parsed = readers[file_set.resolved_format]()
    names = [name.lower() for name in parsed.schema.names[:-1]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UnusableFileError(f"it has more than one column {', '.join(twice)}", "Give each column its own name")
    if _RESERVED & set(names):
        raise UnusableFileError(f"it has a column {' or '.join(sorted(_RESERVED))}", "Rename it; these names are taken")
    return parsed


@contextmanager
def explained(file_set: FileSet) -> Iterator[None]:
    """Turns what can go wrong while a file is read into `UnusableFileError`."""
    try:
        yield
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UnusableFileError(f"its gzip data is damaged or ends early ({error})", _DELIVER_AGAIN) from None
    except UnicodeError as error:
        raise _wrong_encoding(file_set, str(error)) from None
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error):
            raise _wrong_encoding(file_set, str(error)) from None
        kind = {"csv": "CSV", "jsonl": "JSON", "parquet": "Parquet"}[file_set.resolved_format]
        cure = f"{_DELIVER_AGAIN}{', or correct `delimiter` and `quote`' if kind == 'CSV' else ''}"
        raise UnusableFileError(f"it is not whole {kind} ({str(error).splitlines()[0]})", cure) from None
    except IsADirectoryError:
        raise UnusableFileError("it is a folder", "Name the files in it under `path`, or move it away") from None
    except OSError as error:
        raise UnusableFileError(
            f"it cannot be read ({error})", "Check that it is there and whole, and may be read"
        ) from None
    except csv.Error as error:
        cure = f"{_DELIVER_AGAIN}, or correct `delimiter` and `quote`"
        raise UnusableFileError(f"its header is not whole CSV ({error})", cure) from None


def _wrong_encoding(file_set: FileSet, detail: str) -> UnusableFileError:
    return UnusableFileError(
        f"it is not {file_set.encoding} text ({detail})", "Set `encoding` to the file's own, e.g. latin-1 or utf-16"
    )


def _unpacked(open_file: Opener, is_gzip: bool) -> Opener:
    return (lambda: gzip.open(open_file(), "rb")) if is_gzip else open_file  # type: ignore[return-value]


def _require_unpacked(open_file: Opener) -> None:
    """Raise where the file is gzip's, which its name does not tell: as text it would be one in a strange encoding."""
    with open_file() as file:
        if file.read(len(_GZIP)) == _GZIP:
            raise UnusableFileError(
                "it is packed with gzip, and its name does not end in .gz", "Rename it, or unpack it"
            )


def _csv(open_file: Opener, file_set: FileSet) -> Parsed:
    header, header_ends = (list(file_set.columns), 0) if file_set.columns else _csv_header(open_file, file_set)
    if _may_misplace_quotes(open_file, file_set):
        _require_quotes_in_place(open_file, file_set)
    reader = pa.csv.open_csv(
        pa.PythonFile(open_file(), mode="r"),
        read_options=pa.csv.ReadOptions(
            encoding=file_set.encoding, block_size=_BLOCK_BYTES, column_names=list(file_set.columns) or None
        ),
        parse_options=pa.csv.ParseOptions(
            delimiter=file_set.delimiter, quote_char=file_set.quote, newlines_in_values=True
        ),
        convert_options=pa.csv.ConvertOptions(
            column_types={name: pa.string() for name in header},
            null_values=list(file_set.null_values),
            strings_can_be_null=True,
        ),
    )
    return _numbered(reader.schema, reader, _lines, above=header_ends)


def _csv_header(open_file: Opener, file_set: FileSet) -> tuple[list[str], int]:
    """The names of the columns, and the line of the file in which they end."""
    with _text(open_file, file_set) as text:
        rows = csv.reader(text, delimiter=file_set.delimiter, quotechar=file_set.quote)
        header = next(filter(None, rows), None)
    if header is None:
        raise UnusableFileError("it is empty: not even a header row", _DELIVER_AGAIN)
    return header, rows.line_num


def _numbered(
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    height: Callable[[pa.RecordBatch], Ints],
    above: int = 0,
) -> Parsed:
    """The rows with the line in which each begins; `height` says how many lines each has, `above` are before them."""

    def located() -> Iterator[pa.RecordBatch]:
        before = above
        for batch in batches:
            ends = before + np.cumsum(height(batch))
            begins = np.concatenate([[before], ends])[:-1] + 1
            before = int(ends[-1]) if batch.num_rows else before
            yield batch.append_column(LINE, pa.array(begins, pa.int64()))

    return Parsed(schema.append(pa.field(LINE, pa.int64())), located())


def _one(batch: pa.RecordBatch) -> Ints:
    return np.ones(batch.num_rows, np.int64)


def _lines(batch: pa.RecordBatch) -> Ints:
    """The lines that each row of text has in the file; blank ones between rows, which Arrow skips, are not counted."""
    lines = _one(batch)
    for column in batch.columns:
        # Most columns have none: looking for the first takes a tenth of the time of counting in each row.
        if (text := column.buffers()[2]) is not None and b"\n" in text.to_pybytes():
            lines += pc.fill_null(pc.count_substring(column, "\n"), 0).to_numpy(zero_copy_only=False)
    return lines


def _may_misplace_quotes(open_file: Opener, file_set: FileSet) -> bool:
    """Whether some text follows a quotation mark that may close its value: where marks come in pairs none does.

    Within a value pairs of marks are no ends, and at its beginning a mark before them is none; a delimiter within a
    quoted value looks like a beginning, so this may be true of a sound file. It takes a fifth of the time of a parse.
    """
    quote, ends = re.escape(file_set.quote), f"{re.escape(file_set.delimiter)}\\r\\n"
    within = f"{quote}(?<=[^{ends}{quote}]{quote})"
    at_beginning = f"{quote}(?<=[{ends}]{quote}){quote}"
    suspicious = re.compile(f"(?:{within}|{at_beginning})(?:{quote}{quote})*[^{ends}{quote}]")
    before = "\n"
    with _text(open_file, file_set) as text:
        while block := text.read(_BLOCK_BYTES):
            if suspicious.search(before + block):
                return True
            before = block[-_LONGEST_RUN:]
    return False


def _require_quotes_in_place(open_file: Opener, file_set: FileSet) -> None:
    """Raise where text follows a closing quotation mark, which Arrow would take into the value, mark and all."""
    csv.field_size_limit(_BLOCK_BYTES)
    with _text(open_file, file_set) as text:
        rows = csv.reader(text, delimiter=file_set.delimiter, quotechar=file_set.quote, strict=True)
        try:
            deque(rows, maxlen=0)
        except csv.Error as error:
            if "expected after" in str(error):  # what else is wrong, Arrow tells
                raise UnusableFileError(
                    f"in line {rows.line_num:,}, text follows a closing quotation mark",
                    "Double each quotation mark in a quoted value, or set `quote` to the character that quotes",
                ) from None


def _text(open_file: Opener, file_set: FileSet) -> io.TextIOWrapper:
    encoding = "utf-8-sig" if file_set.encoding == "utf-8" else file_set.encoding
    return io.TextIOWrapper(open_file(), encoding=encoding, newline="")


def _json_lines(open_file: Opener, file_set: FileSet, connection: duckdb.DuckDBPyConnection) -> Parsed:
    """One column of text for each key that any line has, but for one without a name; objects in it stay JSON text.

    Lines that are no objects are left out, unless the last of the file is one and has no end: then the file is cut.
    """
    cursor = connection.cursor()
    cursor.execute("CREATE OR REPLACE TEMP TABLE __lines (number BIGINT, json VARCHAR)")
    with _text(open_file, file_set) as text:
        numbered = ((number, line) for number, line in enumerate(text, start=1) if line.strip())
        while chunk := list(islice(numbered, _LINES_AT_ONCE)):
            numbers, lines = zip(*chunk, strict=True)
            cursor.register("__chunk", pa.table({"number": numbers, "json": lines}))
            cursor.execute("INSERT INTO __lines SELECT * FROM __chunk")
            cursor.unregister("__chunk")
    left_out = _leave_out_broken_lines(cursor)
    keys = [
        key
        for (key,) in cursor.execute(
            """
            SELECT key FROM (SELECT number, unnest(json_keys(json)) AS key FROM __lines)
            WHERE key <> ''
            GROUP BY key ORDER BY min(number), key
            """
        ).fetchall()
    ]
    if not keys:
        raise UnusableFileError("it is empty: not one JSON object", _DELIVER_AGAIN)
    columns = ", ".join(f"json_extract_string(json, {literal(_json_path(key))}) AS {identifier(key)}" for key in keys)
    reader = cursor.execute(
        f"SELECT {columns}, __lines.number AS {LINE} FROM __lines ORDER BY __lines.number"
    ).to_arrow_reader(_LINES_AT_ONCE)
    return Parsed(reader.schema, reader, left_out)


def _leave_out_broken_lines(cursor: duckdb.DuckDBPyConnection) -> UnusableFileError | None:
    """Delete from `__lines` what is no JSON object, and say so; None where all are.

    Raises:
        UnusableFileError: nothing is left, the file ends within a line, or it is no JSON lines.
    """
    cursor.execute(
        """
        CREATE OR REPLACE TEMP TABLE __broken AS
        SELECT number, json FROM __lines
        WHERE CASE WHEN json_valid(json) THEN json_type(json) <> 'OBJECT' ELSE true END
        """
    )
    bad, first, last, ending = cursor.execute(
        "SELECT count(*), min(number), max(number), right(max_by(json, number), 1) FROM __broken"
    ).fetchall()[0]
    if not bad:
        return None
    lines, last_line, beginning = cursor.execute(
        "SELECT count(*), max(number), min_by(json, number) FROM __lines"
    ).fetchall()[0]
    if beginning.lstrip().startswith("[") or beginning.strip() == "{":
        raise UnusableFileError(
            "it is one list or object of JSON, and JSON lines are read: an object on each line",
            _ON_LINES,
        )
    if last == last_line and ending not in ("\n", "\r"):
        raise UnusableFileError(f"it ends in the middle of line {last:,}", _DELIVER_AGAIN)
    if bad == lines:
        raise UnusableFileError("none of its lines is a JSON object", _ON_LINES)
    cursor.execute("DELETE FROM __lines WHERE number IN (SELECT number FROM __broken)")
    return UnusableFileError(
        f"left out for not being a JSON object: {counted(bad, 'line')}, line {first:,} first",
        "Correct them and deliver the file again",
    )


def _json_path(key: str) -> str:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'$."{escaped}"'


def _parquet(open_file: Opener, connection: duckdb.DuckDBPyConnection) -> Parsed:
    parquet = pa.parquet.ParquetFile(open_file())
    given = parquet.schema_arrow
    schema = given if _is_known(given, connection) else pa.schema([_readable(field, connection) for field in given])
    return _numbered(schema, (batch.cast(schema) for batch in parquet.iter_batches()), _one)


def _is_known(schema: pa.Schema, connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether DuckDB has all types of a schema."""
    try:
        connection.cursor().register("__empty", schema.empty_table())
    except duckdb.NotImplementedException:
        return False
    return True


def _readable(field: pa.Field, connection: duckdb.DuckDBPyConnection) -> pa.Field:
    """The column as it is, or as text where DuckDB has no such type.

    Raises:
        UnusableFileError: it is no text either.
    """
    if _is_known(pa.schema([field]), connection):
        return field
    try:
        pa.array([], field.type).cast(pa.string())
    except pa.ArrowNotImplementedError:
        reason = f"its column {field.name} is of the type {field.type}, which cannot be read"
        raise UnusableFileError(reason, "Write the column with another type, or leave it out") from None
    return field.with_type(pa.string())
