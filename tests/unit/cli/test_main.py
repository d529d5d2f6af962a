"""The script `cartograph` ends as a shell expects it, also where it is interrupted before any command has begun."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import NoReturn

import pytest

from cartograph.cli import EXIT_INTERRUPTED, main


class Interrupted(ModuleType):
    """A module during whose import somebody pressed Ctrl-C."""

    def __getattr__(self, name: str) -> NoReturn:
        raise KeyboardInterrupt


def test_an_interrupted_import_ends_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cartograph.cli.app", Interrupted("cartograph.cli.app"))
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == EXIT_INTERRUPTED
