"""What holds for all tests: settings and state of the person who runs them are out of reach."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

DATA_VARIABLES = ("CARTOGRAPH_ONLINE_RETAIL_FILES",)
"""Where real data is; a test that needs it skips without it."""

for name in [name for name in os.environ if name.startswith("CARTOGRAPH_") and name not in DATA_VARIABLES]:
    del os.environ[name]
os.environ["CARTOGRAPH_HOME"] = tempfile.mkdtemp(prefix="cartograph-tests-")
atexit.register(shutil.rmtree, os.environ["CARTOGRAPH_HOME"], ignore_errors=True)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # as every process that runs assets has it
