"""What the promotion log says: where a rollback leads, and which versions no training puts back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ml_assets.core.registry import Decision, reigns, withdrawn


def log(*entries: tuple[str, str | None, str]) -> list[Decision]:
    """Decisions of `(version, previous, who)`; who is gate, ada, or ada's rollback."""
    return [
        Decision(
            action="rolled back" if who == "back" else "promoted",
            version=version,
            previous=previous,
            by=who,
            at=datetime(2026, 1, 1 + day, tzinfo=UTC),
            reason="for a test",
            is_gate=who == "gate",
        )
        for day, (version, previous, who) in enumerate(entries)
    ]


@pytest.mark.parametrize(
    ("entries", "champions", "not_put_back"),
    [
        ([], [], set()),
        ([("1", None, "gate")], ["1"], set()),
        ([("2", "1", "gate")], ["1", "2"], set()),  # version 1 is of an older Cartograph, which kept no log
        ([("1", None, "gate"), ("2", "1", "gate"), ("1", "2", "back")], ["1"], {"2"}),
        ([("1", None, "gate"), ("2", "1", "gate"), ("1", "2", "back"), ("3", "1", "gate")], ["1", "3"], {"2"}),
        ([("1", None, "gate"), ("2", "1", "ada")], ["1", "2"], {"1"}),
        ([("1", None, "gate"), ("2", "1", "gate"), ("1", "2", "back"), ("2", "1", "ada")], ["1", "2"], {"1"}),
        (
            [("1", None, "gate"), ("2", "1", "gate"), ("3", "2", "gate"), ("2", "3", "back"), ("1", "2", "back")],
            ["1"],
            {"2", "3"},
        ),
    ],
)
def test_the_log_tells_where_a_rollback_leads_and_what_a_person_has_replaced(entries, champions, not_put_back):
    decisions = log(*entries)
    assert reigns(decisions) == champions
    assert withdrawn(decisions) == not_put_back
