"""Intervals and p-values that hold at every look at once, so that a daily look does not make false finds.

Asymptotic confidence sequences with the Gaussian mixture boundary (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
"Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 2024, theorem 2.2), which
is also the boundary of the mixture sequential test. It bounds a sum whose variance grows with the information that
has come; the sum may be of values adjusted by covariates or of a ratio's linear parts.

Information is counted in units, where each is complete when it comes in. Where outcomes go on growing, it is counted
in days of units: neighbouring looks are then at least as alike as the boundary assumes, which only makes it safer.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ml_assets.core.experiments.moments import Effects
from ml_assets.core.experiments.plan import Vector

SMALLEST_ARM = 50
"""With fewer units in a variant nothing is estimated: the normal approximation has no ground."""
NARROWEST = 0.5
"""The share of the planned information at which the intervals are made narrowest: most looks are near it."""


class Sequence(NamedTuple):
    """What each look would have said: effects with their bounds, and the p-value so far. NaN before enough came."""

    effect: Vector
    low: Vector
    high: Vector
    p_value: Vector


def width(information: Vector | float, alpha: float) -> Vector:
    """How many standard errors an interval reaches that holds at all looks with a chance of 1 - `alpha`.

    `information` is the share of the planned one, above 0; it may go beyond 1.
    """
    x = mixture(alpha) * np.asarray(information, dtype=np.float64)
    found: Vector = np.sqrt((x + 1) / x * (np.log(x + 1) - 2 * math.log(alpha)))
    return found


def p_values(z: Vector | float, information: Vector | float, alpha: float) -> Vector:
    """The least level at which an effect of `z` standard errors would be told from 0, at this look."""
    x = mixture(alpha) * np.asarray(information, dtype=np.float64)
    found: Vector = np.minimum(1.0, np.sqrt(x + 1) * np.exp(-(np.asarray(z) ** 2) * x / (2 * (x + 1))))
    return found


def mixture(alpha: float) -> float:
    """The mixture's variance, for information of 1 as planned: near the best at `NARROWEST` of it (their eq. 10)."""
    return (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / NARROWEST


def sequence(effects: Effects, smallest: Vector, information: Vector, alpha: float) -> Sequence:
    """What each look would have said; `smallest` is the count of the smaller variant, looks are the last axis."""
    known = (smallest >= SMALLEST_ARM) & np.isfinite(effects.error) & (effects.error > 0)
    error = np.where(known, effects.error, np.nan)
    reach = width(np.maximum(information, 1e-9), alpha) * error
    found = p_values(effects.effect / error, np.maximum(information, 1e-9), alpha)
    so_far = np.minimum.accumulate(np.where(np.isnan(found), 1.0, found), axis=-1)
    return Sequence(effects.effect, effects.effect - reach, effects.effect + reach, so_far)
