"""`cartograph lake` refuses what no lake can be kept by."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cartograph.cli.app import app


@pytest.mark.parametrize("hours", ["nan", "inf", "-inf", "1e300", "-1", "1000001"])
def test_hours_of_grace_are_a_number_of_hours(hours: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTOGRAPH_HOME", str(tmp_path))
    answer = CliRunner().invoke(app, ["lake", "maintain", f"--grace-hours={hours}"])
    assert answer.exit_code == 2
    assert "Invalid value for '--grace-hours'" in answer.output
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("hours", ["0", "0.5", "1000000"])
def test_as_many_hours_as_there_are_may_be_spared(hours: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTOGRAPH_HOME", str(tmp_path))
    assert CliRunner().invoke(app, ["lake", "maintain", "--grace-hours", hours]).exit_code == 0
