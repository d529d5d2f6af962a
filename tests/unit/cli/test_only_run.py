"""One command works on a home at a time; one that comes after a killed run waits for that run's children to end."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from cartograph.cli import instance
from cartograph.cli.instance import only_run, prepare_home
from cartograph.settings import Settings
from cartograph.shops import ShopError


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path)
    prepare_home(settings)
    return settings


def test_a_command_beside_a_living_run_is_told_which_at_once(settings, monkeypatch):
    monkeypatch.setattr(instance, "ENDING_SECONDS", 3600)
    with (
        only_run(settings),
        pytest.raises(ShopError, match=rf"Another run \(process {os.getpid()}\)"),
        only_run(settings),
    ):
        pass


def test_a_command_waits_while_the_children_of_a_killed_run_end(settings, monkeypatch):
    with only_run(settings) as lock:
        asked = []

        def is_gone(process: str) -> bool:
            asked.append(process)
            if len(asked) == 3:
                fcntl.flock(lock, fcntl.LOCK_UN)
            return True

        monkeypatch.setattr(instance, "_is_gone", is_gone)
        with only_run(settings) as own:
            assert len(asked) == 3
            assert own is not lock


def test_a_child_that_does_not_end_is_told(settings, monkeypatch):
    monkeypatch.setattr(instance, "ENDING_SECONDS", 0)
    monkeypatch.setattr(instance, "_is_gone", lambda _: True)
    with only_run(settings), pytest.raises(ShopError, match="Another run"), only_run(settings):
        pass
