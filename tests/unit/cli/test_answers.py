"""When `cartograph up` says that a service is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cartograph.cli import up
from cartograph.cli.up import Service, answers


def service(page: Path) -> Service:
    """A service that answers when there is such a file."""
    return Service("a service", [], page.as_uri(), page.as_uri())


def test_a_service_that_has_ended_does_not_answer(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        assert not answers(service(tmp_path / "nothing"), [process])


def test_only_a_service_that_answers_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page").write_text("up", encoding="utf-8")
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        assert answers(service(tmp_path / "page"), [process])
        monkeypatch.setattr(up, "START_SECONDS", 0)
        assert not answers(service(tmp_path / "nothing"), [process])
        process.communicate()


def test_a_service_is_not_waited_for_where_another_has_ended(tmp_path: Path) -> None:
    with (
        subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as living,
        subprocess.Popen([sys.executable, "-c", ""]) as ended,
    ):
        ended.wait()
        assert not answers(service(tmp_path / "nothing"), [living, ended])
        living.communicate()
