"""A day that is unlike those before it is found; what returns, grows slowly or is excused is not."""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecom_assets.quality.anomalies import (
    days_before,
    fewest_days,
    stability_index,
    stale_days,
    unusual_nulls,
    unusual_values,
    unusual_volumes,
)
from ecom_assets.quality.policy import DatasetPolicy, NullPolicy, ValuesPolicy, VolumePolicy
from ecom_assets.quality.profile import FEWEST_SIZES, Profile
from tests.unit.quality.making import DAYS, FIRST, figures, steady_rows

ALL = range(DAYS)
STRUCK = 100


@pytest.mark.parametrize("factor", [0, 0.3, 4])
def test_a_day_with_far_fewer_or_more_rows_is_found_and_no_other(factor: float) -> None:
    rows = steady_rows()
    rows[STRUCK] = factor * rows[STRUCK]
    (found,) = unusual_volumes(figures(rows), ALL, VolumePolicy())
    assert found.day == FIRST + timedelta(days=STRUCK)
    assert (found.figure, found.found) == ("rows", f"{rows[STRUCK]:,}")
    assert "about" in found.expected


def test_a_weekend_is_compared_with_weekends() -> None:
    rows = steady_rows()
    saturday = 7 * 14 + 5
    rows[saturday] = rows[saturday] * 2 // 5  # as many as on a usual Monday
    assert [anomaly.day for anomaly in unusual_volumes(figures(rows), ALL, VolumePolicy())] == [
        FIRST + timedelta(days=saturday)
    ]


@given(st.integers(0, 200), st.integers(40, 400))
def test_a_steady_shop_is_never_unusual(seed: int, per_day: int) -> None:
    assert unusual_volumes(figures(steady_rows(per_day, seed=seed)), ALL, VolumePolicy(z=5)) == []


def test_how_much_history_is_needed_is_said_by_the_policy() -> None:
    rows = steady_rows()
    rows[40] = 0
    young = VolumePolicy(fewest_weeks=3)
    assert [a.day for a in unusual_volumes(figures(rows), ALL, young)] == [FIRST + timedelta(days=40)]
    assert unusual_volumes(figures(rows), ALL, VolumePolicy()) == [], "four weeks and their noise are needed"
    assert fewest_days(DatasetPolicy()) == 42
    assert days_before(DatasetPolicy()) == 70
    longer = DatasetPolicy(volume_is_usual=VolumePolicy(weeks=12, fewest_weeks=10))
    assert (fewest_days(longer), days_before(longer)) == (84, 98)


def test_how_few_rows_a_day_may_have_is_said_by_the_policy() -> None:
    rows = np.full(DAYS, 20)
    nulls = np.zeros(DAYS, np.int64)
    nulls[STRUCK] = 20
    profile = figures(rows, nulls={"coupon_code": nulls})
    (pooled,) = unusual_nulls(profile, ALL, NullPolicy())
    assert (pooled.day, pooled.figure, pooled.found) == (
        FIRST + timedelta(days=STRUCK),
        "rows without coupon_code of the last 40 rows",
        "50.0 %",
    )
    (alone,) = unusual_nulls(profile, ALL, NullPolicy(fewest_rows=15))
    assert (alone.figure, alone.found) == ("rows without coupon_code", "100.0 %")
    assert unusual_nulls(profile, ALL, NullPolicy(fewest_rows=15, base_rows=561)) == []


def test_a_share_that_changes_for_good_is_found_where_a_day_has_few_rows() -> None:
    """A shop of 9 orders a day, all of which are cancelled from one day on."""
    rows = np.full(DAYS, 9)
    cancelled = np.zeros(DAYS, np.int64)
    cancelled[STRUCK:] = 9
    found = unusual_values(figures(rows, rare={("status", "cancelled"): cancelled}), ALL, ValuesPolicy())
    assert found[0].day == FIRST + timedelta(days=STRUCK + 1), "the pool of 30 rows has 18 of them then"
    assert len(found) > 4
    assert unusual_values(figures(rows // 4, rare={("status", "cancelled"): cancelled // 4}), ALL, ValuesPolicy()) == []


def test_a_shop_that_grows_is_not_unusual() -> None:
    grown = (steady_rows() * np.exp(np.arange(DAYS) / 40)).astype(np.int64)
    assert unusual_volumes(figures(grown), ALL, VolumePolicy()) == []


def test_nothing_is_unusual_before_there_is_a_history() -> None:
    rows = steady_rows()
    rows[20] = 0
    assert unusual_volumes(figures(rows), ALL, VolumePolicy()) == []


def test_a_dataset_that_begins_late_has_no_history_before() -> None:
    rows = steady_rows()
    rows[:60] = 0
    assert unusual_volumes(figures(rows), ALL, VolumePolicy()) == []


def test_an_excused_day_and_one_that_is_not_looked_at_are_left_out() -> None:
    rows = steady_rows()
    rows[STRUCK] = 0
    day = FIRST + timedelta(days=STRUCK)
    assert unusual_volumes(figures(rows), ALL, VolumePolicy(excused=(day,))) == []
    assert unusual_volumes(figures(rows), range(STRUCK), VolumePolicy()) == []


def test_a_closed_weekday_stays_usual() -> None:
    rows = steady_rows()
    rows[np.arange(DAYS) % 7 == 6] = 0
    assert unusual_volumes(figures(rows), ALL, VolumePolicy()) == []


def test_a_column_that_goes_empty_is_found() -> None:
    rows = steady_rows(300)
    nulls = np.random.default_rng(2).binomial(rows, 0.1).astype(np.int64)
    nulls[STRUCK] = rows[STRUCK] // 2
    (found,) = unusual_nulls(figures(rows, nulls={"channel": nulls}), ALL, NullPolicy())
    assert found.condition == '"channel" IS NULL'
    assert (found.figure, found.found) == ("rows without channel", "50.0 %")
    assert found.expected.startswith("about 10.")
    assert unusual_nulls(figures(rows, nulls={"channel": nulls}), ALL, NullPolicy(ignored=("channel",))) == []


def test_a_column_that_is_filled_all_at_once_is_found_too() -> None:
    rows = steady_rows(300)
    nulls = rows * 6 // 10
    nulls[STRUCK] = 0
    (found,) = unusual_nulls(figures(rows, nulls={"channel": nulls}), ALL, NullPolicy())
    assert found.condition == '"channel" IS NOT NULL'


def test_a_day_whose_rows_are_there_under_two_keys_is_no_honest_day() -> None:
    rows, copies = steady_rows(), np.zeros(DAYS, np.int64)
    rows[STRUCK] *= 2
    copies[STRUCK] = rows[STRUCK] // 2
    (found,) = unusual_volumes(figures(rows, copies=copies), ALL, VolumePolicy(excused=()))
    assert found.is_extreme
    assert (found.day, found.figure) == (FIRST + timedelta(days=STRUCK), "rows that equal another but for their key")
    assert found.found == f"{rows[STRUCK] // 2:,} of {rows[STRUCK]:,}"
    excused = VolumePolicy(excused=(found.day,))
    assert unusual_volumes(figures(rows, copies=copies), ALL, excused) == []


def test_a_source_whose_rows_often_agree_is_not_held_to_have_none() -> None:
    rows = steady_rows()
    assert unusual_volumes(figures(rows, copies=rows // 2), range(1, DAYS), VolumePolicy()) == []


def test_numbers_that_are_all_lost_block_and_more_zeros_than_usual_are_told() -> None:
    rows = steady_rows(300)
    for zero, extreme in ((1.0, True), (0.6, False), (0.3, None)):
        numbers = rows.copy()
        numbers[STRUCK] = round((1 - zero) * rows[STRUCK])
        profile = dataclasses.replace(figures(rows, sizes={"amount": sizes()}), numbers={"amount": numbers})
        found = [each for each in unusual_values(profile, ALL, ValuesPolicy()) if "of 0" in each.figure]
        assert [(each.day, each.is_extreme) for each in found] == (
            [] if extreme is None else [(FIRST + timedelta(days=STRUCK), extreme)]
        )
        assert all(each.condition == '"amount" = 0' for each in found)
        assert not unusual_values(profile, ALL, ValuesPolicy(ignored=("amount",)))


def test_a_value_that_few_rows_have_is_told_where_many_do_and_not_where_none_do() -> None:
    rows = steady_rows(300)
    cancelled = rows // 2
    cancelled[: STRUCK - 1] = rows[: STRUCK - 1] // 50
    cancelled[STRUCK - 1] = rows[STRUCK - 1]
    cancelled[STRUCK:] = 0
    (found,) = unusual_values(figures(rows, rare={("status", "it's off"): cancelled}), ALL, ValuesPolicy())
    assert found.day == FIRST + timedelta(days=STRUCK - 1)
    assert (found.figure, found.found) == ("rows with status it's off", "100.0 %")
    assert not found.is_extreme
    with duckdb.connect() as connection:
        told = connection.sql(
            f"SELECT status FROM (VALUES ('it''s off'), ('on')) AS t (status) WHERE {found.condition}"
        )
        assert told.fetchall() == [("it's off",)]


def sizes(seed: int = 3) -> np.ndarray:
    draws = np.random.default_rng(seed)
    return np.stack([draws.normal(3, 0.05, DAYS), np.abs(draws.normal(0.7, 0.03, DAYS))], axis=1)


def test_amounts_in_cents_are_found_and_are_no_honest_change() -> None:
    amounts = sizes()
    amounts[STRUCK, 0] += np.log(100)
    (found,) = unusual_values(figures(steady_rows(), sizes={"amount": amounts}), ALL, ValuesPolicy())
    assert found.is_extreme
    assert found.condition.startswith('abs("amount") > ')


def test_amounts_twice_as_large_are_found_and_may_be_honest() -> None:
    amounts = sizes()
    amounts[STRUCK, 0] += np.log(2)
    (found,) = unusual_values(figures(steady_rows(), sizes={"amount": amounts}), ALL, ValuesPolicy())
    assert not found.is_extreme
    assert found.figure == "geometric mean of amount"


@pytest.mark.parametrize("factor", [0.2, 5])
def test_the_told_range_is_the_one_that_would_have_passed(factor: float) -> None:
    amounts = sizes()
    usual = amounts[STRUCK, 0]
    amounts[STRUCK, 0] = usual + np.log(factor)
    (told,) = unusual_values(figures(steady_rows(), sizes={"amount": amounts}), ALL, ValuesPolicy())
    low, high = map(float, re.findall(r"[(](.+) to (.+)[)]", told.expected)[0])
    assert float(told.found) == pytest.approx(np.exp(usual) * factor, abs=0.01)
    assert low < np.exp(usual) < high
    for edge, outside in ((low, -0.02), (high, 0.02)):
        for off, found in ((-outside, 0), (outside, 1)):
            amounts[STRUCK, 0] = np.log(edge + off)
            assert len(unusual_values(figures(steady_rows(), sizes={"amount": amounts}), ALL, ValuesPolicy())) == found


def test_amounts_that_spread_wider_are_found() -> None:
    amounts = sizes()
    amounts[STRUCK, 1] *= 2
    (found,) = unusual_values(figures(steady_rows(), sizes={"amount": amounts}), ALL, ValuesPolicy())
    assert found.figure == "standard deviation of the logarithm of amount"


def small_shop(per_day: float, *, seed: int, factor: float = 1, struck: int = STRUCK) -> Profile:
    """Amounts of a shop of a few orders a day, `factor` times as large from day `struck` on."""
    draws = np.random.default_rng(seed)
    rows = draws.poisson(per_day, DAYS)
    logs = [draws.normal(3, 0.7, n) + (np.log(factor) if day >= struck else 0) for day, n in enumerate(rows)]
    amounts = np.array([(each.mean(), each.std()) if len(each) else (np.nan, np.nan) for each in logs])
    return dataclasses.replace(figures(rows, sizes={"amount": amounts}), numbers={"amount": rows})


@pytest.mark.parametrize("per_day", [1, 2, 5, 12, 25])
@pytest.mark.parametrize("factor", [100, 0.01])
def test_a_shop_of_few_orders_a_day_is_held_back_within_ten_orders_of_a_wrong_unit(
    per_day: float, factor: float
) -> None:
    for seed in range(10):
        profile = small_shop(per_day, seed=seed, factor=factor)
        found = unusual_values(profile, ALL, ValuesPolicy())
        wrong = np.cumsum(np.where(np.arange(DAYS) >= STRUCK, profile.rows, 0))
        tenth = FIRST + timedelta(days=int(np.argmax(wrong >= 10)))
        assert min(anomaly.day for anomaly in found if anomaly.is_extreme) <= tenth
        assert {anomaly.day for anomaly in found} <= {FIRST + timedelta(days=day) for day in range(STRUCK, DAYS)}


@pytest.mark.parametrize(
    ("factor", "told"), [(13, 0), (19.9, 0), (20.1, 1), (100, 1), (1 / 13, 0), (1 / 19.9, 0), (1 / 20.1, 1), (0.01, 1)]
)
def test_of_ten_numbers_only_a_mean_that_is_twenty_times_off_is_told(factor: float, told: int) -> None:
    ten = np.full(DAYS, FEWEST_SIZES)
    amounts = np.tile([3, 0.7], (DAYS, 1))
    amounts[STRUCK, 0] += np.log(factor)
    found = unusual_values(figures(ten, sizes={"amount": amounts}), ALL, ValuesPolicy())
    assert [(anomaly.day, anomaly.is_extreme) for anomaly in found] == [(FIRST + timedelta(days=STRUCK), True)] * told
    assert unusual_values(figures(ten, sizes={"amount": amounts}), ALL, ValuesPolicy(ratio=101)) == []


def test_the_last_rows_of_a_shop_of_few_orders_are_told_as_such() -> None:
    found = unusual_values(small_shop(2, seed=1, factor=100), ALL, ValuesPolicy())
    assert re.fullmatch(r"(geometric mean|standard .*) of amount of the last 1\d rows", found[0].figure)


def test_a_steady_shop_of_few_orders_a_day_is_hardly_ever_unusual() -> None:
    seeds = range(60)
    alarms = [len(unusual_values(small_shop(2, seed=seed), ALL, ValuesPolicy())) > 0 for seed in seeds]
    assert sum(alarms) <= 1


def test_days_without_numbers_are_not_compared() -> None:
    amounts = sizes()
    amounts[::2] = np.nan
    assert unusual_values(figures(steady_rows(), sizes={"amount": amounts}), ALL, ValuesPolicy()) == []


def test_a_category_that_explodes_is_found() -> None:
    rows = steady_rows()
    counts = np.stack([np.zeros(DAYS, np.int64), rows // 2, rows - rows // 2], axis=1)
    counts[STRUCK, 0], counts[STRUCK, 1] = counts[STRUCK, 1], 0
    (found,) = unusual_values(figures(rows, mixes={"device": counts}), ALL, ValuesPolicy())
    assert found.condition == "bin 0"
    assert (found.figure, found.expected) == ("change in the mix of device", "at most 1.00 (stability index)")


def test_what_jumped_as_far_before_is_not_told_again() -> None:
    rows = steady_rows()
    counts = np.stack([np.zeros(DAYS, np.int64), rows // 2, rows - rows // 2], axis=1)
    for day in (STRUCK - 20, STRUCK):
        counts[day, 0], counts[day, 1] = counts[day, 1], 0
    found = unusual_values(figures(rows, mixes={"device": counts}), ALL, ValuesPolicy())
    assert [anomaly.day for anomaly in found] == [FIRST + timedelta(days=STRUCK - 20)]


@given(st.lists(st.integers(0, 500), min_size=2, max_size=8).filter(any))
def test_the_same_mix_is_as_stable_as_can_be(counts: list[int]) -> None:
    there = np.array([counts], np.int64)
    assert stability_index(there, there * 7)[0] <= 0.2


def test_a_source_that_stands_still_is_stale_by_its_own_rhythm() -> None:
    daily, weekly = np.ones(28, np.int64), np.tile([1, 0, 0, 0, 0, 0, 0], 4)
    daily[-5:] = 0
    assert stale_days(figures(daily)) == (5, 1.0)
    assert stale_days(figures(weekly)) == (6, 7.0)
    assert stale_days(figures(np.zeros(28, np.int64))) == (28, 1.0)


def test_a_source_with_rows_on_a_single_day_has_no_rhythm_yet() -> None:
    catalogue = np.zeros(28, np.int64)
    catalogue[3] = 500
    assert stale_days(figures(catalogue)) == (24, None)
