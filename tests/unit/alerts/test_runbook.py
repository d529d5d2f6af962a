"""Where messages say what to do: a place in the repository, or an address."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cartograph.alerts.runbook import section
from cartograph.settings import get_settings
from cartograph.trust.evidence import evidence
from tests.unit.alerts.making import make_message


@pytest.fixture(autouse=True)
def settings_anew() -> Iterator[None]:
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def test_without_an_address_the_place_in_the_repository_is_named() -> None:
    assert section("run") == "docs/runbook.md#run"
    assert section("unique_orders") == "docs/runbook.md#a-test-of-the-warehouse"
    assert make_message(name="test").body.endswith("what to do: docs/runbook.md#test in the repository of Cartograph")


def test_with_an_address_messages_and_checks_link_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTOGRAPH_DOCS_URL", "https://git.example.com/docs/")
    assert make_message(name="run").body.endswith("what to do: https://git.example.com/docs/runbook.md#run")
    told = evidence("run", expected="", found="")["runbook"]
    assert (type(told).__name__, told.value) == ("UrlMetadataValue", "https://git.example.com/docs/runbook.md#run")
