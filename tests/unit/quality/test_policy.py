"""A shop's file sets severities and thresholds, for all datasets or one, and is told its mistakes."""

from __future__ import annotations

from collections import Counter
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from ecom_assets.contracts.validation import Counts
from ecom_assets.quality.policy import (
    CHANCE,
    DOCUMENT,
    Breach,
    DatasetPolicy,
    Limit,
    PolicyError,
    dataset_policy,
    document,
    quarantine_limit,
    require_usable,
)
from tests.unit.sources.making import MONTHS

QUALITY = {
    "volume_is_usual": {"severity": "error", "z": 5},
    "datasets": {"orders": {"volume_is_usual": {"z": 6}, "few_rows_repeat": {"limit_pct": 10}}},
}


def test_nothing_said_gives_the_defaults() -> None:
    assert dataset_policy({}, "orders") == DatasetPolicy()


def test_what_is_said_of_a_dataset_goes_before_what_is_said_of_all() -> None:
    orders, events = (dataset_policy(QUALITY, name) for name in ("orders", "events"))
    assert (orders.volume_is_usual.severity, orders.volume_is_usual.z) == ("error", 6)
    assert (events.volume_is_usual.severity, events.volume_is_usual.z) == ("error", 5)
    assert orders.few_rows_repeat.limit_pct == 10
    assert events.few_rows_repeat == DatasetPolicy().few_rows_repeat


def test_a_dataset_may_have_its_own_limit_of_quarantined_rows() -> None:
    quality = {"datasets": {"orders": {"quarantine_within_limit": {"limit_pct": 12.5}}}}
    assert str(quarantine_limit(quality, 5, "orders")) == "quarantine_within_limit in the shop's file allows 12.5"
    assert str(quarantine_limit(quality, 5, "events")) == "CARTOGRAPH_QUARANTINE_LIMIT_PCT allows 5"


def breached(limit: Limit, *broken: tuple[int, int]) -> Breach | None:
    """The breach in the first months of 2024, of which so many of so many rows were quarantined."""
    counts = [Counts(of, of - bad, quarantined=Counter(bad=bad)) for bad, of in broken]
    return limit.breach(sum(counts, Counts()), dict(zip(MONTHS, counts, strict=False)))


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ([(6, 100)], "6.0 %"),
        ([(6, 100), (6, 100)], "6.0 %"),
        ([(0, 1200), (47, 234)], "20.1 % in 2024-02-01"),
        ([(0, 1200), (47, 234), (3, 3)], "100.0 % in 2024-03-01"),
        ([(0, 1200), (14, 222)], None),
        ([(0, 1200), (1, 3)], None),
        ([(0, 0), (5, 100)], None),
    ],
)
def test_too_many_broken_rows_are_found_in_all_partitions_together_and_in_each(broken, told) -> None:
    """As a load of that partition alone finds them; of a few rows, or of about as many as the limit, chance may."""
    breach = breached(Limit(5, "a test"), *broken)
    assert (breach and str(breach)) == told


@pytest.mark.parametrize(("pct", "is_broken"), [(0, True), (100, False)])
def test_a_limit_of_nothing_and_of_all(pct: float, is_broken: bool) -> None:
    assert (breached(Limit(pct, "a test"), (0, 1200), (1, 2)) is not None) == is_broken


@given(of=st.integers(1, 300), bad=st.integers(0, 300), pct=st.floats(0.1, 60))
def test_what_is_found_in_one_of_many_partitions_is_beyond_chance(of: int, bad: int, pct: float) -> None:
    bad, limit = min(bad, of), Limit(pct, "a test")
    if breached(limit, (0, 1_000_000), (bad, of)):
        assert binom.sf(bad - 1, of, pct / 100) < CHANCE


@pytest.mark.parametrize(
    ("quality", "told"),
    [
        ({"volume_is_usul": {}}, "volume_is_usul"),
        ({"volume_is_usual": {"severity": "fatal"}}, "volume_is_usual.severity"),
        ({"volume_is_usual": {"drop_to": 2}}, "volume_is_usual.drop_to"),
        ({"volume_is_usual": {"weeks": 3}}, "volume_is_usual: .*fewest_weeks is 4, and only 3 weeks are looked at"),
        ({"nulls_are_usual": {"base_weeks": 1}}, "nulls_are_usual.base_weeks"),
        ({"values_are_usual": {"fewest_rows": 5}}, "values_are_usual.fewest_rows"),
        ({"quarantine_within_limit": {"limit_pct": 101}}, "quarantine_within_limit.limit_pct"),
        ({"volume_is_usual": 5}, "each check takes a mapping"),
        ({"datasets": {"orders": {"nulls_are_usual": {"zz": 1}}}}, "nulls_are_usual.zz"),
    ],
)
def test_a_mistake_is_named_with_what_there_is(quality: dict[str, object], told: str) -> None:
    with pytest.raises(PolicyError, match=told) as caught:
        dataset_policy(quality, "orders")
    assert "Checks: quarantine_within_limit, volume_is_usual" in str(caught.value)


@pytest.mark.parametrize(
    ("quality", "told"),
    [
        ({"datasets": {"order": {}}}, "the shop does not have order. Datasets: events, orders."),
        ({"datasets": {2024: {}, "order": {}}}, "the shop does not have 2024, order"),
        ({"datasets": ["orders"]}, "it takes a mapping"),
        ({"scores_are_high": {"at_least": -1}}, "at_least"),
        ({"scores_are_high": {"grades": {"B": 70}}}, "grades: .*must descend from A to D, and are 99, 70, 90, 80"),
        ({"scores_are_high": 5}, "scores_are_high: Input should be"),
        ({"datasets": {"orders": {"values_are_usual": {"ignored": ["subtotal"]}}}}, "does not have: subtotal"),
        ({"datasets": {"events": {"few_rows_are_late": {"hours": 0}}}}, "few_rows_are_late.hours"),
        ({"few_rows_are_late": {"hours": inf}}, "few_rows_are_late.hours"),
    ],
)
def test_a_shop_is_told_before_anything_is_loaded(quality: dict[str, object], told: str) -> None:
    with pytest.raises(PolicyError, match=told):
        require_usable(quality, {"orders", "events"})


def test_a_shop_that_says_what_there_is_can_be_used() -> None:
    require_usable(QUALITY, {"orders", "events"})


def test_the_page_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "`make docs` writes it"


def test_the_page_names_every_check_and_threshold() -> None:
    for name, field in DatasetPolicy.model_fields.items():
        assert f"## {name}" in document()
        assert all(f"| `{threshold}` |" in document() for threshold in type(field.default).model_fields)
