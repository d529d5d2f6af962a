"""The log of the API's predictions comes into the lake: each entry once, whatever is killed and however often."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartograph.lake import Lake
from cartograph.prediction_log import Entry, Segment, drop_unheld, line, parse, segments, whole_lines
from cartograph.settings import load_settings
from ecom_assets.defs.ingestion.prediction_log import judge
from ecom_assets.ingestion import Batch
from ecom_assets.prediction_log import TABLE, LogReport, load_log

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
PROCESS = "0123456789abcdef" * 2


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.from_settings(load_settings(home=tmp_path / "home"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


def entry(number: int, **changes: object) -> Entry:
    defaults = {
        "prediction_id": f"{PROCESS}-{number}",
        "predicted_at": NOON + timedelta(hours=number),
        "model": "churn_classifier",
        "model_version": "3",
        "release_id": "2026-01-01-0123456789ab",
        "score": number / 100,
    }
    return Entry.model_validate({**defaults, **changes})


def written(folder: Path, *numbers: int) -> Segment:
    segment = Segment.open(folder, NOON)
    segment.write(b"".join(line(entry(number)) for number in numbers))
    return segment


def load(lake: Lake, folder: Path) -> LogReport:
    return load_log(lake, folder, grain="monthly", batch=Batch(NOON, "run"))


def scores(lake: Lake) -> dict[str, float]:
    table = lake.batches(TABLE, columns=["prediction_id", "score"]).read_all()
    rows = table.to_pylist()
    assert len({row["prediction_id"] for row in rows}) == len(rows), "twice in the lake"
    return {row["prediction_id"]: row["score"] for row in rows}


def test_entries_reach_the_lake_and_their_file_goes(lake: Lake, folder: Path) -> None:
    written(folder, 1, 2, 30).close()
    report = load(lake, folder)
    assert (report.delivered, report.added, report.deleted) == (3, 3, 1)
    assert report.is_accounted_for
    assert scores(lake) == {f"{PROCESS}-1": 0.01, f"{PROCESS}-2": 0.02, f"{PROCESS}-30": 0.3}
    assert segments(folder) == []
    (row,) = lake.batches(TABLE).read_all().slice(0, 1).to_pylist()
    assert row["_batch_id"] == "run"
    assert row["_source"].endswith(".jsonl")


def test_a_file_that_is_being_written_is_read_and_left_and_read_on(lake: Lake, folder: Path) -> None:
    segment = written(folder, 1)
    assert (load(lake, folder).added, segments(folder)) == (1, [segment.path])
    segment.write(line(entry(2)))
    again = load(lake, folder)
    assert (again.added, again.known, again.deleted) == (1, 1, 0)
    segment.close()
    last = load(lake, folder)
    assert (last.added, last.known, last.deleted) == (0, 2, 1)
    assert set(scores(lake)) == {f"{PROCESS}-1", f"{PROCESS}-2"}


def test_nothing_logged_is_no_fault(lake: Lake, folder: Path) -> None:
    report = load(lake, folder)
    assert (report.delivered, report.snapshot_id) == (0, None)
    assert all(result.passed for result in judge(report))


def test_a_load_that_was_killed_after_its_commit_is_repeated_without_harm(
    lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(folder, 1, 2).close()

    def killed(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ecom_assets.prediction_log.drop_unheld", killed)
        with pytest.raises(KeyboardInterrupt):
            load(lake, folder)
    report = load(lake, folder)
    assert (report.added, report.known, report.deleted) == (0, 2, 1)
    assert len(scores(lake)) == 2


def test_the_end_that_a_crash_cut_off_is_left_out_and_the_rest_is_kept(lake: Lake, folder: Path) -> None:
    segment = written(folder, 1)
    segment.write(line(entry(2))[:-20])
    segment.close()
    report = load(lake, folder)
    assert (report.delivered, report.added, report.unreadable) == (1, 1, ())


def test_a_line_that_is_no_entry_is_told_with_its_place(lake: Lake, folder: Path) -> None:
    segment = written(folder, 1)
    segment.write(b'{"prediction_id": "x"}\n' + line(entry(2)))
    segment.close()
    report = load(lake, folder)
    assert report.unreadable == (f"{segment.path.name}, line 2",)
    assert report.is_accounted_for
    accounted, readable = judge(report)
    assert accounted.passed
    assert not readable.passed
    assert readable.severity.value == "WARN"


def test_entries_that_did_not_reach_the_lake_fail_the_check() -> None:
    report = LogReport(1, 0, 3, 3, 0, 0, 2, (), 7)
    accounted, _ = judge(report)
    assert not accounted.passed
    assert "2 in the lake" in str(accounted.description)


def test_a_copied_file_adds_nothing(lake: Lake, folder: Path) -> None:
    segment = written(folder, 1, 2)
    segment.close()
    (folder / f"20260331T120000000001-{'0' * 8}.jsonl").write_bytes(segment.path.read_bytes())
    report = load(lake, folder)
    assert (report.added, report.repeated, report.deleted) == (2, 2, 2)
    assert report.is_accounted_for


def test_the_entries_of_a_killed_process_are_loaded_and_its_lock_is_gone(lake: Lake, folder: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from datetime import UTC, datetime\n"
        "from pathlib import Path\n"
        "from cartograph.prediction_log import Segment\n"
        "segment = Segment.open(Path(sys.argv[1]), datetime(2026, 1, 1, tzinfo=UTC))\n"
        "segment.write(bytes.fromhex(sys.argv[2]))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    given_lines = (line(entry(1)) + line(entry(2))[:-5]).hex()
    ended = subprocess.run([sys.executable, "-c", code, str(folder), given_lines], check=False, env=os.environ)
    assert ended.returncode == -signal.SIGKILL
    report = load(lake, folder)
    assert (report.added, report.deleted) == (1, 1)


def test_a_file_that_grew_after_it_was_read_is_not_deleted(folder: Path) -> None:
    segment = written(folder, 1)
    read = segment.path.stat().st_size
    segment.write(line(entry(2)))
    segment.close()
    assert not drop_unheld(segment.path, read)
    assert drop_unheld(segment.path, segment.path.stat().st_size)
    assert not drop_unheld(segment.path, 10**9), "it is gone already"


def test_other_files_of_the_folder_are_left_alone(lake: Lake, folder: Path) -> None:
    folder.mkdir()
    for name in ("notes.jsonl", "x.txt", ".20260331T120000000001-00000000.jsonl.swp"):
        (folder / name).write_bytes(line(entry(1)))
    assert load(lake, folder).delivered == 0
    assert len(list(folder.iterdir())) == 3


@given(st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20), st.datetimes())
def test_an_entry_survives_its_line(score: float, text: str, moment: datetime) -> None:
    made = entry(1, score=score, model=text.encode(errors="ignore").decode(), predicted_at=moment.replace(tzinfo=UTC))
    assert parse(line(made)) == made


@pytest.mark.parametrize(
    "changes",
    [{"score": None}, {"score": "0.5"}, {"customer_id": "C1"}, {"predicted_at": "2026-01-01T00:00:00"}, {"model": 3}],
)
def test_what_is_no_entry_is_refused(changes: dict[str, object]) -> None:
    document = {**json.loads(line(entry(1))), **changes}
    assert parse(json.dumps(document).encode()) is None


@given(st.lists(st.binary(max_size=30).filter(lambda text: b"\n" not in text), max_size=10), st.integers(0, 40))
def test_whole_lines_are_those_with_an_end(
    tmp_path_factory: pytest.TempPathFactory, texts: list[bytes], cut: int
) -> None:
    path = tmp_path_factory.mktemp("lines") / "file"
    content = b"".join(text + b"\n" for text in texts)
    content = content[: len(content) - cut] if cut else content
    path.write_bytes(content)
    found = list(whole_lines(path))
    assert b"".join(found) == content[: content.rfind(b"\n") + 1]
    assert all(text.endswith(b"\n") for text in found)
