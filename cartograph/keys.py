"""The keys by which programs ask the API: what each may do, until when, and how a secret is recognised.

A key is `ctg_<id>_<secret>`; the secret has 256 random bits, so that its SHA-256 needs no salt and cannot be guessed
back. Only the digest is kept, in a SQLite file of the shop's home. Which request needs which scope is the API's own.
"""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

Scope = Literal["read", "predict", "ingest", "admin", "pii"]
"""`pii` adds personal data to what `read` shows; none holds another."""
SCOPES: tuple[Scope, ...] = get_args(Scope)

RATE = r"^[1-9]\d{0,8}/(second|minute|hour|day)$"
"""So many requests in each such time."""
LONGEST_DAYS = 3650

_NAME = re.compile(r"[\w.@ -]{1,64}")
_FORM = re.compile(r"ctg_([0-9a-f]{12})_[0-9a-f]{64}")
_LONGEST = 256
"""No more of what is presented as a key is looked at."""

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS keys (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, scopes TEXT NOT NULL, rate TEXT, digest BLOB NOT NULL,
        previous_digest BLOB NOT NULL, previous_until REAL NOT NULL, created_at REAL NOT NULL, expires_at REAL NOT NULL,
        rotated_at REAL, revoked_at REAL, last_used_at REAL
    ) STRICT
"""


class KeysError(ValueError):
    """A key cannot be made, changed or found. The message names the cure."""


class Key(NamedTuple):
    """A key as it is kept: no part of its secret. `rate` is None where the service's own holds."""

    id: str
    name: str
    scopes: frozenset[Scope]
    rate: str | None
    digest: bytes
    previous_digest: bytes
    previous_until: datetime
    created_at: datetime
    expires_at: datetime
    rotated_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        """What the key is worth at `now`."""
        if self.revoked_at is not None:
            return "revoked"
        return "valid" if now < self.expires_at else "expired"


_EPOCH = datetime.fromtimestamp(0, UTC)
_NOBODY = Key(
    id="",
    name="",
    scopes=frozenset(),
    rate=None,
    digest=secrets.token_bytes(32),
    previous_digest=secrets.token_bytes(32),
    previous_until=_EPOCH,
    created_at=_EPOCH,
    expires_at=_EPOCH,
    rotated_at=None,
    revoked_at=None,
    last_used_at=None,
)
"""Stands for a key that there is not, so that it is found out by the same steps."""


def verified(known: Mapping[str, Key], presented: str, now: datetime) -> Key | None:
    """The key of `known` (by id) that `presented` is, None where it is none or is not valid at `now`.

    Whatever is presented is hashed once and compared twice in constant time: how long it takes tells nobody whether
    there is such an id, or whether a key is expired or revoked.
    """
    presented = presented[:_LONGEST]
    form = _FORM.fullmatch(presented)
    key = known.get(form[1] if form else "", _NOBODY)
    digest = sha256(presented.encode(errors="surrogatepass")).digest()
    is_current = compare_digest(digest, key.digest)
    is_previous = compare_digest(digest, key.previous_digest) & (now < key.previous_until)
    return key if (is_current | is_previous) & (key.state(now) == "valid") else None


class KeyStore:
    """The keys of a shop, in the SQLite file at `path`. Reading makes no file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> list[Key]:
        """All keys that were ever made, oldest first.

        Raises:
            KeysError: the file cannot be read.
        """
        if not self._path.exists():
            return []
        try:
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=1, isolation_level=None)) as connection:
                return [_key(row) for row in connection.execute("SELECT * FROM keys ORDER BY created_at, id")]
        except sqlite3.Error as error:
            raise KeysError(
                f"{self._path} cannot be read: {error}. Restore it, or delete it and make keys anew."
            ) from None

    def create(
        self, name: str, scopes: Collection[Scope], *, now: datetime, days: int, rate: str | None = None
    ) -> tuple[Key, str]:
        """Make a key that is valid for `days`; what is returned beside it is the key as it is sent, shown never again.

        Raises:
            KeysError: the name, a scope, the days or the rate is none, or a valid key has that name.
        """
        if not _NAME.fullmatch(name):
            raise KeysError(f"{name!r} is no name of a key: up to 64 letters, digits, spaces and any of . @ _ -")
        if not scopes or not set(scopes) <= set(SCOPES):
            raise KeysError(f"The scopes of a key are one or more of {', '.join(SCOPES)}; got {', '.join(scopes)}.")
        if not 1 <= days <= LONGEST_DAYS:
            raise KeysError(f"A key is valid for 1 to {LONGEST_DAYS} days, not {days}.")
        if rate is not None and not re.fullmatch(RATE, rate):
            raise KeysError(f"{rate!r} is no rate: it takes a number and a time, e.g. 100/second or 6000/minute.")
        known = [key for key in self.all() if key.name == name and key.state(now) == "valid"]
        if known:
            raise KeysError(
                f"The key {known[0].id} is called {name} already: take another name, or give it a new secret with "
                f"`cartograph keys rotate {known[0].id}`."
            )
        key_id = secrets.token_hex(6)
        sent, digest = _new_secret(key_id)
        row = (key_id, name, " ".join(sorted(set(scopes))), rate, digest, secrets.token_bytes(32), 0.0)
        times = (now.timestamp(), (now + timedelta(days=days)).timestamp())
        with self._writing() as connection:
            connection.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL)", (*row, *times))
        return self._find(key_id), sent

    def rotate(self, key_id: str, *, now: datetime, overlap: timedelta) -> tuple[Key, str]:
        """Give a key a new secret, valid for as long as the first was; the old one stays valid for `overlap` more.

        Raises:
            KeysError: there is no such key, or it is expired or revoked.
        """
        key = self._find(key_id)
        if key.state(now) != "valid":
            raise KeysError(f"The key {key_id} is {key.state(now)}: make a new one with `cartograph keys create`.")
        sent, digest = _new_secret(key_id)
        until = min(now + overlap, key.expires_at)
        lasts = key.expires_at - (key.rotated_at or key.created_at)
        with self._writing() as connection:
            connection.execute(
                "UPDATE keys SET digest = ?, previous_digest = digest, previous_until = ?, rotated_at = ?, "
                "expires_at = ? WHERE id = ?",
                (digest, until.timestamp(), now.timestamp(), (now + lasts).timestamp(), key_id),
            )
        return self._find(key_id), sent

    def revoke(self, key_id: str, *, now: datetime) -> Key:
        """End a key at once and for good, with the secret that it had before.

        Raises:
            KeysError: there is no such key.
        """
        self._find(key_id)
        with self._writing() as connection:
            connection.execute(
                "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (now.timestamp(), key_id)
            )
        return self._find(key_id)

    def used(self, latest: Mapping[str, datetime]) -> None:
        """Note when keys, by id, were used last; several services may."""
        with self._writing() as connection:
            connection.executemany(
                "UPDATE keys SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE id = ?",
                [(at.timestamp(), key_id) for key_id, at in latest.items()],
            )

    def _find(self, key_id: str) -> Key:
        for key in self.all():
            if key.id == key_id:
                return key
        raise KeysError(f"There is no key {key_id}: `cartograph keys list` shows all.")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite's own would be open to all
        try:
            with closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_SCHEMA)
                yield connection
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise KeysError(f"{self._path} cannot be written: {error}. Look at the disk and at who owns it.") from None


def _new_secret(key_id: str) -> tuple[str, bytes]:
    sent = f"ctg_{key_id}_{secrets.token_hex(32)}"
    return sent, sha256(sent.encode()).digest()


def _key(row: tuple[object, ...]) -> Key:
    key_id, name, scopes, rate, digest, previous, *times = row
    until, created, expires, rotated, revoked, used = (
        None if at is None else datetime.fromtimestamp(cast(float, at), UTC) for at in times
    )
    return Key(
        id=str(key_id),
        name=str(name),
        scopes=frozenset(cast(Scope, scope) for scope in str(scopes).split()),
        rate=cast("str | None", rate),
        digest=cast(bytes, digest),
        previous_digest=cast(bytes, previous),
        previous_until=until or _EPOCH,
        created_at=created or _EPOCH,
        expires_at=expires or _EPOCH,
        rotated_at=rotated,
        revoked_at=revoked,
        last_used_at=used,
    )
