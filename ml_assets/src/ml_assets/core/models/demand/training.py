"""One training of a shop's demand forecast from start to end: backtest, fit, and every figure a decision needs.

A pure function of a panel: the same panel gives the same bytes. What the figures must be is decided by the checks of
`models/demand_forecaster`; tuning and any file of series are the business of `ml_assets.core.bench.forecast`.
"""

from __future__ import annotations

from datetime import date
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cartograph.releases.contents.models import FeatureSpec
from ml_assets.core.evaluation.classification import Interval
from ml_assets.core.evaluation.forecasting import (
    PointScores,
    Window,
    coverage,
    origins,
    point_scores,
    weighted_losses,
    window,
)
from ml_assets.core.evaluation.uplift import mean
from ml_assets.core.features import daily_demand
from ml_assets.core.models.demand import baselines
from ml_assets.core.models.demand.daily import HOLIDAY, INPUTS, Demand
from ml_assets.core.models.demand.forecaster import Forecast, Forecaster, Parameters, calibration_origins, fit
from ml_assets.core.models.demand.panel import DAILY, Panel
from ml_assets.core.models.errors import NotEnoughData, TooYoung

NAME = "demand_forecaster"
PARAMETERS = Parameters(trees=50, learning_rate=0.12, leaves=12, rows=60_000)
"""They take 1.8 s where the defaults take 4.3 s, for 2 % more error on the simulated shop."""
WINDOWS = 4
SCORED_PRODUCTS = 16
"""So many products are held against the baselines, which take some 50 ms for each of them and each window."""


class Trained(NamedTuple):
    """A forecaster of the latest data, and how one that learned nothing of the backtest did in it.

    `scores` are of `scored` products in the windows from `tested` on, `baselines` the weighted RMSSE of each baseline
    there, and `loss` how much more than the best of these its own is; `coverages` tell of each window which share of
    all products' days lay in the interval. `windows` are what came of all products, and `forecasts` what was forecast.
    """

    model: Forecaster
    as_of: date
    tested: tuple[date, ...]
    products: int
    scored: int
    scores: PointScores
    baselines: dict[str, float]
    loss: Interval
    coverages: tuple[float, ...]
    windows: tuple[Window, ...]
    forecasts: tuple[Forecast, ...]

    @property
    def coverage(self) -> float:
        """The share over all windows; they have as many days each."""
        return float(np.mean(self.coverages))

    @property
    def best_baseline(self) -> str:
        """The baseline with the least error."""
        return min(self.baselines, key=lambda name: self.baselines[name])

    @property
    def metrics(self) -> dict[str, float]:
        """The backtest's figures by name."""
        return {**self.scores._asdict(), "interval_coverage": self.coverage}

    @property
    def card(self) -> dict[str, Any]:
        """The model's card in the form of a release, but for the version that the registry gives it."""
        inputs = daily_demand.DAILY_DEMAND.specs(INPUTS)
        inputs.append(
            FeatureSpec(name=HOLIDAY, type="boolean", description="Public holiday, by the calendar.", nullable=False)
        )
        return {
            "name": NAME,
            "as_of": self.as_of.isoformat(),
            "features": [spec.model_dump() for spec in inputs],
            "metrics": self.metrics,
            "baseline_metrics": {f"{name}.weighted_rmsse": value for name, value in self.baselines.items()},
        }


def train(demand: Demand, horizon: int) -> Trained:
    """Forecast the last `WINDOWS` windows with a model from before them, then fit one on all of the data.

    The tested model is fitted once, and the baselines anew at each origin: it has to last as long as one that is used
    until the next training.

    Raises:
        TooYoung: the history is too short.
        NotEnoughData: nothing was ordered in the windows, or always as much.
    """
    panel, origin = demand.panel, demand.origin
    starts = origins(origin, horizon, WINDOWS)
    try:
        calibration_origins(panel, starts[0], horizon)
    except TooYoung as reason:
        raise TooYoung(f"The last {WINDOWS * horizon} days are kept to test on. {reason}") from None
    windows = [_window(panel, start, horizon) for start in starts]
    chosen = spread_by_quantity(windows[0])
    some = panel.of(chosen)
    scored = [_window(some, start, horizon) for start in starts]
    if any(not (past.weight * (past.squared_scale > 0)).any() for past in scored):
        raise NotEnoughData(
            f"A demand forecast cannot be evaluated: before {panel.dates[starts[-1]]}, no product was ordered in "
            f"changing quantities. Load more orders."
        )
    tested = fit(panel, starts[0], horizon, PARAMETERS)
    forecasts = [tested.predict(panel, start) for start in starts]
    usual = [baselines.forecast(some, start, horizon) for start in starts]
    ours, _ = weighted_losses(scored, [forecast.mean[chosen] for forecast in forecasts])
    theirs = [weighted_losses(scored, [found[name] for found in usual])[0] for name in usual[0]]
    return Trained(
        model=fit(panel, origin, horizon, PARAMETERS),
        as_of=panel.dates[origin].item(),
        tested=tuple(panel.dates[start].item() for start in starts),
        products=len(panel.series),
        scored=len(chosen),
        scores=point_scores(scored, [forecast.mean[chosen] for forecast in forecasts]),
        baselines={name: point_scores(scored, [found[name] for found in usual]).weighted_rmsse for name in usual[0]},
        loss=max((mean(ours - one) for one in theirs), key=lambda found: found.value),
        coverages=tuple(
            coverage(past.actual, *forecast.interval()) for past, forecast in zip(windows, forecasts, strict=True)
        ),
        windows=tuple(windows),
        forecasts=tuple(forecasts),
    )


def spread_by_quantity(past: Window) -> npt.NDArray[np.intp]:
    """The places of `SCORED_PRODUCTS` products of those that were sold, evenly spread from the least to the most."""
    sold = np.flatnonzero(past.weight > 0)
    ranked = sold[np.argsort(past.weight[sold], kind="stable")]
    if len(ranked) <= SCORED_PRODUCTS:
        return np.sort(ranked)
    return np.sort(ranked[np.linspace(0, len(ranked) - 1, SCORED_PRODUCTS).astype(np.intp)])


def _window(panel: Panel, start: int, horizon: int) -> Window:
    return window(panel.quantity, start, horizon, season=DAILY.season, recent=DAILY.windows[1])
