from pathlib import Path

import pytest

from cartograph.lake import Lake
from tests.unit.lake.making import make_lake


@pytest.fixture(scope="module")
def shared_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(tmp_path_factory.mktemp("lake"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return make_lake(tmp_path)
