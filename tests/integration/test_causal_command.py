"""`cartograph causal estimate` as a user runs it: JSON on one channel, a sentence and a status on the other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pytest

COMMAND = [sys.executable, "-c", "from cartograph.cli import main; main()", "causal", "estimate"]


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    draw = np.random.default_rng(3)
    size = draw.normal(size=800)
    treated = draw.random(800) < 1 / (1 + np.exp(-size))
    rows = pa.table({"size": size, "treated": treated, "gain": 2 * size + 3 * treated + draw.normal(size=800)})
    pc.write_csv(rows, found := tmp_path_factory.mktemp("causal") / "gains.csv")
    return found


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)


def test_an_effect_of_a_file(path):
    found = run("--data", str(path), "--treatment", "treated", "--outcome", "gain", "--confounders", "size")
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert told["verdict"] == "identified"
    assert told["answer"][0]["ci_low"] < 3 < told["answer"][0]["ci_high"] < told["naive"][0]["ci_low"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--treatment", "treat", "--outcome", "gain"), "has no column treat; there are size, treated, gain."),
        (("--treatment", "treated", "--outcome", "gain", "--estimand", "most"), "Invalid value for '--estimand'"),
        (("--treatment", "treated"), "Missing option '--outcome'"),
    ],
)
def test_a_mistake_ends_in_a_sentence_and_a_status(path, arguments, message):
    found = run("--data", str(path), *arguments)
    assert (found.returncode, found.stdout) == (2, "")
    assert message in " ".join(found.stderr.split())
    assert "Traceback" not in found.stderr
