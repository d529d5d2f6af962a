"""Reading a snapshot's data files with DuckDB: the SQL over them and the connection that runs it.

One way to read for everyone: dbt, features, compaction and `batches` all scan the same expression, resolved by field
id, so that a renamed, added or widened column reads right in files of any age. Finding the files is in `tables`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlparse

import duckdb
import pyarrow as pa
from pyiceberg.schema import Schema

from cartograph.lake.conform import Cut
from cartograph.lake.errors import LakeError
from cartograph.lake.schema import ROW_GROUP_ROWS, duckdb_type
from cartograph.settings import Settings


def quoted(text: str) -> str:
    """`text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def named(column: str) -> str:
    """`column` as a quoted SQL identifier."""
    return '"' + column.replace('"', '""') + '"'


def scan_sql(schema: Schema, paths: Sequence[str]) -> str:
    """A DuckDB SELECT of `schema`'s columns over Parquet files, in the files' order; DuckDB pushes filters into it.

    With no files it selects nothing, with the same names and types.
    """
    if not paths:
        columns = ", ".join(f"CAST(NULL AS {duckdb_type(f)}) AS {named(f.name)}" for f in schema.fields)
        return f"SELECT {columns} WHERE false"
    fields = ", ".join(
        f"{f.field_id}: {{name: {quoted(f.name)}, type: {quoted(duckdb_type(f))}, default_value: NULL}}"
        for f in schema.fields
    )
    files = ", ".join(quoted(_literal_path(path)) for path in paths)
    # The folders are named like Hive partitions; read as such they would add a column.
    return f"SELECT * FROM read_parquet([{files}], schema=MAP {{{fields}}}, hive_partitioning=false)"


def plain_path(path: str) -> str:
    """`path` as DuckDB takes it: no file scheme."""
    return path.removeprefix("file://").replace("s3a://", "s3://", 1)


def _literal_path(path: str) -> str:
    """`plain_path` without a character that is read as a glob."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in plain_path(path))


def stream(settings: Settings, scan: str, schema: pa.Schema, cut: Cut | None) -> pa.RecordBatchReader:
    """The columns of `schema` and the rows of `cut` (None: all) of a scan, in its order; a row group in memory."""

    def batches() -> Iterator[pa.RecordBatch]:
        sql = f"SELECT {', '.join(map(named, schema.names))} FROM ({scan})"
        parameters: list[object] = []
        if cut is not None:
            column = named(cut.field.name)
            sql, parameters = f"{sql} WHERE {column} >= ? AND {column} < ?", [cut.low, cut.high]
        with connect(settings) as connection:
            for batch in connection.execute(sql, parameters).to_arrow_reader(ROW_GROUP_ROWS):
                yield batch.cast(schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection in memory, configured; it spills to a folder of its own under the shop's home."""
    settings.shop_home.mkdir(parents=True, exist_ok=True)
    # DuckDB names its spill files the same in each process: two in one folder would overwrite each other.
    spill = settings.shop_home / f"spill-{uuid.uuid4().hex}"
    connection = duckdb.connect(":memory:", config={"temp_directory": str(spill)})
    configure(settings, connection)
    return connection


def configure(settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    """Give `connection` the settings' limits, UTC, and access to S3 where the lake is there."""
    connection.execute("SET memory_limit = ?", [settings.duckdb_memory_limit])
    connection.execute("SET threads = ?", [settings.duckdb_threads])
    connection.execute("SET TimeZone = 'UTC'")
    if settings.resolved_lake_uri.startswith(("s3://", "s3a://")):
        _reach_s3(settings, connection)


def _reach_s3(settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    import boto3  # A quarter of a second, which a lake in a folder need not spend.

    connection.execute(f"LOAD {quoted(str(_httpfs()))}")
    options = {"REGION": settings.s3_region}
    # AWS's own chain, resolved by boto3: DuckDB's needs one more extension. They end with the connection.
    credentials = boto3.Session().get_credentials()
    if credentials is not None:
        frozen = credentials.get_frozen_credentials()
        options |= {"KEY_ID": frozen.access_key, "SECRET": frozen.secret_key, "SESSION_TOKEN": frozen.token or ""}
    if settings.s3_endpoint_url is not None:
        address = urlparse(settings.s3_endpoint_url)
        options |= {"ENDPOINT": address.netloc, "URL_STYLE": "path", "USE_SSL": str(address.scheme == "https")}
    listed = ", ".join(f"{name} {quoted(value)}" for name, value in options.items() if value)
    bucket = "s3://" + urlparse(settings.resolved_lake_uri).netloc
    connection.execute(
        f"CREATE OR REPLACE TEMPORARY SECRET cartograph_lake (TYPE s3, {listed}, SCOPE {quoted(bucket)})"
    )


def _httpfs() -> Path:
    """DuckDB's S3 extension, from the Python package of this DuckDB's version: nothing is downloaded."""
    package = find_spec("duckdb_extension_httpfs")
    places = package.submodule_search_locations if package is not None else None
    found = [p for place in places or () for p in Path(place).rglob(f"v{duckdb.__version__}/httpfs.duckdb_extension")]
    if not found:
        raise LakeError(
            f"Reading a lake on S3 needs DuckDB's httpfs extension. "
            f"Install the package duckdb-extension-httpfs=={duckdb.__version__}."
        )
    return found[0]
