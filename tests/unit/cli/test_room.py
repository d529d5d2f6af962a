"""A full disk is told as one, whatever failed on it."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
import typer

from cartograph.cli import app, room
from cartograph.cli.instance import open_instance, prepare_home
from cartograph.cli.room import LEAST_FREE, full_disk
from cartograph.settings import Settings, load_settings
from cartograph.shops import ShopError

NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "table.parquet")


class Usage(NamedTuple):
    free: int


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("CARTOGRAPH_HOME", str(tmp_path))
    settings = load_settings()
    prepare_home(settings)
    return settings


@pytest.fixture
def full(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: Usage(LEAST_FREE - 1))
    return settings


def test_a_disk_with_room_is_not_full(settings, monkeypatch):
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: Usage(LEAST_FREE))
    assert full_disk(settings) is None
    assert full_disk(settings, ValueError("wrong")) is None
    assert full_disk(settings, PermissionError(errno.EACCES, "no")) is None


def test_a_full_disk_is_named_with_what_is_left(full):
    assert f"The disk of {full.shop_home} is full (4.0 MiB left). Make room" in str(full_disk(full))


def test_the_lakes_own_disk_is_looked_at(tmp_path, monkeypatch):
    settings = load_settings(home=tmp_path / "home", lake_uri=str(tmp_path / "elsewhere"))
    lake = Path(settings.resolved_lake_uri)
    lake.mkdir(parents=True)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: Usage(0 if path == lake else LEAST_FREE))
    assert f"The disk of {lake} is full (0 B left)" in str(full_disk(settings))


def test_a_write_that_was_too_large_for_what_is_left_is_told_with_its_file(settings):
    told = full_disk(settings, NO_SPACE)
    assert "no room to write table.parquet (No space left on device). Make room" in str(told)


def test_a_run_history_on_a_full_disk_is_not_called_damaged(full):
    history = full.dagster_home / "history"
    history.mkdir()
    (history / "runs.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(ShopError, match="is full") as told, open_instance(full):
        pass
    assert "Move that folder away" not in str(told.value)


def test_the_instances_configuration_is_not_written_again_without_need(settings, monkeypatch):
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: pytest.fail("written"))
    prepare_home(settings)


@pytest.mark.parametrize(("raised", "expected"), [(NO_SPACE, app.EXIT_MISTAKE), (ValueError("a fault of ours"), None)])
def test_a_command_without_room_ends_in_a_message_and_others_in_their_error(
    settings, monkeypatch, capsys, raised, expected
):
    def command() -> NoReturn:
        raise raised

    failing = typer.Typer()
    failing.command()(command)
    monkeypatch.setattr(app, "app", lambda: failing(args=[], standalone_mode=False))
    with pytest.raises(SystemExit if expected else ValueError) as left:
        app.main()
    assert getattr(left.value, "code", None) == expected
    assert ("Make room" in capsys.readouterr().err) == bool(expected)
    assert shutil.disk_usage(settings.home).free > LEAST_FREE, "this machine's disk is full"
