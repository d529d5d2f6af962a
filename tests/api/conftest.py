from collections.abc import Iterator

import httpx
import pytest

from cartograph.releases import Manifest
from cartograph.settings import Settings
from tests.api.making import make_customers, make_effect, publish, service


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def manifest(settings: Settings) -> Manifest:
    effects = (make_effect(), make_effect(question="email_vip", verdict="not identified", estimate=None))
    return publish(settings, customers=make_customers([f"C{n:04d}" for n in range(1000)]), effects=effects)


@pytest.fixture(scope="session")
def client(settings: Settings, manifest: Manifest) -> Iterator[httpx.Client]:
    """A running service of `manifest`, which no test changes."""
    assert manifest.release_id
    with service(settings) as client:
        yield client
