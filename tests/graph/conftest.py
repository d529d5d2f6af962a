"""What tests of sensors share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cartograph.settings import Settings, get_settings


@pytest.fixture
def sensor_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The settings of a home of the test's own, for what reads them itself."""
    monkeypatch.setenv("CARTOGRAPH_HOME", str(tmp_path))
    get_settings.cache_clear()
    yield get_settings()
    get_settings.cache_clear()
