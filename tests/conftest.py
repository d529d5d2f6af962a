"""What holds for all tests: settings and state of whoever runs them are out of reach; one small shop is shared."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

from tests.support.whole_run import Bench

DATA_VARIABLES = ("CARTOGRAPH_ONLINE_RETAIL_FILES",)
"""Where real data is; a test that needs it skips without it."""

for name in [name for name in os.environ if name.startswith("CARTOGRAPH_") and name not in DATA_VARIABLES]:
    del os.environ[name]
os.environ.pop("COLUMNS", None)  # the width of their terminal
os.environ["CARTOGRAPH_HOME"] = tempfile.mkdtemp(prefix="cartograph-tests-")
atexit.register(shutil.rmtree, os.environ["CARTOGRAPH_HOME"], ignore_errors=True)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # as every process that runs assets has it
# no test measures time: a busy machine is no fault; and the same examples every time
settings.register_profile("cartograph", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cartograph")


@pytest.fixture(scope="session")
def small_shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, str]:
    """A bench on which `cartograph run` succeeded, and what it printed; tests only look at it, side by side.

    The processes that share the tests share it: the first to need it runs it, the others wait.
    """
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    printed = shared / "small_shop.txt"
    with (shared / "small_shop.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if printed.exists():
            return Bench.of_small_shop(shared / "small_shop"), printed.read_text(encoding="utf-8")
        bench = Bench.with_small_shop(shared / "small_shop")
        printed.write_text(bench.cartograph("run"), encoding="utf-8")
        return bench, printed.read_text(encoding="utf-8")
