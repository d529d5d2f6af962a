"""The child process that executes jobs: how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cartograph.cli.jobs import Location, start_worker
from cartograph.cli.worker import READY
from cartograph.settings import Settings

LOCATION = """
import tempfile
import dagster as dg

folder = tempfile.TemporaryDirectory(prefix="spilled-")

def defs():
    return dg.Definitions()
"""


@pytest.fixture
def location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    (tmp_path / "a_location.py").write_text(LOCATION, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return Location("a_location", (), "start")


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[int]:
    with (tmp_path / "run.lock").open("w") as file:
        yield file.fileno()


def spilled(folder: Path) -> list[Path]:
    return list(folder.glob("spilled-*"))


def test_a_worker_without_work_ends_in_order_and_leaves_no_files_behind(tmp_path, location, lock):
    settings = Settings(home=tmp_path)
    settings.logs_dir.mkdir(parents=True)
    with start_worker(settings, location, lock) as worker:
        assert worker.process.stdout.readline().decode().strip() == READY
        assert spilled(tmp_path)
    assert worker.process.returncode == 0
    assert spilled(tmp_path) == []


def test_a_worker_that_is_not_ready_yet_ends_in_order_too(tmp_path, location, lock):
    settings = Settings(home=tmp_path)
    settings.logs_dir.mkdir(parents=True)
    with start_worker(settings, location, lock) as worker:
        pass
    assert worker.process.returncode == 0
    assert spilled(tmp_path) == []
