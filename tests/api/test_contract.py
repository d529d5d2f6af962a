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
from tests.support.contract import hold


@pytest.fixture(scope="module", params=["open", "guarded"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service that asks nobody for a key, and one that does, with a key that may do everything."""
    is_guarded = request.param == "guarded"
    settings = Settings(home=tmp_path_factory.mktemp("everything"), env="production" if is_guarded else "local")
    publish_everything(settings)
    with service(settings) as found:
        if is_guarded:
            store = KeyStore(settings.keys_path)
            _, sent = store.create("contract", SCOPES, now=datetime.now(UTC), days=1, rate="1000000/minute")
            found.headers["X-API-Key"] = sent
        yield found


def test_answers_are_as_documented_whatever_is_asked(client: httpx.Client, tmp_path: Path) -> None:
    held = hold(client, tmp_path, KNOWN, examples=10)
    assert held.failures == 0, held.log
    assert held.cases >= 500
