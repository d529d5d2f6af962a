"""Logs and run histories lose what names a customer, and nothing else; also what was deleted in a database's file."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from cartograph.erasure import blank_texts
from cartograph.erasure.texts import BLANK, blanked
from tests.unit.erasure.making import ADA, EMAIL, WANTED


def test_a_line_of_a_log_goes_and_the_others_stay(tmp_path: Path) -> None:
    (tmp_path / "run.log").write_text(f"begun\nbad row {ADA}\nended\n")
    (tmp_path / "other.log").write_text("C00000018\n")
    assert list(blank_texts(tmp_path, WANTED, kept=[])) == ["run.log"]
    assert (tmp_path / "run.log").read_text() == f"begun\n{BLANK}\nended\n"
    assert (tmp_path / "other.log").read_text() == "C00000018\n"


def test_json_stays_json_and_loses_the_strings_that_name_the_customer() -> None:
    inner = json.dumps({"row": f"{ADA} bought", "n": 3})
    event = {"samples": [f"{ADA}, 1", "C00000018, 1"], "inner": inner, "text": f"| a | {EMAIL} | Ada |", "rows": 17}
    cleaned = json.loads(blanked(json.dumps(event), WANTED))
    assert cleaned == {
        "samples": [BLANK, "C00000018, 1"],
        "inner": json.dumps({"row": BLANK, "n": 3}),
        "text": BLANK,
        "rows": 17,
    }


def test_lines_of_json_stay_lines_of_json() -> None:
    lines = [json.dumps({"text": "fine"}), json.dumps({"text": f"of {ADA}", "id": 2})]
    assert blanked("\n".join(lines), WANTED).split("\n") == [lines[0], json.dumps({"text": BLANK, "id": 2})]
    assert blanked(json.dumps({ADA: 1}), WANTED) == BLANK, "a key names the customer"


def test_a_database_loses_the_texts_and_what_was_deleted_from_it(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, body TEXT, n INTEGER)")
    connection.execute("CREATE TABLE gone (body TEXT)")
    connection.execute("INSERT INTO gone VALUES (?)", (f"deleted {EMAIL}" * 50,))
    connection.execute("INSERT INTO events VALUES (1, ?, 5), (2, 'fine', 6)", (f"of {ADA}\nnext",))
    connection.commit()
    connection.execute("DELETE FROM gone")
    connection.commit()
    connection.close()
    assert EMAIL.encode() in path.read_bytes()
    assert list(blank_texts(tmp_path, WANTED, kept=[])) == ["runs.db"]
    assert all(value.encode() not in p.read_bytes() for p in tmp_path.iterdir() for value in (EMAIL, ADA))
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT * FROM events ORDER BY id").fetchall() == [
        (1, f"{BLANK}\nnext", 5),
        (2, "fine", 6),
    ]
    connection.close()


def test_folders_that_are_kept_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases" / "shop.json").write_text(f'"{ADA}"')
    assert list(blank_texts(tmp_path, WANTED, kept=[tmp_path / "releases"])) == []
