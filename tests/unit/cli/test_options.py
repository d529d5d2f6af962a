"""What options take beside what Typer checks, and that what somebody wrote is printed as it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from rich.console import Console

from cartograph.cli.app import app
from cartograph.cli.console import names_and_numbers
from cartograph.cli.options import finite, written


def float_options(command: click.Command, name: str) -> Iterator[tuple[str, click.Command, click.Parameter]]:
    """Every option of a fraction, of a command and of those below it."""
    for below in getattr(command, "commands", {}).values():
        yield from float_options(below, f"{name} {below.name}")
    for option in command.params:
        if option.type.name.startswith("float"):
            yield f"{name} {option.opts[0]}", command, option


def test_no_option_takes_what_is_no_number() -> None:
    found = list(float_options(typer.main.get_command(app), "cartograph"))
    assert len(found) > 8
    for name, command, option in found:
        for value in ("nan", "inf", "-inf"):
            with click.Context(command) as context, pytest.raises(typer.BadParameter):
                option.process_value(context, value)
            assert option.callback is not None, name


def test_finite_numbers_and_none_are_taken() -> None:
    assert (finite(0.5), finite(None)) == (0.5, None)
    with pytest.raises(typer.BadParameter):
        finite(math.nan)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(typer.BadParameter, match=r"file cannot be written: .*Name another place"),
        written(tmp_path / "file"),
    ):
        (tmp_path / "file" / "below").mkdir(parents=True)


def test_a_cell_is_no_markup() -> None:
    table, console = names_and_numbers("reason"), Console(width=80, record=True)
    table.add_row("[/x] closes nothing, and [red]this[/] is not red")
    console.print(table)
    assert "[/x] closes nothing, and [red]this[/] is not red" in console.export_text()
