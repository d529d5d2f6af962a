"""The running service against its own OpenAPI document: every operation, with what it allows and what it forbids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cartograph.settings import Settings
from tests.api.everything import KNOWN, publish_everything
from tests.api.making import service
from tests.support.contract import hold


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = Settings(home=tmp_path_factory.mktemp("everything"))
    publish_everything(settings)
    with service(settings) as found:
        yield found


def test_answers_are_as_documented_whatever_is_asked(client: httpx.Client, tmp_path: Path) -> None:
    held = hold(client, tmp_path, KNOWN, examples=10)
    assert held.failures == 0, held.log
    assert held.cases >= 500
