"""Panels with a planted truth for the tests of the demand forecast."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ml_assets.core.models.demand.panel import DAILY, Frequency, Matrix, Panel, following

WEEK = np.array([0.7, 0.8, 0.9, 1.0, 1.1, 1.5, 1.0])


class Planted(NamedTuple):
    """A panel, and the mean of the distribution that each quantity was drawn from."""

    panel: Panel
    truth: Matrix


def make_panel(quantity: Matrix, *, frequency: Frequency = DAILY, offered=None, regressors=None) -> Panel:
    first = np.array([np.datetime64("2023-01-01", "D")])
    dates = np.concatenate([first, following(first, frequency, quantity.shape[1] - 1)])
    begun = np.ones(quantity.shape, bool) if offered is None else offered
    names = tuple(f"P{place:03}" for place in range(len(quantity)))
    return Panel(frequency, names, dates, quantity, begun, regressors or {})


def planted(*, series: int = 40, periods: int = 500, seed: int = 1, uplift: float = 1.8) -> Planted:
    """Daily sales: Poisson around level × week × trend, `uplift` times as much in promotions."""
    draws = np.random.default_rng(seed)
    level = np.exp(draws.uniform(np.log(2), np.log(30), series))[:, None]
    trend = 1 + np.outer(draws.uniform(-0.3, 0.6, series), np.linspace(0, 1, periods))
    promotion = (draws.random((series, periods // 7 + 1)) < 0.15).repeat(7, axis=1)[:, :periods].astype(float)
    truth = level * WEEK[np.arange(periods) % 7] / WEEK.mean() * trend * np.where(promotion > 0, uplift, 1.0)
    return Planted(make_panel(draws.poisson(truth).astype(float), regressors={"promotion": promotion}), truth)
