"""Roll-outs whose effect is known, drawn directly: staggered over many units, or in one region."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ml_assets.core.causal.panels.table import NEVER, Panel, panel

UNITS, PERIODS = 80, 14
REGIONS, WEEKS, STARTS = 30, 40, 28
EFFECT = 1.0


class Rollout(NamedTuple):
    """A panel, and the mean effect on its treated rows."""

    panel: Panel
    truth: float


def staggered(seed: int, drift: float = 0.0) -> Rollout:
    """Units treated in three waves or never; who is early has more to begin with, and gains more and ever more.

    With a `drift` the treated grow by so much more in each period, treatment or not: to be refused.
    """
    draw = np.random.default_rng([31, seed])
    adoption = draw.choice([5, 8, 11, NEVER], UNITS, p=[0.2, 0.2, 0.2, 0.4])
    time = np.arange(PERIODS)
    level = 2 * draw.normal(size=UNITS) + 3 * (adoption == 5)
    luck = np.cumsum(0.3 * draw.normal(size=(UNITS, PERIODS)), axis=1) + draw.normal(size=(UNITS, PERIODS))
    on = time >= adoption[:, None]
    since = np.where(on, time - np.where(adoption == NEVER, 0, adoption)[:, None], 0)
    effect = on * (EFFECT + 0.2 * since + 0.5 * (adoption == 5)[:, None])
    outcome = level[:, None] + 0.3 * time + luck + effect + drift * time * (adoption != NEVER)[:, None]
    return Rollout(_panel(outcome, on), float(effect[on].mean()))


def one_region(seed: int, drift: float = 0.0) -> Rollout:
    """A region treated once, which is a mix of others by what moves them all; with a `drift`, of nothing like them."""
    draw = np.random.default_rng([32, seed])
    factors = np.cumsum(draw.normal(size=(3, WEEKS)), axis=1)
    loadings = 3 * draw.dirichlet([1, 1, 1], REGIONS)
    loadings[0] = loadings[1:8].mean(axis=0) + drift * np.array([3, -1, 2])
    outcome = loadings @ factors + 0.3 * draw.normal(size=(REGIONS, WEEKS))
    on = np.zeros((REGIONS, WEEKS), dtype=bool)
    on[0, STARTS:] = True
    return Rollout(_panel(outcome + EFFECT * on, on), EFFECT)


def _panel(outcome: np.ndarray, on: np.ndarray) -> Panel:
    units, periods = outcome.shape
    return panel(
        np.repeat(np.arange(units), periods), np.tile(np.arange(periods), units), outcome.ravel(), on.ravel() * 1.0
    )
