"""A run on a disk that is really full, a small tmpfs: it is told, nothing is lost, and with room the next goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.whole_run import TIMEOUT_SECONDS, Bench

ALONE = ["unshare", "--user", "--map-root-user", "--mount", "--fork", "--kill-child", "sh", "-euc"]
MOUNTED = 'mount -t tmpfs -o size=64m tmpfs "$CARTOGRAPH_HOME"\n'
STEPS = """
step() {
    name=$1; shift
    status=0; "$PYTHON" -c 'from cartograph.cli import main; main()' "$@" > "$name.txt" 2>&1 || status=$?
    echo $status > "$name.status"
}
step run run --select 'group:"raw"'
step before lake tables
left=$(df --output=avail -k "$CARTOGRAPH_HOME" | tail -1)
dd if=/dev/zero of="$CARTOGRAPH_HOME/ballast" bs=1k count=$((left - 300)) 2> dd.txt
step full run --select 'group:"raw"'
step status status
rm "$CARTOGRAPH_HOME/ballast"
step between lake tables
step again run --select 'group:"raw"'
step after lake tables
"""


def test_a_run_on_a_full_disk_says_so_and_loses_nothing(tmp_path: Path) -> None:
    bench = Bench.with_corner_shop(tmp_path)
    (tmp_path / "home").mkdir()
    environment = {**bench.environment, "PYTHON": sys.executable}
    if subprocess.run([*ALONE, MOUNTED], env=environment, capture_output=True, check=False).returncode != 0:
        pytest.skip("a user may mount nothing here, not even in a namespace of their own")
    subprocess.run([*ALONE, MOUNTED + STEPS], env=environment, cwd=tmp_path, timeout=3 * TIMEOUT_SECONDS, check=True)

    said = {path.stem: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.txt")}
    status = {path.stem: int(path.read_text(encoding="utf-8")) for path in tmp_path.glob("*.status")}
    assert {name for name, code in status.items() if code == 0} >= {"run", "before", "between", "again", "after"}, said
    assert status["full"] != 0
    for step in ("full", "status"):
        assert "Traceback" not in said[step]
        assert "Move that folder away" not in said[step]
    assert f"The disk of {tmp_path}/home/corner_shop is full" in said["full"]
    assert "Make room" in said["full"]
    rows = {step: rows_of(said[step]) for step in ("before", "between", "after")}
    assert len(rows["before"]) >= 4
    assert rows["before"] == rows["between"] == rows["after"]


def rows_of(printed: str) -> dict[str, str]:
    """Of `cartograph lake tables`: the rows of each table."""
    cells = [[cell.strip() for cell in line.split("│")] for line in printed.splitlines() if line.startswith("│")]
    return {cell[1]: cell[3] for cell in cells}
