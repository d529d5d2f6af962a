"""The files in which a shop declares its causal questions, experiments and models: how their state is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import typer
from rich.markup import escape

from cartograph.cli.console import output, say_error
from cartograph.cli.run import EXIT_FAILED


class Declared(NamedTuple):
    """A file by its name, what is wrong with it, and what the shop lacks for it; empty where nothing."""

    name: str
    problem: str = ""
    lacking: str = ""


def tell(files: Iterable[Declared]) -> None:
    """Print a line for each file; ends the command where one of them cannot be used."""
    problems = 0
    for name, problem, lacking in files:
        problems += bool(problem)
        if problem:
            output.print(f"[red]✗[/] {escape(problem)}")
        elif lacking:
            output.print(f"[yellow]–[/] {name}: {escape(lacking)}")
        else:
            output.print(f"[green]✓[/] {name}")
    if problems:
        raise typer.Exit(EXIT_FAILED)


def require(name: str, files: Iterable[Declared], noun: str) -> None:
    """End the command where `name` is none of the files that can be used; `noun` is what such a file declares."""
    found = {file.name: file for file in files}
    if name in found and (reason := found[name].problem or found[name].lacking):
        say_error(f"The {noun} {name!r} cannot be used.", reason)
    elif name not in found:
        usable = [file.name for file in found.values() if not file.problem and not file.lacking]
        say_error(f"There is no {noun} {name!r}.", f"The shop's {noun}s are: {', '.join(usable) or 'none'}.")
    else:
        return
    raise typer.Exit(EXIT_FAILED)
