"""The journal of orders at the checkout: a SQLite file that all workers of the service share, and that outlives them.

It keeps what was told of orders, in the order in which it was told; what follows from it is `online`. Nobody's id is
in it in plain, but its key (`cartograph.releases.order_history.key_of`). A commit waits for no disk: after a power cut
the last moments may be missing, and never a part of one. Events are kept by the event log.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson

KEPT = 100_000
"""So many facts, the latest: of a shop that places 10,000 orders a day those of ten days."""
_PRUNED_EVERY = 5_000
WAIT_SECONDS = 2.0
"""So long another worker, or an erasure, may keep this one from writing: a checkout waits."""

_TABLE = """
    CREATE TABLE IF NOT EXISTS facts (number INTEGER PRIMARY KEY AUTOINCREMENT, customer TEXT, body BLOB NOT NULL)"""


Fact = tuple[int, list[Any]]
"""A number, which is higher than those of the facts before, and what was told."""


class JournalUnavailableError(RuntimeError):
    """The file cannot be used now: another holds it, or it or its disk is full or broken. The message says which."""


class Journal:
    """The file at `path`, which is made with the first fact. One thread at a time may write, and all may read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def after(self, number: int, most: int = -1) -> list[Fact]:
        """The first `most` facts after the one of that number, or all. It changes nothing, and nobody waits for it.

        Raises:
            JournalUnavailableError: the file cannot be read.
        """
        if not self._path.exists():
            return []
        try:
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                has_table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchone()
                return _facts(connection, number, most) if has_table else []
        except sqlite3.Error as error:
            raise JournalUnavailableError(f"The journal {self._path} cannot be read: {error}") from error

    def rest(self, number: int) -> list[Fact]:
        """The facts after the one of that number, within `writing`: no more can come."""
        return _facts(self._open(), number)

    def append(self, customer: int, body: Sequence[object]) -> None:
        """Write a fact, within `writing`: a list that JSON can hold, about the customer of that key."""
        row = (_hex(customer), orjson.dumps(body))
        number = self._open().execute("INSERT INTO facts (customer, body) VALUES (?, ?)", row).lastrowid or 0
        if number % _PRUNED_EVERY == 0:
            self._open().execute("DELETE FROM facts WHERE number <= ?", (number - KEPT,))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep all other workers from writing: what is read and written within belongs together.

        Raises:
            JournalUnavailableError: nothing of it is written.
        """
        try:
            self._open().execute("BEGIN IMMEDIATE")
            yield
            self._open().execute("COMMIT")
        except BaseException as error:
            self._undo()
            if isinstance(error, sqlite3.Error | OSError):
                raise JournalUnavailableError(f"The journal {self._path} cannot be written: {error}") from error
            raise

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _undo(self) -> None:
        """Take back what was not committed; a file that does not allow even that is opened anew by the next."""
        if self._connection is None:
            return
        try:
            if self._connection.in_transaction:  # SQLite itself takes back what a full disk stops
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite's own would be open to all
            connection = sqlite3.connect(
                self._path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute(_TABLE)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection


def forget(path: Path, customers: Iterable[int]) -> int:
    """Take the facts about customers, by their keys, out of the file; how many there were.

    The file is written anew, so that nothing of them stays in its free pages.
    """
    if not path.exists():
        return 0
    keys = [_hex(customer) for customer in customers]
    with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as connection:
        connection.execute(_TABLE)
        marks = ", ".join("?" * len(keys))
        gone = connection.execute(f"DELETE FROM facts WHERE customer IN ({marks})", keys).rowcount
        if gone:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return gone


def _facts(connection: sqlite3.Connection, number: int, most: int = -1) -> list[Fact]:
    sql = "SELECT number, body FROM facts WHERE number > ? ORDER BY number LIMIT ?"
    return [(found, orjson.loads(body)) for found, body in connection.execute(sql, (number, most))]


def _hex(key: int) -> str | None:
    return f"{key:016x}" if key else None
