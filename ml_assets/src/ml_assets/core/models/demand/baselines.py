"""The statistical baselines that a demand forecast must beat, each fitted to one series alone, by `statsforecast`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ml_assets.core.models.demand.panel import Frequency, Matrix, Panel

SEASONAL_NAIVE = "seasonal_naive"
HISTORY = 365
"""Of the last periods so many are fitted, or four seasons where those are longer."""
LONGEST_SEASON = 24
"""Exponential smoothing has a state for each place in the season; weeks of a year are too many to estimate."""


def baselines(frequency: Frequency) -> Mapping[str, Callable[[int], Any]]:
    """The models by name, each made for a number of periods of history."""
    from statsforecast.models import AutoETS, CrostonSBA, Naive, SeasonalNaive, Theta

    def season(periods: int) -> int:
        return frequency.season if frequency.season <= LONGEST_SEASON and periods >= 2 * frequency.season else 1

    return {
        SEASONAL_NAIVE: lambda n: SeasonalNaive(frequency.season) if n >= frequency.season else Naive(),
        "theta": lambda n: Theta(season(n)),
        "ets": lambda n: AutoETS(season(n)),
        "croston_sba": lambda _: CrostonSBA(),
    }


def forecast(panel: Panel, origin: int, horizon: int) -> dict[str, Matrix]:
    """Each baseline's forecast for each series, by what was known at `origin`; 0 for a series without history.

    These models take no gaps: a period that was not observed counts as the one a season before, or as the mean.
    """
    known = panel.until(origin)
    models = baselines(panel.frequency)
    found = {name: np.zeros((len(panel.series), horizon)) for name in models}
    length = max(HISTORY, 4 * panel.frequency.season)
    ended = known.ended(origin)
    for place, quantity in enumerate(known.quantity[:, :origin]):
        observed = np.flatnonzero(~np.isnan(quantity))
        if not len(observed) or ended[place]:
            continue
        values = _without_gaps(quantity[observed[0] :], panel.frequency.season)[-length:]
        for name, model in models.items():
            found[name][place] = np.maximum(_forecast(model(len(values)), values, horizon), 0.0)
    return found


def _without_gaps(values: Any, season: int) -> Any:
    filled = values.copy()
    mean = np.nanmean(values)
    for gap in np.flatnonzero(np.isnan(filled)):
        filled[gap] = filled[gap - season] if gap >= season else mean
    return filled


def _forecast(model: Any, values: Any, horizon: int) -> Any:
    """The model's forecast; the last mean where the series is too short or too flat for it."""
    if len(values) < 4 or (values == values[0]).all():
        return np.full(horizon, values.mean())
    return model.forecast(values, horizon)["mean"]
