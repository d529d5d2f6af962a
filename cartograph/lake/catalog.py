"""Opening the Iceberg catalog of a shop, and turning its failures into messages that a person can act on.

Connections only: which tables there are and what is done to them is in `tables`. A SQL catalog is one database for any
number of shops (the catalog's name is the shop's); Glue and REST catalogs have no such name, so there the shop stands
before the namespace.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.catalog.sql import SqlCatalog, SqlCatalogBaseTable
from pyiceberg.exceptions import NoSuchTableError, OAuthError, RESTError, UnauthorizedError
from sqlalchemy import event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from tenacity import Retrying, retry_if_exception, stop_after_attempt

from cartograph.lake.errors import CatalogUnreadable, LakeError, TableElsewhere, TableMissing
from cartograph.settings import Settings

LOCK_WAIT_SECONDS = 60
"""How long a SQLite catalog waits for another process's commit, which holds the lock for about 1 ms."""

_FAILURES = (
    SQLAlchemyError,
    sqlite3.Error,
    RESTError,
    OAuthError,
    UnauthorizedError,
    BotoCoreError,
    ClientError,
    OSError,
)
# No underscore in a namespace: it ends the shop's name where the shop stands before it.
_IDENTIFIER = re.compile(r"[a-z][a-z0-9]*\.[a-z_][a-z0-9_]*")


def open_catalog(settings: Settings) -> Catalog:
    """The shop's catalog; opened once in a process and made where it does not exist yet, its folder only by default.

    Raises:
        CatalogUnreadable: it cannot be opened; the message names the catalog and the setting.
    """
    if settings.catalog_uri is None:
        with readable(settings.resolved_catalog_uri):
            settings.shop_home.mkdir(parents=True, exist_ok=True)
    # A forked child must not share its parent's database connections: the process id is part of the key.
    return _opened(
        settings.resolved_catalog_uri, settings.shop, settings.s3_endpoint_url, settings.s3_region, os.getpid()
    )


@lru_cache(maxsize=8)
def _opened(uri: str, shop: str, s3_endpoint_url: str | None, s3_region: str, _process: int) -> Catalog:
    properties = {"py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO", "s3.region": s3_region}
    if s3_endpoint_url:
        properties["s3.endpoint"] = s3_endpoint_url
    with readable(uri):
        if uri == "glue":
            return load_catalog(shop, type="glue", **properties, **{"glue.region": s3_region})
        if uri.startswith(("http://", "https://")):
            return load_catalog(shop, type="rest", uri=uri, **properties)
        url = make_url(uri)
        if url.get_backend_name() == "sqlite":
            return _sqlite(url, shop, properties)
        return _sql(shop, {"uri": uri, "pool_pre_ping": "true", **properties})


def _sqlite(url: URL, shop: str, properties: dict[str, str]) -> Catalog:
    if not url.database or url.database == ":memory:":
        raise CatalogUnreadable(
            "CARTOGRAPH_CATALOG_URI names a SQLite database in memory, which no other process could read. Name a file: "
            "sqlite:////path/catalog.db."
        )
    path = Path(url.database)
    if not path.parent.is_dir():
        raise CatalogUnreadable(
            f"CARTOGRAPH_CATALOG_URI names {path}, and {path.parent} is no folder. Correct the path, or make it."
        )
    connection = sqlite3.connect(path, timeout=LOCK_WAIT_SECONDS)
    try:  # Kept in the file: readers then never wait for a writer.
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
    uri = url.update_query_dict({"timeout": str(LOCK_WAIT_SECONDS)}).render_as_string(hide_password=False)
    catalog = _sql(shop, {"uri": uri, **properties})
    event.listen(catalog.engine, "connect", _no_fsync_for_each_commit)
    catalog.engine.dispose()
    return catalog


def _sql(shop: str, properties: dict[str, str]) -> SqlCatalog:
    """Open the catalog and make its tables, each of which another process may make between our look and our own try."""
    tries = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, DBAPIError) and "already exists" in str(error)),
        stop=stop_after_attempt(len(SqlCatalogBaseTable.metadata.tables) + 1),
        reraise=True,
    )
    return tries(SqlCatalog, shop, **properties)


def _no_fsync_for_each_commit(connection: Any, _record: Any) -> None:
    """Leave syncing to SQLite's checkpoints, which saves about 10 ms a commit.

    Table files are not synced either, so this sync alone would not bring a commit through a power cut: the catalog
    would only be the surer to point at files that never reached the disk. A killed process loses nothing.
    """
    connection.execute("PRAGMA synchronous=NORMAL")


def close_connections(settings: Settings) -> None:
    """Close this process's connections to a SQL catalog; whoever asks it next opens one anew.

    Needed before a SQLite catalog's files are read as bytes: closing a file takes away all locks that the process has
    on it (https://sqlite.org/howtocorrupt.html, 2.2), also those of its open connections. Another process that comes
    and goes meanwhile then takes itself for the last one and deletes the write-ahead log, and what these connections
    commit afterwards is lost.
    """
    catalog = open_catalog(settings)
    if isinstance(catalog, SqlCatalog):
        catalog.engine.dispose()


def full_name(settings: Settings, identifier: str) -> tuple[str, str]:
    """The catalog's namespace and name of table `identifier` ("namespace.table").

    Raises:
        LakeError: it is not of that form.
    """
    if not _IDENTIFIER.fullmatch(identifier):
        raise LakeError(f"{identifier!r} does not name a table: write namespace.table in lower case, as in raw.orders.")
    namespace, _, table = identifier.partition(".")
    return namespace if _knows_shops(settings.resolved_catalog_uri) else f"{settings.shop}_{namespace}", table


def identifiers(settings: Settings) -> list[str]:
    """The identifiers of all tables of the shop, sorted.

    Raises:
        CatalogUnreadable: with the cure in the message.
    """
    with readable(settings.resolved_catalog_uri):
        catalog = open_catalog(settings)
        found = []
        for (name,) in catalog.list_namespaces():
            shop, _, namespace = name.rpartition("_")
            if _knows_shops(settings.resolved_catalog_uri) or shop == settings.shop:
                found += [f"{namespace}.{table}" for _, table in catalog.list_tables(name)]
    return sorted(found)


def _knows_shops(uri: str) -> bool:
    """Whether the catalog keeps shops apart by its own name, which is the shop's."""
    return uri != "glue" and not uri.startswith(("http://", "https://"))


def location(settings: Settings, identifier: str) -> str:
    """Where the files of table `identifier` are: each shop and table in a folder of its own."""
    root = settings.resolved_lake_uri
    if "://" not in root:
        root = str(Path(root).expanduser().absolute())
    return f"{root}/{identifier.replace('.', '/')}"


def require_within(settings: Settings, identifier: str, place: str) -> None:
    """Make sure that the files at `place` are this lake's to change: a copied catalog names those of the first.

    Raises:
        TableElsewhere: `place` is not beneath the lake's folder or prefix.
    """
    lake, found = (_absolute(uri) for uri in (settings.resolved_lake_uri, place))
    if not found.is_relative_to(lake):
        raise TableElsewhere(
            f"{identifier} lies in {place}, and this lake in {settings.resolved_lake_uri}: the home was copied or "
            f"moved, or CARTOGRAPH_LAKE_URI is another than it was. Nothing was changed, as the files may be those of "
            f"another lake. Work there, put CARTOGRAPH_LAKE_URI back, or load the shop again into an empty "
            f"CARTOGRAPH_HOME."
        )


def _absolute(uri: str) -> PurePosixPath:
    """A folder or prefix in one form, however it is written: links followed, S3 by one scheme."""
    if bucket := re.match("s3[an]?://", uri):
        return PurePosixPath("/s3:", uri[bucket.end() :])
    return PurePosixPath(Path(re.sub("^file:(//)?", "", uri)).expanduser().resolve())


@contextmanager
def readable(uri: str, identifier: str | None = None) -> Iterator[None]:
    """Turn the failures of a catalog, a driver or a store into LakeErrors that name the catalog and the cure.

    Raises:
        TableMissing: the table does not exist.
        CatalogUnreadable: anything else that keeps the catalog or the table's metadata from being read.
    """
    try:
        yield
    except NoSuchTableError:
        raise TableMissing(
            f"There is no table {identifier} in the lake ({_shown(uri)}). Load it first (cartograph run); "
            f"`cartograph lake tables` lists what there is."
        ) from None
    except FileNotFoundError as error:
        raise CatalogUnreadable(
            f"The catalog {_shown(uri)} points at a file of {identifier} that is not there: {error}. Was the lake's "
            f"folder moved or deleted? Put it back, or load the shop again into an empty CARTOGRAPH_HOME."
        ) from None
    except ModuleNotFoundError as error:
        raise CatalogUnreadable(
            f"The catalog {_shown(uri)} needs the Python package {error.name}. Install it, or change "
            f"CARTOGRAPH_CATALOG_URI."
        ) from None
    except _FAILURES as error:
        reason = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        raise CatalogUnreadable(
            f"The Iceberg catalog {_shown(uri)} cannot be used: {reason}. Check CARTOGRAPH_CATALOG_URI, that the "
            f"database or service is up and may be written, and that the file is an Iceberg catalog."
        ) from error


def _shown(uri: str) -> str:
    """The catalog's address without its password."""
    if not _knows_shops(uri):
        return uri
    try:
        return make_url(uri).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "given by CARTOGRAPH_CATALOG_URI"
