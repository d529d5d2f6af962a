"""Attempts at refuting the effect of an amount: each asks for an effect of which the truth is known.

What the rows must be like for an effect to be told at all is the business of `gates`.
"""

from __future__ import annotations

import numpy as np

from ml_assets.core.causal.continuous.data import Data
from ml_assets.core.causal.continuous.double_machine_learning import Left, final
from ml_assets.core.causal.continuous.effects import GroupEffects
from ml_assets.core.causal.continuous.regression import grouped, with_finite_levels
from ml_assets.core.causal.continuous.shape import Shape
from ml_assets.core.causal.effect import SEED
from ml_assets.core.causal.finding import Gate
from ml_assets.core.causal.gates import MOVED_ERRORS, placebo_intervals
from ml_assets.core.causal.study import Labels, Study, Vector
from ml_assets.core.causal.within import NotEstimable

PLACEBO_DRAWS = 40
HALVES = 5
STRICT = 0.01
"""The chance that a refutation refuses what is true: there are several."""


def random_treatment(left: Left, data: Data, found: GroupEffects) -> Gate:
    """Placebo: treatments that other units had at other times must have no effect, by honest intervals."""
    generator = np.random.default_rng(SEED)
    rest = left.outcome - (left.columns[:, 0] * found.effects[data.groups])
    effects, missed = [], []
    for _ in range(PLACEBO_DRAWS):
        moved = left.columns.copy()
        moved[:, 0] = moved[_shifted(data.clusters, len(rest), generator), 0]
        placebo = final(left._replace(outcome=rest, columns=moved), data.as_one_group)
        effects.append(placebo.effects[0])
        missed.append(abs(placebo.effects[0]) > 2 * placebo.errors[0])
    return placebo_intervals("a treatment moved to other rows", effects, missed)


def random_common_cause(data: Data, shape: Shape, found: GroupEffects) -> Gate:
    """A further cause that is noise must leave the regression where it is."""
    noise = np.random.default_rng(SEED).normal(size=(len(data.outcome), 1))
    more = data._replace(confounders=np.column_stack([data.confounders, noise]), blocks=(*data.blocks, "noise"))
    moved = abs(float(found.weights @ (grouped(more, shape).effects - found.effects)))
    errors = moved / max(found.error, 1e-300)
    detail = f"noise held fixed moves the estimate by {errors:.2f} standard errors; at most {MOVED_ERRORS:.0f} may be"
    return Gate("random_common_cause", errors <= MOVED_ERRORS, errors, detail)


def random_subset(left: Left, data: Data) -> Gate:
    """Halves of the clusters must find the same: the largest of five differences, in its standard errors."""
    from scipy.stats import t

    generator = np.random.default_rng(SEED)
    clusters = np.arange(len(data.outcome)) if data.clusters is None else data.clusters
    codes = np.unique(clusters, return_inverse=True)[1].ravel()
    bar, worst = float(t.ppf(1 - STRICT / 2 / HALVES, max((codes.max() - 1) / 2, 1))), 0.0
    for _ in range(HALVES):
        half = generator.permutation(codes.max() + 1)[codes] % 2 == 0
        parts = [final(left, data.as_one_group, rows) for rows in (half, ~half)]
        error = float(np.hypot(parts[0].errors[0], parts[1].errors[0]))
        worst = max(worst, abs(float(parts[0].effects[0] - parts[1].effects[0])) / max(error, 1e-300))
    what = "rows" if data.clusters is None else "clusters"
    detail = f"halves of the {what} differ by {worst:.1f} standard errors at most; it must stay under {bar:.1f}"
    return Gate("random_subset", worst < bar, worst, detail)


def later_treatment(later: Vector, data: Data, shape: Shape) -> Gate:
    """Placebo: with today's treatment held fixed, a later one can have no effect on today."""
    known = data._replace(columns=np.column_stack([data.columns, later])).of(np.isfinite(later))
    what = "of a later treatment on the outcome before it"
    chance, detail = _by_chance(what, known, shape, column=known.columns.shape[1] - 1)
    return Gate("placebo_later_treatment", chance >= STRICT, chance, f"{detail}; under {STRICT:.2g} it is refused")


def negative_controls(study: Study, data: Data, shape: Shape) -> Gate:
    """Placebo: the treatment cannot have changed these outcomes; an effect betrays a wrong date or a hidden cause."""
    told = []
    for name, values in study.placebo_outcomes.items():
        other = data._replace(outcome=values[data.rows])
        told.append(
            _by_chance(f"on {name}, which it cannot have changed,", other.of(np.isfinite(other.outcome)), shape)
        )
    least = min(chance for chance, _ in told)
    bar = STRICT / len(told)
    details = "; ".join(detail for _, detail in told)
    return Gate("negative_controls", least >= bar, least, f"{details}; under {bar:.2g} it is refused")


def _shifted(clusters: Labels | None, rows: int, generator: np.random.Generator) -> Labels:
    """For each row the place of a row of another cluster: each cluster gets another's rows in turn, from any on."""
    if clusters is None:
        return generator.permutation(rows)
    order = np.argsort(clusters, kind="stable")
    codes, first, counts = np.unique(clusters[order], return_index=True, return_counts=True)
    other = generator.permutation(len(codes))
    places = np.arange(rows) - np.repeat(first - generator.integers(0, rows, len(codes)), counts)
    moved: Labels = np.empty(rows, dtype=np.int64)
    moved[order] = order[np.repeat(first[other], counts) + places % np.repeat(counts[other], counts)]
    return moved


def _by_chance(what: str, data: Data, shape: Shape, column: int = 0) -> tuple[float, str]:
    """How often chance makes an effect as large where there is none, and in words; 0 where none can be estimated."""
    from scipy.stats import t

    try:
        found = grouped(with_finite_levels(data, shape), shape, column)
    except NotEstimable as reason:
        return 0.0, f"the effect {what} cannot be estimated: {reason}"
    chance = float(2 * t.sf(abs(found.mean) / max(found.error, 1e-300), found.freedom.sum()))
    return chance, f"the effect {what} is {found.mean:.3g} ± {found.error:.2g} (p = {chance:.3f})"
