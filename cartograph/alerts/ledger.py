"""What was observed, what is failing, and what is still to be sent: SQLite, so that a restart forgets nothing.

What was observed and the messages that follow from it are written in one transaction: however a process ends, each
observation is told, and once. Sending is marked after it has succeeded; a process that dies in between sends again,
with the same message id.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cartograph.alerts.messages import Message, Signal, grouped

CLAIM = timedelta(minutes=2)
"""For how long a process that takes a message to send it keeps others from doing the same."""
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=10), timedelta(hours=1)
"""How long a sink that failed is left alone: doubled with each failure, from the first to the longest."""

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS observed (
        observer TEXT, source TEXT, position TEXT NOT NULL, PRIMARY KEY (observer, source)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS incidents (
        subject TEXT, name TEXT, signal TEXT NOT NULL, PRIMARY KEY (subject, name)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS outbox (
        position INTEGER PRIMARY KEY, message_id TEXT NOT NULL, sink TEXT NOT NULL, message TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0, not_before REAL NOT NULL DEFAULT 0, sent_at REAL, last_error TEXT,
        UNIQUE (message_id, sink)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS refused (
        position INTEGER PRIMARY KEY, message_id TEXT NOT NULL, sink TEXT NOT NULL, message TEXT NOT NULL,
        reason TEXT NOT NULL, refused_at REAL NOT NULL
    ) STRICT;
"""


class Due(NamedTuple):
    """A message that is to be sent to a sink now."""

    position: int
    sink: str
    message: Message


class Unsent(NamedTuple):
    """What waits for a sink, and why it does."""

    sink: str
    messages: int
    last_error: str | None


class Refusal(NamedTuple):
    """What a sink refused for good: how many messages, the last one's title, and why."""

    sink: str
    messages: int
    title: str
    reason: str


class Ledger:
    """The alerts of one shop, kept in the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._transaction() as connection:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)

    def positions(self, observer: str) -> dict[str, str]:
        """Up to where `observer` observed each of its sources."""
        with self._transaction() as connection:
            rows = connection.execute("SELECT source, position FROM observed WHERE observer = ?", (observer,))
            return dict(rows.fetchall())

    def failing(self) -> list[Signal]:
        """What fails and is not over, by subject and name."""
        with self._transaction() as connection:
            rows = connection.execute("SELECT signal FROM incidents ORDER BY subject, name").fetchall()
        return [Signal.model_validate_json(text) for (text,) in rows]

    def close(self, subject: str) -> list[Signal]:
        """Forget what fails of `subject`, as of an asset that there is no more; what was forgotten. Nobody is told.

        What fails there still is told anew when it is found again.
        """
        with self._transaction() as connection:
            rows = connection.execute("DELETE FROM incidents WHERE subject = ? RETURNING signal", (subject,)).fetchall()
        return [Signal.model_validate_json(text) for (text,) in rows]

    def record(
        self,
        observer: str,
        signals: Sequence[Signal],
        positions: Mapping[str, str],
        route: Callable[[Message], Iterable[str]],
    ) -> list[Message]:
        """Take in `signals`, in the order in which `observer` found them, and the positions up to which it looked.

        A failure that lasts is told once, until it gets worse (an error after a warning, a further part) or is over,
        and is kept as what stands of it; one that came and went between two calls is told as both. The messages are
        queued for the sinks that `route` names, and returned. Parts that are well are so in each failure of the name.
        """
        failing: list[Signal] = []
        recovered: list[Signal] = []
        with self._transaction() as connection:
            for signal in signals:
                if signal.healthy:
                    recovered += _end(connection, signal)
                    continue
                if not signal.lasts:
                    failing.append(signal)
                    continue
                known = _incident(connection, signal)
                stands = signal.with_parts_of(known) if known else signal
                if known is None or signal.is_news_after(known):
                    failing.append(signal)
                else:  # told when it began; an error that is a warning by now, too: the next error is news
                    stands = stands.model_copy(update={"at": known.at, "run_id": known.run_id})
                _keep(connection, stands.model_copy(update={"told": signal.worst_told(known)}))
            messages = grouped(failing, recovered)
            connection.executemany(
                "INSERT OR IGNORE INTO outbox (message_id, sink, message) VALUES (?, ?, ?)",
                [(m.message_id, sink, m.model_dump_json()) for m in messages for sink in route(m)],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO observed VALUES (?, ?, ?)",
                [(observer, source, position) for source, position in positions.items()],
            )
        return messages

    def unsent(self) -> list[Unsent]:
        """What waits to be sent, by sink: how much, and why the last attempt failed."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT sink, count(*), max(last_error) FROM outbox WHERE sent_at IS NULL GROUP BY sink ORDER BY sink"
            ).fetchall()
        return [Unsent(*row) for row in rows]

    def refusals(self) -> list[Refusal]:
        """What was refused for good, by sink, with the last of each."""
        with self._transaction() as connection:
            rows = connection.execute(  # SQLite: the bare columns are those of the greatest position
                "SELECT sink, count(*), message, reason, max(position) FROM refused GROUP BY sink ORDER BY sink"
            ).fetchall()
        return [Refusal(row[0], row[1], Message.model_validate_json(row[2]).title, row[3]) for row in rows]

    def claim(self, now: datetime, without: Collection[str] = ()) -> Due | None:
        """The oldest message to be sent now, for this process alone to send; None for none but for sinks in `without`.

        One at a time, as a claim is for longer than one message takes, not all. A sink whose oldest message is claimed
        or put off gets no other: its messages come in their order.
        """
        with self._transaction() as connection:
            row = connection.execute(
                f"""
                UPDATE outbox SET not_before = ? WHERE position = (
                    SELECT min(position) FROM (
                        SELECT min(position) AS position, not_before FROM outbox  -- SQLite: that of the oldest
                        WHERE sent_at IS NULL AND sink NOT IN ({", ".join("?" * len(without))}) GROUP BY sink
                    ) WHERE not_before <= ?
                ) RETURNING position, sink, message
                """,
                ((now + CLAIM).timestamp(), *without, now.timestamp()),
            ).fetchone()
        return Due(row[0], row[1], Message.model_validate_json(row[2])) if row else None

    def sent(self, due: Due, now: datetime) -> None:
        """Mark a message as sent."""
        with self._transaction() as connection:
            connection.execute("UPDATE outbox SET sent_at = ? WHERE position = ?", (now.timestamp(), due.position))

    def refused(self, due: Due, reason: str, now: datetime) -> None:
        """Take a message that no further attempt brings home out of the way of those behind it."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO refused (message_id, sink, message, reason, refused_at) "
                "SELECT message_id, sink, message, ?, ? FROM outbox WHERE position = ?",
                (reason, now.timestamp(), due.position),
            )
            connection.execute("DELETE FROM outbox WHERE position = ?", (due.position,))

    def resend(self) -> dict[str, int]:
        """Queue what was refused for good once more, behind what waits; how many messages, by sink."""
        with self._transaction() as connection:
            rows = connection.execute("SELECT sink, count(*) FROM refused GROUP BY sink ORDER BY sink").fetchall()
            connection.execute(
                "INSERT OR IGNORE INTO outbox (message_id, sink, message) "
                "SELECT message_id, sink, message FROM refused ORDER BY position"
            )
            connection.execute("DELETE FROM refused")
        return dict(rows)

    def failed(self, due: Due, reason: str, now: datetime) -> None:
        """Put a message and all others for its sink off, the longer the more often it failed."""
        with self._transaction() as connection:
            (attempts,) = connection.execute(
                "UPDATE outbox SET attempts = attempts + 1, last_error = ? WHERE position = ? RETURNING attempts",
                (reason, due.position),
            ).fetchone()
            wait = min(FIRST_WAIT * 2 ** min(attempts - 1, 20), LONGEST_WAIT)
            connection.execute(
                "UPDATE outbox SET not_before = ? WHERE sink = ? AND sent_at IS NULL",
                ((now + wait).timestamp(), due.sink),
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


def _keep(connection: sqlite3.Connection, signal: Signal) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO incidents VALUES (?, ?, ?)", (signal.subject, signal.name, signal.model_dump_json())
    )


def _end(connection: sqlite3.Connection, well: Signal) -> list[Signal]:
    """End the incidents that are over as `well` is, and keep what it leaves of others; the former as they are now."""
    rows = connection.execute("SELECT signal FROM incidents WHERE name = ? ORDER BY subject", (well.name,)).fetchall()
    over = []
    for known in (Signal.model_validate_json(text) for (text,) in rows):
        left = well.left_of(known)
        if left is None:
            connection.execute("DELETE FROM incidents WHERE subject = ? AND name = ?", (known.subject, known.name))
            over.append(known)
        elif left != known:
            _keep(connection, left)
    return [
        well.model_copy(
            update={
                "subject": known.subject,
                "owner": known.owner,
                "parts": known.parts,
                "severity": known.told or known.severity,
            }
        )
        for known in over
    ]


def _incident(connection: sqlite3.Connection, signal: Signal) -> Signal | None:
    row = connection.execute(
        "SELECT signal FROM incidents WHERE subject = ? AND name = ?", (signal.subject, signal.name)
    ).fetchone()
    return Signal.model_validate_json(row[0]) if row else None
