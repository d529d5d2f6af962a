"""Small releases for the tests of the store: one text file is enough of a content."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from cartograph.releases import Manifest, ReleaseInputs, ReleaseStore

MOMENT = datetime(2026, 1, 5, 6, 30, tzinfo=UTC)


def make_inputs(**changes: Any) -> ReleaseInputs:
    defaults: dict[str, Any] = {
        "as_of": date(2026, 1, 1),
        "window": (datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        "shop": "simulated",
        "snapshots": {"published.fct_orders": 7},
        "models": {"churn_classifier": "1"},
        "git_commit": "0" * 40,
        "checks": (),
    }
    return ReleaseInputs(**{**defaults, **changes})


def publish(store: ReleaseStore, text: str, *, day: int = 0, **inputs: Any) -> Manifest:
    """Release `text` (two files); `day` moves the time of its making."""
    with store.creating(make_inputs(**inputs), created_at=MOMENT + timedelta(days=day)) as draft:
        write_files(draft.path, text)
    return draft.manifest


def write_files(folder: Path, text: str) -> None:
    (folder / "models").mkdir(exist_ok=True)
    (folder / "answer.txt").write_text(text)
    (folder / "models" / "model.bin").write_bytes(text.encode() * 1000)
