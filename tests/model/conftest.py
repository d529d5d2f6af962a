"""One planted shop for all tests of model quality: what is trained on it is read only."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from tests.model.planted import Planted, planted_shop


@pytest.fixture(scope="session")
def shop() -> Planted:
    return planted_shop()


@pytest.fixture(scope="session")
def marts(shop: Planted, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return shop.write(tmp_path_factory.mktemp("marts"))


@pytest.fixture(scope="session")
def con() -> Any:
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET TimeZone = 'UTC'")
    return connection
