"""One small shop, run once for all tests that only look at the result."""

from __future__ import annotations

import pytest

from tests.support.whole_run import Bench


@pytest.fixture(scope="session")
def small_shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, str]:
    """A bench on which `cartograph run` succeeded, and what it printed."""
    bench = Bench.with_small_shop(tmp_path_factory.mktemp("small_shop"))
    return bench, bench.cartograph("run")
