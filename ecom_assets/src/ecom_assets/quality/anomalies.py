"""What is unusual in a dataset's daily figures: pure functions of arrays.

Volumes: residuals from the median of the same weekday, on the square-root scale on which counts have a variance of one
(Anscombe 1948), over a robust scale (Rousseeuw & Croux 1993, the median absolute deviation). Distributions: the
population stability index, with what chance alone gives taken off (Yurdakul 2018, "Statistical properties of the
population stability index": its expectation is (bins - 1)(1/n + 1/m)).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ecom_assets.quality.policy import DatasetPolicy, MixPolicy, NullPolicy, ValuesPolicy, VolumePolicy
from ecom_assets.quality.profile import FEWEST_SIZES, Floats, Ints, Mix, Profile
from ecom_assets.sql import identifier, literal

_Number = TypeVar("_Number", np.int64, np.float64)
LEVEL_DAYS = 14
NOISE_DAYS = 56
"""Days of which the noise is known."""
ENOUGH_DAYS = 14
_LEAST = 0.02
"""The least scale of logarithms: what hardly ever moves may move by 2 %."""
_NO_HONEST_RISE = 0.9
"""Where numbers hardly ever were 0, and now are, it is no sale: the source has lost them."""
_MAD = 1.4826
_TAIL, _TAIL_Z = 0.98, 2.326
"""A quantile of the residuals and that of a normal distribution: bursts that recur widen the scale."""


class Anomaly(NamedTuple):
    """A day on which something is unusual: which figure, what it is, and the SQL condition of the rows that stand out.

    `is_extreme` where no honest change explains it.
    """

    day: date
    figure: str
    found: str
    expected: str
    condition: str
    is_extreme: bool = False


def unusual_volumes(profile: Profile, looked_at: range, policy: VolumePolicy) -> list[Anomaly]:
    """The days at the positions `looked_at` with far fewer or more rows than the same weekday had before.

    And those of which many rows are there twice, under keys of their own: no honest day is.
    """
    base_rows = _before(profile.rows, LEVEL_DAYS)
    with _nothing_is_nan():
        copied = profile.copies / profile.rows - _before(profile.copies, LEVEL_DAYS) / base_rows
        expected, z = _volume_scores(profile.rows, policy)
        far = np.abs(profile.rows - expected) >= policy.rows
        low = far & (z <= -policy.z) & (profile.rows <= policy.drop_to * expected)
        high = far & (z >= policy.z) & (profile.rows >= policy.rise_to * expected)
    days = [t for t in looked_at if profile.day(t) not in policy.excused]
    return [
        Anomaly(profile.day(t), "rows", f"{profile.rows[t]:,}", f"about {expected[t]:,.0f}", "true")
        for t in days
        if low[t] or high[t]
    ] + [
        Anomaly(
            profile.day(t),
            "rows that equal another but for their key",
            f"{profile.copies[t]:,} of {profile.rows[t]:,}",
            f"at most {policy.copied_pct:g} % more than in the days before",
            "true",
            is_extreme=True,
        )
        for t in days
        if profile.copies[t] >= policy.rows and copied[t] >= policy.copied_pct / 100
    ]


def unusual_nulls(profile: Profile, looked_at: range, policy: NullPolicy) -> list[Anomaly]:
    """The days and columns with a share of empty values far from that of the weeks before.

    Where a day has few rows, those of the days before are looked at with them.
    """
    found: list[Anomaly] = []
    with _nothing_is_nan():
        for column, nulls in profile.nulls.items():
            if column not in policy.ignored:
                told = f"rows without {column}", f'"{column}" IS NULL', f'"{column}" IS NOT NULL'
                found += (each.anomaly for each in _unusual_shares(profile, nulls, looked_at, policy, *told))
    return found


def unusual_values(profile: Profile, looked_at: range, policy: ValuesPolicy) -> list[Anomaly]:
    """The days and columns whose values are larger, smaller or mixed unlike in the weeks before.

    Where a day has few rows or numbers, those of the days before are looked at with them; not for the mix of a column.
    """
    sized = [t for t in looked_at if profile.rows[t] and profile.day(t) not in policy.excused]
    found: list[Anomaly] = []
    with _nothing_is_nan():
        for column, sizes in profile.sizes.items():
            if column not in policy.ignored:
                found += _unusual_sizes(profile, column, sizes, sized, policy)
        for column, mix in profile.mixes.items():
            if column not in policy.ignored:
                found += _unusual_mixes(profile, column, mix, looked_at, policy)
        for column in profile.sizes:
            if column not in policy.ignored:
                told = f"rows with a {column} of 0", f'"{column}" = 0', f'"{column}" <> 0'
                found += (
                    each.anomaly._replace(is_extreme=each.rise >= _NO_HONEST_RISE)
                    for each in _unusual_shares(profile, profile.zeros(column), looked_at, policy, *told)
                )
        for (column, value), rows in profile.rare.items():
            if column not in policy.ignored:
                is_rare = f"{identifier(column)} = {literal(value)}"
                told = f"rows with {column} {value}", is_rare, f"NOT ({is_rare})"
                shares = _unusual_shares(profile, rows, looked_at, policy, *told)
                found += (each.anomaly for each in shares if each.rise > 0)
    return found


class _Share(NamedTuple):
    """An unusual share of a day's rows, and how far it is above what is usual, -1 to 1."""

    anomaly: Anomaly
    rise: float


def _unusual_shares(
    profile: Profile,
    counts: Ints,
    looked_at: range,
    policy: NullPolicy | ValuesPolicy,
    figure: str,
    counted: str,
    others: str,
) -> Iterator[_Share]:
    """The days on which the rows `counted` make up another share than in the weeks before.

    Of a day with few rows both its own share and that of the pool must; so a day after it is not told of it.
    """
    since, is_enough = _pools(profile.rows, policy.fewest_rows, policy.base_days)
    pool = _from(since, profile.rows)
    base_rows = _before(profile.rows, policy.base_days)[since]
    usual = _before(counts, policy.base_days)[since] / base_rows
    jump = np.where(is_enough, _from(since, counts) / pool - usual, np.nan)
    own = counts / profile.rows - usual
    noise = np.sqrt(np.fmax(usual * (1 - usual), 1 / base_rows) * (1 / pool + 1 / base_rows))
    # Rows that belong together, as the events of a visit do, vary more than chance has it for single ones.
    limit = np.maximum(policy.points / 100, policy.z * np.maximum(noise, _scale(jump)[since]))
    low, high = 100 * np.maximum(usual - limit, 0), 100 * np.minimum(usual + limit, 1)
    for t in _comparable(profile, since, looked_at, policy):
        if min(jump[t], own[t]) >= limit[t] or max(jump[t], own[t]) <= -limit[t]:
            found = f"{100 * (usual[t] + jump[t]):.1f} %"
            expected = f"about {100 * usual[t]:.1f} % ({low[t]:.1f} to {high[t]:.1f} %)"
            rows = counted if jump[t] > 0 else others
            of = f" of the last {pool[t]} rows" if pool[t] > profile.rows[t] else ""
            yield _Share(Anomaly(profile.day(t), f"{figure}{of}", found, expected, rows), float(jump[t]))


def _unusual_sizes(
    profile: Profile, column: str, sizes: Floats, days: Sequence[int], policy: ValuesPolicy
) -> Iterator[Anomaly]:
    counts = profile.numbers[column]
    since, pool, mean, spread = _pooled(counts, sizes, policy.base_days)
    usual_mean, usual_spread = (_usual(each, policy.base_days)[since] for each in (mean, spread))
    moved, widened = mean - usual_mean, np.log(np.maximum(spread, _LEAST) / np.maximum(usual_spread, _LEAST))
    # Pools of a few days share most of their rows, so their past shows less noise than the mean's standard error.
    error = np.where(pool < policy.fewest_rows, usual_spread / np.sqrt(pool), 0)
    most_moved, most_widened = (policy.z * np.maximum(_scale(off)[since], _LEAST) for off in (moved, widened))
    most_moved = np.maximum(most_moved, policy.z * error)
    begun = int(np.flatnonzero(counts)[0]) if counts.any() else len(counts)
    for t in (t for t in days if counts[t] and t - begun >= policy.base_days):
        is_few = pool[t] < policy.fewest_rows
        ratio = max(policy.ratio, policy.few_ratio) if is_few else policy.ratio
        if abs(moved[t]) >= (limit := max(most_moved[t], np.log(ratio))):
            figure, found, usual, factor = "geometric mean", np.exp(mean[t]), np.exp(usual_mean[t]), np.exp(limit)
        elif not is_few and abs(widened[t]) >= (limit := max(most_widened[t], np.log(policy.spread))):
            figure, found, usual = "standard deviation of the logarithm", spread[t], usual_spread[t]
            factor = np.exp(limit)
        else:
            continue
        edge = np.exp(usual_mean[t] + np.sign(moved[t]) * usual_spread[t])
        yield Anomaly(
            profile.day(t),
            f"{figure} of {column}{f' of the last {pool[t]} rows' if pool[t] > counts[t] else ''}",
            f"{found:,.2f}",
            f"about {usual:,.2f} ({usual / factor:,.2f} to {usual * factor:,.2f})",
            f'abs("{column}") {">" if moved[t] > 0 else "<"} {edge:.6g}',
            is_extreme=bool(abs(moved[t]) >= max(most_moved[t], np.log(policy.blocking_ratio))),
        )


def _pooled(counts: Ints, sizes: Floats, base_days: int) -> tuple[Ints, Ints, Floats, Floats]:
    """Of each day's numbers, with those of as many days before as make FEWEST_SIZES: since when, how many, mean,
    deviation. NaN where the `base_days` have fewer."""
    since, is_enough = _pools(counts, FEWEST_SIZES, base_days)
    mean, spread = np.nan_to_num(sizes).T
    number, total, squares = (_from(since, counts * each) for each in (1, mean, spread**2 + mean**2))
    pooled = np.where(is_enough, total / number, np.nan)
    return since, number, pooled, np.sqrt(np.maximum(squares / number - pooled**2, 0))


def _pools(counts: Ints, fewest: int, base_days: int) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """The latest day since when each day has `fewest` with those before it, and whether that is within `base_days`."""
    total = np.concatenate([[0], np.cumsum(counts)])
    ends = np.arange(1, len(counts) + 1)
    starts = np.searchsorted(total, total[ends] - fewest, side="right") - 1
    return np.maximum(starts, 0), (starts >= 0) & (ends - starts <= base_days)


def _from(since: Ints, values: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
    """The sum of `values` from the day `since` to each."""
    total = np.concatenate([np.zeros(1, values.dtype), np.cumsum(values, dtype=values.dtype)])
    summed: npt.NDArray[_Number] = total[1:] - total[since]
    return summed


def _unusual_mixes(
    profile: Profile, column: str, mix: Mix, looked_at: range, policy: ValuesPolicy
) -> Iterator[Anomaly]:
    base = _before(mix.counts, policy.base_days)
    index = stability_index(mix.counts, base)
    highest = np.nan_to_num(np.nanmax(_lags(index, NOISE_DAYS), axis=0))
    for t in _comparable(profile, np.arange(len(profile.rows)), looked_at, policy):
        if profile.rows[t] >= policy.fewest_rows and index[t] >= (limit := max(policy.psi, 2 * highest[t])):
            excess = mix.counts[t] / mix.counts[t].sum() - base[t] / base[t].sum()
            told = f"change in the mix of {column}", f"{index[t]:.2f}", f"at most {limit:.2f} (stability index)"
            yield Anomaly(profile.day(t), *told, mix.conditions[int(excess.argmax())])


def days_before(policy: DatasetPolicy) -> int:
    """How many days before those that are looked at the checks take in."""
    return max(NOISE_DAYS, 7 * policy.volume_is_usual.weeks) + LEVEL_DAYS


def fewest_days(policy: DatasetPolicy) -> int:
    """With fewer days of history no day can be compared in all ways."""
    daily = (policy.nulls_are_usual.base_days, policy.values_are_usual.base_days)
    return max(7 * policy.volume_is_usual.fewest_weeks, *daily) + ENOUGH_DAYS


def days_of_history(profile: Profile, looked_at: range) -> int:
    """How many days the last of the days `looked_at` lies after the first with a row; 0 where there is none."""
    begun = np.flatnonzero(profile.rows)
    return max(0, looked_at.stop - 1 - int(begun[0])) if len(begun) else 0


def stale_days(profile: Profile) -> tuple[int, float | None]:
    """Days at the end without a row, and the source's rhythm: the days that mostly lie between two with rows (95 %).

    A source without any row is as stale as there are days, and one with rows on a single day has no rhythm yet: it may
    be a catalogue, which comes whole.
    """
    with_rows = np.flatnonzero(profile.rows)
    if not len(with_rows):
        return len(profile.rows), 1.0
    stale, gaps = int(len(profile.rows) - 1 - with_rows[-1]), np.diff(with_rows)
    return stale, float(max(np.percentile(gaps, 95), 1)) if len(gaps) else None


def stability_index(counts: Ints, base: Ints) -> Floats:
    """The population stability index of (days, bins) against as many bases, less what chance gives; NaN of nothing."""
    bins = counts.shape[1]
    n, m = counts.sum(axis=1), base.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = (counts + 0.5) / (n + 0.5 * bins)[:, None]
        q = (base + 0.5) / (m + 0.5 * bins)[:, None]
        index: Floats = ((p - q) * np.log(p / q)).sum(axis=1) - (bins - 1) * (1 / n + 1 / m)
    return index


def _volume_scores(rows: Ints, policy: VolumePolicy) -> tuple[Floats, Floats]:
    """What is expected of each day, and how many robust standard deviations it is off; NaN without history."""
    y = 2 * np.sqrt(rows + 0.375)
    begun = np.flatnonzero(rows)
    y[: begun[0] if len(begun) else len(y)] = np.nan
    weekdays = np.stack([_shifted(y, 7 * week) for week in range(1, policy.weeks + 1)])
    typical = np.nanmedian(weekdays, axis=0)
    typical[np.isfinite(weekdays).sum(axis=0) < policy.fewest_weeks] = np.nan
    residual = y - typical
    level = np.nan_to_num(np.nanmedian(_lags(residual, LEVEL_DAYS), axis=0))
    off = residual - level
    expected = np.maximum((np.maximum(typical + level, 0) / 2) ** 2 - 0.375, 0)
    return expected, off / np.maximum(_scale(off), 1.0)


def _usual(values: Floats, base_days: int) -> Floats:
    """The median of the `base_days` values before each; NaN where fewer than ENOUGH_DAYS are there."""
    earlier = _lags(values, base_days)
    usual: Floats = np.nanmedian(earlier, axis=0)
    usual[np.isfinite(earlier).sum(axis=0) < ENOUGH_DAYS] = np.nan
    return usual


def _scale(off: Floats) -> Floats:
    """The robust scale of the NOISE_DAYS values before each; NaN where there are fewer than ENOUGH_DAYS."""
    earlier = np.sort(np.abs(_lags(off, NOISE_DAYS)), axis=0)  # NaN last
    there = np.isfinite(earlier).sum(axis=0)

    def part(share: float) -> Floats:
        rank = np.floor(share * np.maximum(there - 1, 0)).astype(np.int64)
        found: Floats = np.nan_to_num(np.take_along_axis(earlier, rank[None], axis=0)[0])
        return found

    scale: Floats = np.fmax(_MAD * part(0.5), part(_TAIL) / _TAIL_Z)
    scale[there < ENOUGH_DAYS] = np.nan
    return scale


@contextmanager
def _nothing_is_nan() -> Iterator[None]:
    """Figures of nothing are NaN, without a word: no comparison with it holds."""
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def _comparable(profile: Profile, since: Ints, looked_at: range, policy: MixPolicy) -> Iterator[int]:
    """The days that have rows, and enough before the day `since` when they are looked at."""
    begun = np.flatnonzero(profile.rows)
    base_rows = _before(profile.rows, policy.base_days)
    for t in looked_at:
        first = int(since[t])
        enough = len(begun) and first - begun[0] >= policy.base_days and base_rows[first] >= policy.base_rows
        if enough and profile.rows[t] and profile.day(t) not in policy.excused:
            yield t


def _before(counts: Ints, base_days: int) -> Ints:
    """The sum over the `base_days` days before each day."""
    total = np.concatenate([np.zeros((1, *counts.shape[1:]), counts.dtype), np.cumsum(counts, axis=0)])
    ends = np.arange(len(counts))
    summed: Ints = total[ends] - total[np.maximum(ends - base_days, 0)]
    return summed


def _shifted(values: Floats, days: int) -> Floats:
    """`values` of so many days before; NaN before the first."""
    shifted = np.full(len(values), np.nan)
    shifted[days:] = values[: len(values) - days]
    return shifted


def _lags(values: Floats, days: int) -> Floats:
    """The values of each of the `days` days before: (days, len(values))."""
    return np.stack([_shifted(values, lag) for lag in range(1, days + 1)])
