"""The files of a shop's questions and experiments are told as what they are: usable, wrong, or without data."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cartograph.cli.app import app

REPOSITORY = Path(__file__).parents[3]
GOOD = (REPOSITORY / "experiments" / "homepage_layout.yaml").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two experiments, of which one names a control that it does not have."""
    made = tmp_path / "experiments"
    made.mkdir()
    (made / "homepage.yaml").write_text(GOOD, encoding="utf-8")
    (made / "bad.yaml").write_text(f"{GOOD}\ncontrol: nobody\n", encoding="utf-8")
    monkeypatch.setenv("CARTOGRAPH_EXPERIMENTS_DIR", str(made))
    monkeypatch.setenv("CARTOGRAPH_HOME", str(tmp_path / "home"))
    return made


def asked(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.usefixtures("folder")
def test_each_experiment_is_told_and_a_broken_one_ends_the_command() -> None:
    status, said = asked("experiment", "check")
    assert (status, "✓ homepage" in said, "✗" in said) == (1, True, True)
    assert "the control nobody is none" in said


@pytest.mark.usefixtures("folder")
def test_the_memo_of_a_broken_file_says_what_is_wrong_with_it() -> None:
    status, said = asked("experiment", "memo", "bad")
    assert status == 1
    assert "the control nobody is none" in said
    assert (
        "There is no experiment 'missing'. The shop's experiments are: homepage"
        in asked("experiment", "memo", "missing")[1]
    )


def test_all_is_well_where_each_file_can_be_used(folder: Path) -> None:
    (folder / "bad.yaml").unlink()
    assert asked("experiment", "check") == (0, "✓ homepage")
