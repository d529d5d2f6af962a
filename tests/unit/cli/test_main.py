"""The script `cartograph` ends as a shell expects it, also where it is interrupted before any command has begun."""

from __future__ import annotations

import signal
import sys
import threading
from types import ModuleType
from typing import NoReturn

import pytest

from cartograph.cli import EXIT_INTERRUPTED, interrupt_again, main
from cartograph.cli.app import EXIT_MISTAKE, require_no_empty
from cartograph.cli.app import main as app_main


class Interrupted(ModuleType):
    """A module during whose import somebody pressed Ctrl-C."""

    def __getattr__(self, name: str) -> NoReturn:
        raise KeyboardInterrupt


def test_an_interrupted_import_ends_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setitem(sys.modules, "cartograph.cli.app", Interrupted("cartograph.cli.app"))
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == EXIT_INTERRUPTED


def test_a_terminated_command_ends_as_an_interrupted_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminated(ModuleType):
        """During whose import `timeout` or `docker stop` ended the command."""

        def __getattr__(self, name: str) -> NoReturn:
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError("it goes on")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setitem(sys.modules, "cartograph.cli.app", Terminated("cartograph.cli.app"))
    try:
        with pytest.raises(SystemExit) as left:
            main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert left.value.code == EXIT_INTERRUPTED


class Freed:
    """Something during whose end a signal, or a mistake, comes."""

    def __init__(self, raised: BaseException) -> None:
        self._raised = raised

    def __del__(self) -> None:
        raise self._raised


def free_and_wait(things: list[Freed]) -> None:
    things.clear()
    threading.Event().wait(60)


def test_an_interrupt_that_comes_while_something_is_freed_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", interrupt_again)
    with pytest.raises(KeyboardInterrupt):
        free_and_wait([Freed(KeyboardInterrupt())])


def test_another_error_that_comes_while_something_is_freed_is_shown_as_ever(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", interrupt_again)
    freed = Freed(ValueError("of no use"))
    del freed
    assert "ValueError: of no use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["release", "rollback", ""], "The argument after cartograph release rollback is empty."),
        (["shops", "check", ""], "The argument after cartograph shops check is empty."),
        (["run", "--shop", ""], "The argument after cartograph run --shop is empty."),
        (["run", "--shop="], "--shop= is empty."),
    ],
)
def test_an_empty_argument_is_not_the_default(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cartograph", *arguments])
    with pytest.raises(SystemExit) as left:
        app_main()
    assert left.value.code == EXIT_MISTAKE
    assert told in " ".join(capsys.readouterr().err.split())


def test_an_empty_argument_of_dbt_is_its_own() -> None:
    require_no_empty(["dbt", "ls", "--vars", ""])
    require_no_empty(["run", "--shop", "simulated"])
