"""`cartograph bench recommend`: what it prints of a small file, and the one message for a file that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cartograph.cli import app
from ml_assets.core.bench.errors import BenchDataError
from ml_assets.core.bench.recommend import bench, read_sequences

MODELS = ["popularity", "popularity_with_test_items", "cosine_knn", "als", "ease", "transitions", "chosen"]


def lines(users: int = 60) -> list[str]:
    """Customers who walk along one of three rows of ten items."""
    draw = np.random.default_rng(2)
    found = []
    for user in range(users):
        row, at = draw.integers(3), draw.integers(10)
        walk = (at + np.arange(draw.integers(3, 7))) % 10
        found.append(" ".join([f"u{user}", *(f"i{row}{step}" for step in walk)]))
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "sequences.txt"
    file.write_text("\n".join(lines()) + "\n", encoding="utf-8")
    return file


def test_the_command_prints_facts_parameters_and_scores(path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["cartograph", "bench", "recommend", "--data", str(path)])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["data"] == {"file": str(path), "users": 60, "items": 30, "repeat_share": 0.0,
                               "actions": sum(len(line.split()) - 1 for line in lines())}  # fmt: skip
    assert list(printed["metrics"]) == MODELS
    scores = printed["metrics"]
    assert scores["chosen"]["ndcg@10"] >= 2 * scores["popularity"]["ndcg@10"]
    assert scores["transitions"]["hit_rate@10"] > 0.9, "each item leads to the next"
    for model in MODELS:
        low, high = printed["intervals"][model]["ndcg@10"]
        assert low <= scores[model]["ndcg@10"] <= high
    parameters = printed["parameters"]["chosen"]
    assert parameters["ordered"] + parameters["cosine"] + parameters["ease"] == pytest.approx(1, abs=1e-3)
    assert printed["seconds"]["all"] > 0
    assert printed["peak_memory_mb"] > 0


def test_who_repeats_purchases_is_recommended_them_again(tmp_path):
    path = tmp_path / "repeats.txt"
    path.write_text("\n".join(f"u{n} a{n} b a{n} b a{n} b" for n in range(30)), encoding="utf-8")
    heard: list[str] = []
    found = bench(path, heard.append)
    assert found["protocol"]["candidates"] == "all items"
    assert found["metrics"]["chosen"]["hit_rate@5"] == 1
    assert heard[0] == "read"
    assert heard[-1] == "chosen"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"has 0 users, and no score means anything with fewer than 20\. Write one user a line"),
        (b"a 1 2 3\n\n\nb\n", r"line 4: user 'b' has no items\. Write one user a line"),
        (b"a,1,2,3\n", r"line 1: user 'a,1,2,3' has no items\. .* separated by blanks"),
        (b"a 1 2 3\nb 1\n", r"line 2: user 'b' has one item.* Leave users with fewer than two items out"),
        (b"a 1 2 3\nb 1 2\na 4 5\n", r"line 3: user 'a' has line 1 already\. Write all items of a user in one line"),
        (b"a 1 2 3\nb \xff\xfe 2\n", r"line 2 is not UTF-8\. Convert the file, or unpack it"),
        (b"\x1f\x8b\x08\x00", r"line 1 is not UTF-8"),
        (b"\n".join(b"u%d 1 2" % n for n in range(30)), r"no user has three items.* Add users with more items"),
    ],
)
def test_a_wrong_file_is_named_with_line_and_cure(tmp_path, content, message):
    path = tmp_path / "wrong.txt"
    path.write_bytes(content)
    with pytest.raises(BenchDataError, match=message) as raised:
        read_sequences(path)
    assert str(raised.value).startswith(str(path))


def test_a_missing_file_ends_in_one_message_and_status_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["cartograph", "bench", "recommend", "--data", str(tmp_path / "none.txt")])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "none.txt cannot be read: No such file or directory. Give the path of a text file." in told.err


def test_ids_are_texts_and_windows_files_are_read(tmp_path):
    path = tmp_path / "windows.txt"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(f"u{n}\tä{n} b 7".encode() for n in range(20)) + b"\r\n")
    histories = read_sequences(path)
    assert (histories.rows, histories.size) == (20, 22)
    assert histories.items[:3].tolist() == [0, 1, 2]
