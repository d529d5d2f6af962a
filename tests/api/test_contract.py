"""The running service against its own OpenAPI document: every operation, with what it allows and what it forbids."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from cartograph.keys import SCOPES, KeyStore
from cartograph.settings import Settings
from tests.api.everything import KNOWN, publish_everything
from tests.api.making import service
from tests.support.contract import KEY, hold


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = Settings(home=tmp_path_factory.mktemp("everything"))
    publish_everything(settings)
    with service(settings) as found:
        yield found


@pytest.fixture(scope="module")
def holder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of a service that asks for a key, with one that may do everything."""
    settings = Settings(home=tmp_path_factory.mktemp("guarded"), env="production", api_rate="1000000/minute")
    publish_everything(settings)
    store = KeyStore(settings.keys_path)
    _, sent = store.create("contract", SCOPES, now=datetime.now(UTC), days=1)
    with service(settings) as found:
        found.headers[KEY] = sent
        yield found


def test_answers_are_as_documented_whatever_is_asked(client: httpx.Client, tmp_path: Path) -> None:
    held = hold(client, tmp_path, KNOWN, examples=10)
    assert held.failures == 0, held.log
    assert held.cases >= 500


@pytest.mark.parametrize("by_stranger", [False, True], ids=["with a key", "without one"])
def test_a_key_opens_what_is_documented_and_nothing_else_does(
    holder: httpx.Client, tmp_path: Path, by_stranger: bool
) -> None:
    held = hold(holder, tmp_path, KNOWN, examples=2, by_stranger=by_stranger)
    assert held.failures == 0, held.log
    assert held.cases >= 500
