"""The audit log: appended by many at once, and never written over."""

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from cartograph.audit import acts, done, record

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def test_entries_are_appended_whole_by_many_at_once(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "audit.jsonl"
    assert acts(log) == []
    entries = [done("ada", "keys create", f"key {n}\nwith a line break", NOW, "x" * 200) for n in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda entry: record(log, entry), entries))
    assert sorted(acts(log), key=lambda act: act.target) == sorted(entries, key=lambda act: act.target)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
