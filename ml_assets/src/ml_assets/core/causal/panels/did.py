"""Difference-in-differences for a roll-out whose units are treated at different times, and whether to believe it.

The answer is the mean of group-time effects (Callaway and Sant'Anna 2021, Journal of Econometrics 225), each a
difference from the last period before a group's treatment, against units not yet treated; so no unit that is treated
already stands for the untreated, as in a two-way regression (Goodman-Bacon 2021). Imputation (Borusyak, Jaravel and
Spiess 2024, Review of Economic Studies 91) must agree. A single treated unit is `synthetic_control`'s business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ml_assets.core.causal.finding import CONFIDENCE, Estimate, Finding, Gate, NamedEstimate
from ml_assets.core.causal.gates import agreement_of_two, placebo_intervals
from ml_assets.core.causal.panels.table import Panel
from ml_assets.core.causal.study import Labels, Matrix, Vector
from ml_assets.core.causal.within import Levels, by_cluster, least_squares

SEED = 17
FEWEST_TREATED, FEWEST_CONTROLS = 5, 5
"""Clusters with a treated unit, and clusters with one to compare with: fewer tell no standard error."""
GROUPS = 50
SWEEPS, SWEPT = 500, 1e-10
TWO_SIDED = 1.96
DRAWS = 999
PLACEBO_DRAWS = 40
STRICT = 0.01
"""The chance that the test of earlier trends refuses what is true."""
POWER = 0.8
GROUP_TIME, IMPUTATION = "group-time effects", "imputation"


class GroupTime(NamedTuple):
    """The effect on the units first treated in period `group`, in period `time` (both places among the periods)."""

    group: int
    time: int
    effect: float
    error: float


class Event(NamedTuple):
    """The mean effect `periods` after the first treated period (before it if negative), with its 95 % interval.

    `low` and `high` are an interval for this period alone; `band_low` and `band_high` hold all of them at once with
    95 %. The period -1 is what all others are held against: it is 0 by construction.
    """

    periods: int
    effect: float
    low: float
    high: float
    band_low: float
    band_high: float


class DidFinding(NamedTuple):
    """The finding, and what its picture and table need. `pre_trend_p` is NaN with no period to test."""

    finding: Finding
    group_times: tuple[GroupTime, ...]
    events: tuple[Event, ...]
    pre_trend_p: float


class _Effects(NamedTuple):
    """Effects with, for each, what each unit adds to its estimate."""

    effects: Vector
    influence: Matrix


def assess_did(panel: Panel) -> DidFinding:
    """Estimate the effect on the treated after their adoption, and try to refute that they would have moved alike."""
    treated, controls = int(panel.treated.sum()), int((~panel.treated).sum())
    plain = _naive(panel)
    enough = _enough(panel)
    if not enough.passed:
        return DidFinding(Finding(plain, (), (enough,), treated, controls), (), (), float("nan"))
    cells, found = group_times(panel)
    if not any(time >= group for group, time in cells):
        gate = Gate("overlap", False, 0.0, "no treated period has a unit that is not yet treated to compare with")
        return DidFinding(Finding(plain, (), (gate,), treated, controls), (), (), float("nan"))
    overall = _mean(panel, cells, found, lambda group, time: time >= group)
    answer = _estimate(overall, panel)
    second = imputation(panel)
    events, pre_trend, pre_trend_p = _events(panel, cells, found, overall)
    gates = (enough, pre_trend, agreement_of_two(answer, second), _random_adoption(panel))
    estimates = (
        NamedEstimate(GROUP_TIME, "after adoption", answer),
        NamedEstimate(IMPUTATION, "after adoption", second),
    )
    warnings = (
        (f"{panel.left_out} units were treated from the first period on and are left out",) if panel.left_out else ()
    )
    errors = _errors(found, panel)[0]
    table = tuple(
        GroupTime(group, time, float(effect), float(error))
        for (group, time), effect, error in zip(cells, found.effects, errors, strict=True)
    )
    finding = Finding(plain, estimates, gates, treated, controls, warnings=warnings)
    return DidFinding(finding, table, events, pre_trend_p)


def group_times(panel: Panel) -> tuple[list[tuple[int, int]], _Effects]:
    """The effect for each group and each period but its last untreated one, where there are units to compare with.

    Those are not treated by the later of the period and the group's first: never, or not yet. With the sizes of the
    groups taken as given.
    """
    cells, effects, influence = [], [], []
    for group in np.unique(panel.adoption[panel.treated]).tolist():
        mine = panel.adoption == group
        for time in range(len(panel.times)):
            others = panel.adoption > max(time, group)
            if time == group - 1 or not others.any():
                continue
            change = panel.outcome[:, time] - panel.outcome[:, group - 1]
            means = change[mine].mean(), change[others].mean()
            cells.append((group, time))
            effects.append(means[0] - means[1])
            influence.append(mine * (change - means[0]) / mine.sum() - others * (change - means[1]) / others.sum())
    width = len(cells)
    columns: Matrix = np.array(influence).T.reshape(len(panel.units), width)
    return cells, _Effects(np.array(effects), columns)


def imputation(panel: Panel) -> Estimate:
    """The mean of what came over what levels of units and periods, fitted to untreated rows, lead to expect.

    Its standard error by a jackknife that leaves out a group of clusters at a time (Kott 2001).
    """
    from scipy.stats import t

    whole = _imputed(panel)
    codes = np.unique(panel.clusters, return_inverse=True)[1].ravel()
    order = np.random.default_rng(SEED).permutation(codes.max() + 1)
    number = min(GROUPS, len(order))
    parts = [_imputed(panel.of(order[codes] % number != group)) for group in range(number)]
    error = float(np.sqrt((number - 1) / number * np.nansum((np.array(parts) - whole) ** 2)))
    half = float(t.ppf((1 + CONFIDENCE) / 2, number - 1)) * error
    return Estimate(whole, whole - half, whole + half)


def _imputed(panel: Panel) -> float:
    """NaN where no treated row has a period in which something else was untreated."""
    plain = np.arange(len(panel.times)) < panel.adoption[:, None]
    judged = ~plain & plain.any(axis=0)
    if not judged.any():
        return float("nan")
    return float((panel.outcome - additive(panel.outcome, plain))[judged].mean())


def additive(outcome: Matrix, known: Any) -> Matrix:
    """A level for each row plus one for each column of the matrix, by least squares on the `known` entries."""
    rows, columns = known.sum(axis=1), np.maximum(known.sum(axis=0), 1)
    level = np.zeros(outcome.shape[1])
    for _ in range(SWEEPS):
        own = (np.where(known, outcome - level, 0.0).sum(axis=1) / rows)[:, None]
        better = np.where(known, outcome - own, 0.0).sum(axis=0) / columns
        moved, level = float(np.abs(better - level).max()), better
        if moved <= SWEPT * max(float(np.abs(outcome).max()), 1e-300):
            break
    fitted: Matrix = own + level
    return fitted


def _mean(panel: Panel, cells: list[tuple[int, int]], found: _Effects, wanted: Callable[[int, int], bool]) -> _Effects:
    """The mean of the wanted effects, each weighted by its group's units."""
    sizes = np.array([(panel.adoption == group).sum() * wanted(group, time) for group, time in cells], dtype=np.float64)
    weights = sizes / sizes.sum()
    return _Effects(np.array([found.effects @ weights]), found.influence @ weights[:, None])


def _errors(found: _Effects, panel: Panel) -> tuple[Vector, int]:
    """Standard errors robust to dependence within clusters, and the number of clusters."""
    summed, number = by_cluster(found.influence, panel.clusters)
    return np.sqrt((summed**2).sum(axis=0) * number / (number - 1)), number


def _estimate(found: _Effects, panel: Panel) -> Estimate:
    from scipy.stats import t

    errors, _ = _errors(found, panel)
    treated = len(np.unique(panel.clusters[panel.treated]))
    controls = len(np.unique(panel.clusters[~panel.treated])) or treated
    half = float(t.ppf((1 + CONFIDENCE) / 2, _freedom(treated, controls)) * errors[0])
    effect = float(found.effects[0])
    return Estimate(effect, effect - half, effect + half)


def _freedom(treated: int, controls: int) -> float:
    """Degrees of freedom of a difference of the means of few clusters, as if these were alike (Welch)."""
    one, other = 1 / treated, 1 / controls
    return (one + other) ** 2 / (one**2 / max(treated - 1, 1) + other**2 / max(controls - 1, 1))


def _events(
    panel: Panel, cells: list[tuple[int, int]], found: _Effects, overall: _Effects
) -> tuple[tuple[Event, ...], Gate, float]:
    """The mean effect by periods from adoption, and the test that there is none before it.

    The test is by the largest of all earlier effects and of their straight slope, in standard errors, and its own
    distribution by a multiplier bootstrap over clusters; the bands likewise.
    """
    from scipy.stats import norm, t

    places = sorted({time - group for group, time in cells})
    each = [_mean(panel, cells, found, lambda g, u, e=e: u - g == e) for e in places]  # type: ignore[misc]
    effects = np.array([one.effects[0] for one in each])
    influence = np.column_stack([one.influence for one in each])
    errors, number = _errors(_Effects(effects, influence), panel)
    wide = float(np.quantile(_largest(influence, errors, panel), CONFIDENCE))
    half = float(t.ppf((1 + CONFIDENCE) / 2, number - 1))
    events = [Event(-1, 0.0, 0.0, 0.0, 0.0, 0.0)]
    for place, effect, error in zip(places, effects.tolist(), errors.tolist(), strict=True):
        bounds = [effect + sign * times * error for times in (half, wide) for sign in (-1, 1)]
        events.append(Event(place, effect, *bounds))
    before = np.array([place for place in places if place < -1], dtype=np.int64)
    if len(before) == 0:
        detail = "no unit has two untreated periods before its treatment: whether they moved alike cannot be seen"
        return tuple(sorted(events)), Gate("no_earlier_trend", False, float("nan"), detail), float("nan")
    early = np.flatnonzero(np.array(places) < -1)
    line = (before + 1) / ((before + 1) ** 2).sum()
    tested = np.column_stack([influence[:, early], influence[:, early] @ line])
    values = np.append(effects[early], effects[early] @ line)
    spread = _errors(_Effects(values, tested), panel)[0]
    draws = _largest(tested, spread, panel)
    largest = float(np.abs(values / np.maximum(spread, 1e-300)).max())
    p = float((1 + (draws >= largest).sum()) / (1 + len(draws)))
    after = np.average([time - group + 1 for group, time in cells if time >= group])
    seen = (float(np.quantile(draws, 1 - STRICT)) + float(norm.ppf(POWER))) * float(spread[-1])
    detail = (
        f"the {len(before)} periods before the treatment differ from 0 by {largest:.1f} standard errors at most "
        f"(p = {p:.3f}; under {STRICT} it is refused). A steady drift of {seen:.3g} a period would be seen with "
        f"{POWER:.0%}; one that is not seen could add {seen * after:.3g} to the effect of {overall.effects[0]:.3g}"
    )
    return tuple(sorted(events)), Gate("no_earlier_trend", p >= STRICT, p, detail), p


def _largest(influence: Matrix, errors: Vector, panel: Panel) -> Vector:
    """Draws of the largest of the effects in standard errors if none is there (Rademacher weights of clusters)."""
    summed, number = by_cluster(influence, panel.clusters)
    signs = np.random.default_rng(SEED).integers(0, 2, (DRAWS, number)) * 2.0 - 1.0
    drawn: Vector = np.abs(signs @ summed / np.maximum(errors, 1e-300)).max(axis=1)
    return drawn


def _enough(panel: Panel) -> Gate:
    treated = len(np.unique(panel.clusters[panel.treated]))
    later = panel.adoption > panel.adoption.min()
    controls = len(np.unique(panel.clusters[later]))
    detail = (
        f"{treated} clusters are treated and {controls} can be compared with; {FEWEST_TREATED} and {FEWEST_CONTROLS} "
        "are needed for a standard error. Of fewer, ask a synthetic control"
    )
    return Gate("arm_sizes", treated >= FEWEST_TREATED and controls >= FEWEST_CONTROLS, float(treated), detail)


def _naive(panel: Panel) -> Estimate:
    """The difference between treated and untreated rows as they are."""
    units, periods = panel.outcome.shape
    on = (np.arange(periods) >= panel.adoption[:, None]).astype(np.float64).ravel()
    clusters: Labels = np.repeat(panel.clusters, periods)
    fit = least_squares(panel.outcome.ravel(), on[:, None], Levels(units * periods), clusters)
    half = TWO_SIDED * float(np.sqrt(fit.covariance[0, 0]))
    effect = float(fit.coefficients[0])
    return Estimate(effect, effect - half, effect + half)


def _random_adoption(panel: Panel) -> Gate:
    """Placebo: adoption dealt out to other units must have no effect, by honest intervals, once the effect is out."""
    generator = np.random.default_rng(SEED)
    cells, found = group_times(panel)
    outcome = panel.outcome.copy()
    for (group, time), effect in zip(cells, found.effects, strict=True):
        if time >= group:
            outcome[panel.adoption == group, time] -= effect
    effects, missed = [], []
    for _ in range(PLACEBO_DRAWS):
        placebo = replace(
            panel, outcome=outcome, adoption=generator.permutation(panel.adoption), clusters=np.arange(len(outcome))
        )
        dealt = _mean(placebo, *group_times(placebo), lambda group, time: time >= group)
        told = _estimate(dealt, placebo)
        effects.append(told.ate)
        missed.append(not told.holds(0.0))
    return placebo_intervals("an adoption dealt out at random", effects, missed)
