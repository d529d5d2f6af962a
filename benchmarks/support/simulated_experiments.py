"""Simulated experiments whose truth is known, a thousand at once, and what the experiments' core says of them.

Drawn as arrays (runs, units, columns) and judged by the core's own functions. The full table is printed by
`benchmarks/experiments.py`; a small one is a test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_assets.core.experiments.analysis import adjust, compare
from ml_assets.core.experiments.integrity import sample_ratio
from ml_assets.core.experiments.moments import Moments, effects, from_sums
from ml_assets.core.experiments.plan import Correction
from ml_assets.core.experiments.sequential import sequence

Array = npt.NDArray[np.float64]
ALPHA = 0.05
DAYS = 28


class Drawn(NamedTuple):
    """Units: `columns` (runs, units, value, weight and index), `treated` (runs, units), and the true effect."""

    columns: Array
    treated: npt.NDArray[np.bool_]
    effect: float


def spend(draw: np.random.Generator, runs: int, units: int, effect: float = 0.0) -> Drawn:
    """Revenue as shops have it: nine of ten buy nothing, the others a log-normal amount (skewness about 7)."""
    treated = draw.random((runs, units)) < 0.5
    value = (draw.random((runs, units)) < 0.1) * draw.lognormal(3.5, 0.7, (runs, units)) + effect * treated
    return Drawn(_columns(value), treated, effect)


def conversion(draw: np.random.Generator, runs: int, units: int, effect: float = 0.0) -> Drawn:
    """Yes or no, by 5 % of the control."""
    treated = draw.random((runs, units)) < 0.5
    value = (draw.random((runs, units)) < 0.05 + effect * treated).astype(np.float64)
    return Drawn(_columns(value), treated, effect)


def ratio(draw: np.random.Generator, runs: int, units: int, effect: float = 0.0) -> Drawn:
    """Amount per order, of units with one to several orders, whose amounts are alike."""
    treated = draw.random((runs, units)) < 0.5
    orders = 1.0 + draw.poisson(1.5, (runs, units))
    value = orders * (draw.gamma(2.0, 10.0, (runs, units)) + effect * treated)
    return Drawn(_columns(value, orders), treated, effect)


def adjusted(draw: np.random.Generator, runs: int, units: int, effect: float = 0.0, rho: float = 0.7) -> Drawn:
    """A mean with a covariate of the time before, of correlation `rho`."""
    treated = draw.random((runs, units)) < 0.5
    before = draw.normal(size=(runs, units))
    value = rho * before + np.sqrt(1 - rho**2) * draw.normal(size=(runs, units)) + 5.0 + effect * treated
    return Drawn(_columns(value, index=before), treated, effect)


KINDS: Mapping[str, Callable[..., Drawn]] = {
    "skewed revenue": spend,
    "conversion": conversion,
    "ratio": ratio,
    "mean with CUPED": adjusted,
}
EFFECTS = {"skewed revenue": 0.8, "conversion": 0.02, "ratio": 1.5, "mean with CUPED": 0.1}
"""Planted effects by kind, each some standard errors."""


def _columns(value: Array, weight: Array | None = None, index: Array | None = None) -> Array:
    return np.stack(
        [value, np.ones_like(value) if weight is None else weight, np.zeros_like(value) if index is None else index],
        axis=-1,
    )


def by_arm(drawn: Drawn, looks: int) -> tuple[Moments, Moments]:
    """The moments of control and treatment up to each of `looks`, when equally many units come between two."""
    runs, units, wide = drawn.columns.shape
    shape = (runs, looks, units // looks)
    columns = drawn.columns.reshape(*shape, wide)
    found = []
    for inside in (~drawn.treated, drawn.treated):
        mine = columns * inside.reshape(*shape, 1)
        count = inside.reshape(shape).sum(axis=2).cumsum(axis=1).astype(np.float64)
        squares = np.einsum("rlui,rluj->rlij", mine, mine).cumsum(axis=1)
        found.append(from_sums(count, mine.sum(axis=2).cumsum(axis=1), squares))
    return found[0], found[1]


class Fixed(NamedTuple):
    """Of one look at the end: shares of the runs with p < 0.05, and of those whose interval has the truth."""

    significant: float
    covers: float


def fixed(drawn: Drawn) -> Fixed:
    """Judge each run once, at its end, by the function that judges real experiments."""
    control, treated = (Moments(*(part[:, 0] for part in arm)) for arm in by_arm(drawn, 1))
    found = [
        compare(Moments(*(part[run] for part in control)), Moments(*(part[run] for part in treated)), ALPHA)
        for run in range(len(control.size))
    ]
    low = np.array([one.effect_size_ci_lower for one in found])
    high = np.array([one.effect_size_ci_upper for one in found])
    p_values = np.array([one.pvalue for one in found])
    return Fixed(float((p_values < ALPHA).mean()), float(((low <= drawn.effect) & (drawn.effect <= high)).mean()))


class Peeked(NamedTuple):
    """Of a look each day: shares of the runs with a find on any day, always-valid and naive, and of always covering."""

    significant: float
    naive: float
    covers: float


def peeked(drawn: Drawn, looks: int = DAYS) -> Peeked:
    """Judge each run on each day, when units come evenly and are complete."""
    control, treated = by_arm(drawn, looks)
    information = np.broadcast_to(np.arange(1, looks + 1) / looks, control.size.shape)
    return _peeked(control, treated, information, drawn.effect)


def _peeked(control: Moments, treated: Moments, information: Array, effect: float) -> Peeked:
    found = effects(control, treated)
    seen = sequence(found, np.minimum(control.size, treated.size), information, ALPHA)
    holds = np.isnan(seen.low) | ((seen.low <= effect) & (effect <= seen.high))
    naive = (np.abs(found.effect) > 1.96 * found.error) & ~np.isnan(seen.low)
    return Peeked(
        float((seen.p_value[:, -1] < ALPHA).mean()), float(naive.any(axis=1).mean()), float(holds.all(axis=1).mean())
    )


def growing(draw: np.random.Generator, runs: int, units: int, days: int = 60) -> Peeked:
    """A/A on customers who enter within four days and go on buying: their orders so far are looked at each day."""
    treated = draw.random((runs, units)) < 0.5
    rate = draw.gamma(0.8, 0.02, (runs, units))
    enters = draw.integers(0, 4, units)
    orders = np.zeros((runs, units))
    parts: list[list[tuple[Array, Array, Array]]] = [[], []]
    for day in range(days):
        orders += draw.poisson(rate) * (enters <= day)
        inside = enters <= day
        for place, arm in enumerate((~treated, treated)):
            columns = _columns(orders) * (arm & inside)[..., None]
            squares = np.einsum("rui,ruj->rij", columns, columns)
            parts[place].append(((arm & inside).sum(axis=1).astype(np.float64), columns.sum(axis=1), squares))
    control, treatment = (
        from_sums(*(np.stack([part[at] for part in arm], axis=1) for at in range(3))) for arm in parts
    )
    unit_days = np.array([np.maximum(day + 1 - enters, 0).sum() for day in range(days)], dtype=np.float64)
    information = np.broadcast_to(unit_days / (days * units), control.size.shape)
    return _peeked(control, treatment, information, 0.0)


def variance_taken(draw: np.random.Generator, units: int, rho: float) -> float:
    """The share of the effect's variance that a covariate of correlation `rho` takes."""
    drawn = adjusted(draw, 1, units, rho=rho)
    with_it = effects(*by_arm(drawn, 1)).error
    drawn.columns[..., 2] = 0
    return float(1 - (with_it / effects(*by_arm(drawn, 1)).error)[0, 0] ** 2)


def mismatches(draw: np.random.Generator, runs: int, units: int, share: float) -> float:
    """How often a split that is `share` and was planned as a half is refused."""
    counts = draw.binomial(units, share, runs)
    plan = {"control": 0.5, "treatment": 0.5}
    found = [sample_ratio({"control": units - int(n), "treatment": int(n)}, plan) for n in counts]
    return float(np.mean([not one.passed for one in found]))


def family_errors(draw: np.random.Generator, runs: int, units: int, correction: Correction) -> float:
    """How often any of five correlated metrics of two variants, none of which does anything, is called an effect."""
    wrong = 0
    for _ in range(runs):
        shared = draw.normal(size=(units, 1))
        values = 0.5 * shared + draw.normal(size=(units, 5))
        arm = draw.integers(0, 3, units)
        p_values = []
        for metric in range(5):
            arms = []
            for place in range(3):
                value = values[arm == place, metric]
                columns = _columns(value)
                arms.append(from_sums(np.float64(len(value)), columns.sum(axis=0), columns.T @ columns))
            p_values += [_normal_p(arms[0], arms[place]) for place in (1, 2)]
        wrong += bool((adjust(np.array(p_values), correction) < ALPHA).any())
    return wrong / runs


def _normal_p(control: Moments, treatment: Moments) -> float:
    from scipy.stats import norm

    found = effects(control, treatment)
    return float(2 * norm.sf(abs(found.effect / found.error)))
