"""Takes a customer out of texts that were written along the way: logs, and the databases of runs, alerts and models.

A text in JSON loses the strings that name the customer, other text the lines; all else stays. Tables are not touched:
those are rewritten or made anew where they belong.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from cartograph.erasure.scan import Wanted, kind_of

BLANK = "[erased]"


def blank_texts(root: Path, wanted: Wanted, *, kept: Collection[Path]) -> Iterator[str]:
    """Blank what names the customer in the databases and plain texts under `root`, but in the folders `kept`.

    Gives each changed file.

    Each SQLite database is written anew, whether or not anything was found: deleted rows stay in its file otherwise.
    """
    for path in sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink()):
        if any(path.is_relative_to(folder) for folder in kept):
            continue
        if not path.exists():  # a database's own companion file, gone with its last connection
            continue
        kind = kind_of(path)
        if (kind == "sqlite" and _blank_sqlite(path, wanted)) or (kind == "plain" and _blank_file(path, wanted)):
            yield path.relative_to(root).as_posix()


def blanked(text: str, wanted: Wanted) -> str:
    """`text` without the strings (in JSON) or lines that name the customer."""
    if not wanted.in_text.search(text):
        return text
    cleaned = _json_without(text, wanted)
    if cleaned is not None:
        return cleaned
    lines = text.split("\n")
    cleaned = "\n".join(_json_without(li, wanted) or BLANK if wanted.in_text.search(li) else li for li in lines)
    return BLANK if wanted.in_text.search(cleaned) else cleaned  # it lies across lines


def _json_without(text: str, wanted: Wanted) -> str | None:
    """`text` with its strings blanked; None where it is no JSON, or names the customer in a key or number."""
    try:
        content = json.loads(text)
    except ValueError:
        return None
    if not isinstance(content, (dict, list)):
        return None
    cleaned = json.dumps(_blanked_json(content, wanted), ensure_ascii=False)
    return None if wanted.in_text.search(cleaned) else cleaned


def _blanked_json(content: Any, wanted: Wanted) -> Any:
    if isinstance(content, dict):
        return {key: _blanked_json(value, wanted) for key, value in content.items()}
    if isinstance(content, list):
        return [_blanked_json(value, wanted) for value in content]
    return blanked(content, wanted) if isinstance(content, str) else content


def _blank_file(path: Path, wanted: Wanted) -> bool:
    content = path.read_bytes()
    if not wanted.is_in(content):
        return False
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return False  # no text: the search that follows tells of it
    path.write_bytes(blanked(text, wanted).encode())
    return True


def _blank_sqlite(path: Path, wanted: Wanted) -> bool:
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        connection.execute("BEGIN IMMEDIATE")
        before = connection.total_changes
        for (table,) in tables:
            for _, column, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
                texts = connection.execute(
                    f'SELECT rowid, "{column}" FROM "{table}" WHERE typeof("{column}") = \'text\''
                )
                cleaned = [(blanked(text, wanted), rowid) for rowid, text in texts if wanted.in_text.search(text)]
                connection.executemany(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', cleaned)
        after = connection.total_changes
        connection.execute("COMMIT")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return after > before
