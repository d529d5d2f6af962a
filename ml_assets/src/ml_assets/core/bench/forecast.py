"""`cartograph bench forecast`: the demand forecast and its baselines on any file of series, dates and quantities.

Reading and checking the file, tuning on windows before the backtest, the backtest over several origins, and the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np

from ml_assets.core.bench.errors import BenchDataError
from ml_assets.core.bench.files import (
    PLACE,
    ROWS,
    as_date,
    as_number,
    filled,
    quoted,
    read_rows,
    refuse,
    refuse_dates,
    refuse_numbers,
)
from ml_assets.core.evaluation.forecasting import PointScores, Window, coverage, origins, pinball, point_scores, window
from ml_assets.core.models.demand.baselines import forecast as baseline_forecasts
from ml_assets.core.models.demand.forecaster import (
    INTERVAL,
    NAME,
    QUANTILES,
    SEED,
    Parameters,
    calibration_origins,
    fit,
    point_forecast,
)
from ml_assets.core.models.demand.panel import DAILY, MONTHLY, WEEKLY, Absent, Frequency, Matrix, Panel, dense
from ml_assets.core.models.errors import NotEnoughData

COLUMNS = ("series", "date", "quantity")
FORMAT = "Columns: series, date (2026-01-31), quantity (0 or more), then any number of numeric regressors known ahead."
WINDOWS = 4
TUNING_WINDOWS = 2
TRIALS = 10
TUNING_ROWS = 40_000
SCORED_SERIES = 400
"""Of more series a seeded sample is scored: the model learns from all, the baselines cost some 80 ms for each."""


class Loaded(NamedTuple):
    """The panel of a file, and facts about the file."""

    panel: Panel
    facts: dict[str, Any]


def bench(path: Path, *, horizon: int | None = None, absent: Absent | None = None) -> dict[str, Any]:
    """Read, tune, forecast from `WINDOWS` origins and score; what the command prints.

    Raises:
        BenchDataError: the file is not there, is not in the documented format, or holds too little.
    """
    panel, facts = read(path, absent=absent)
    horizon = horizon or panel.frequency.horizon
    observed = int(np.flatnonzero(panel.offered.any(axis=0))[-1]) + 1
    starts = origins(observed, horizon, WINDOWS)
    try:
        calibration_origins(panel, starts[0], horizon)
        if all(not (scored_window(panel, start, horizon).squared_scale > 0).any() for start in starts):
            raise BenchDataError(
                f"{path}: no quantity changes before {panel.dates[starts[-1]]}: there is no forecast to score."
            )
        parameters, trials = tune(panel, starts[0], horizon)
        report = backtest(panel, starts, horizon, parameters)
    except NotEnoughData as reason:
        raise BenchDataError(
            f"{path} holds too little for {WINDOWS} windows of {horizon} periods. {reason}"
        ) from reason
    return {
        "benchmark": "forecast",
        "data": facts,
        "parameters": {
            "model": NAME,
            "horizon": horizon,
            "origins": [str(panel.dates[start]) for start in starts],
            "tuning": {"trials": trials, "windows_before": str(panel.dates[starts[0]])},
            "trees": parameters._asdict(),
        },
        **report,
    }


def tune(panel: Panel, origin: int, horizon: int) -> tuple[Parameters, int]:
    """The best parameters of a few trials on the last windows before `origin`, and how many trials there were.

    The first trial is the default. A history too short to spare windows for it keeps the defaults.
    """
    import optuna

    starts = [start for start in origins(origin, horizon, TUNING_WINDOWS) if start > 4 * horizon]
    if not starts:
        return Parameters(), 0
    windows = [scored_window(panel, start, horizon) for start in starts]

    def loss(trial: optuna.Trial) -> float:
        candidate = Parameters(
            trees=trial.suggest_int("trees", 20, 220, step=20),
            learning_rate=trial.suggest_float("learning_rate", 0.02, 0.12, log=True),
            leaves=trial.suggest_int("leaves", 4, 40, log=True),
            leaf_rows=trial.suggest_int("leaf_rows", 20, 200, log=True),
            tweedie_power=trial.suggest_float("tweedie_power", 1.05, 1.6),
            rows=TUNING_ROWS,
        )
        forecasts = [point_forecast(panel, start, horizon, candidate) for start in starts]
        return point_scores(windows, forecasts).weighted_rmsse

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=SEED, n_startup_trials=TRIALS // 2))
    names = ("trees", "learning_rate", "leaves", "leaf_rows", "tweedie_power")
    study.enqueue_trial({name: getattr(Parameters(), name) for name in names})
    study.optimize(loss, n_trials=TRIALS)
    return Parameters(**study.best_params), TRIALS


def backtest(panel: Panel, starts: Sequence[int], horizon: int, parameters: Parameters) -> dict[str, Any]:
    """Forecast from each origin by what was known there, and score the forecaster and its baselines."""
    chosen = scored_series(len(panel.series))
    scored = panel.of(chosen)
    windows = [scored_window(scored, start, horizon) for start in starts]
    quantiles: dict[float, list[Matrix]] = {level: [] for level in QUANTILES}
    means: dict[str, list[Matrix]] = {NAME: []}
    intervals: list[tuple[Matrix, Matrix]] = []
    for start in starts:
        forecast = fit(panel, start, horizon, parameters).predict(panel, start)
        means[NAME].append(forecast.mean[chosen])
        low, high = forecast.interval()
        intervals.append((low[chosen], high[chosen]))
        for level, found in quantiles.items():
            found.append(forecast.quantile(level)[chosen])
        for name, baseline in baseline_forecasts(scored, start, horizon).items():
            means.setdefault(name, []).append(baseline)
    scores = {name: point_scores(windows, forecasts) for name, forecasts in means.items()}
    best = min((name for name in scores if name != NAME), key=lambda name: scores[name].weighted_rmsse)
    actual = np.concatenate([past.actual for past in windows])
    levels = {level: np.concatenate(found) for level, found in quantiles.items()}
    return {
        "scored_series": len(chosen),
        "metrics": {name: rounded(score) for name, score in scores.items()},
        "weighted_rmsse_by_origin": {
            name: [round(point_scores([w], [f]).weighted_rmsse, 4) for w, f in zip(windows, found, strict=True)]
            for name, found in means.items()
        },
        "intervals": {
            "level": INTERVAL,
            "coverage": round(coverage(actual, *map(np.concatenate, zip(*intervals, strict=True))), 4),
            "coverage_by_origin": [
                round(coverage(w.actual, *bounds), 4) for w, bounds in zip(windows, intervals, strict=True)
            ],
            "pinball": round(pinball(actual, levels), 4),
        },
        "best_baseline": best,
        "gain_over_best_baseline": gain(scores[NAME].weighted_rmsse, scores[best].weighted_rmsse),
        "winner": min(scores, key=lambda name: scores[name].weighted_rmsse),
    }


def gain(error: float, baseline: float) -> float | None:
    """By which part an error is less than a baseline's; None where that has none."""
    return round(1 - error / baseline, 4) if baseline > 0 else None


def scored_series(count: int) -> Any:
    """The places of the series that are scored: all, or a seeded sample."""
    if count <= SCORED_SERIES:
        return np.arange(count)
    return np.sort(np.random.default_rng(SEED).choice(count, SCORED_SERIES, replace=False))


def scored_window(panel: Panel, start: int, horizon: int) -> Window:
    """The window of a backtest from `start` on, with scales and weights by the panel's frequency."""
    frequency = panel.frequency
    return window(panel.quantity, start, horizon, season=frequency.season, recent=frequency.windows[1])


def rounded(scores: PointScores) -> dict[str, float]:
    """The scores to four digits, as a dictionary."""
    return {name: round(value, 4) for name, value in scores._asdict().items()}


def read(path: Path, *, absent: Absent | None = None) -> Loaded:
    """The panel of a CSV (also gzipped) or Parquet file.

    `absent` says what a date without a row of a series means. By default nobody counted where the file has zeros of its
    own, as for days on which a shop is closed; else nothing was sold.

    Raises:
        BenchDataError: as for `bench`.
    """
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        regressors = load(con, path)
        columns: Mapping[str, Any] = con.execute(
            f"SELECT dense_rank() OVER (ORDER BY series) - 1 AS place, date, quantity, "
            f"{''.join(f'{quoted(name)}, ' for name in regressors)} series FROM demand ORDER BY series, date"
        ).fetchnumpy()
    values = {name: np.ma.filled(columns[name].astype(np.float64), np.nan) for name in ("quantity", *regressors)}
    days = np.asarray(columns["date"]).astype("datetime64[D]")
    dates, frequency = grid(path, days)
    names = np.asarray(columns["series"]).astype(str)
    place = np.asarray(columns["place"]).astype(np.intp)
    series = tuple(names[np.unique(place, return_index=True)[1]])
    meaning: Absent = absent or ("unknown" if (values["quantity"] == 0).any() else "zero")
    panel = dense(
        frequency,
        dates,
        series,
        (place, np.searchsorted(dates, days)),
        values["quantity"],
        {name: values[name] for name in regressors},
        absent=meaning,
    )
    counted = ~np.isnan(panel.quantity)
    facts = {
        "file": path.name,
        "rows": len(days),
        "series": len(series),
        "frequency": frequency.name,
        "first_date": str(dates[0]),
        "last_date": str(dates[-1]),
        "regressors": list(regressors),
        "absent_rows_are": meaning,
        "absent_rows": int(panel.offered.sum()) - int((~np.isnan(values["quantity"])).sum()),
        "zero_share": round(float((panel.quantity[counted] == 0).mean()), 4),
        "mean_quantity": round(float(panel.quantity[counted].mean()), 4),
        "series_that_ended": int(panel.ended(panel.periods).sum()),
    }
    return Loaded(panel, facts)


def load(con: duckdb.DuckDBPyConnection, path: Path) -> tuple[str, ...]:
    """Make the table `demand` of the file and return the names of its regressors; refuse what is not as documented."""
    names = read_rows(con, path, COLUMNS, FORMAT)
    regressors = tuple(name for name in names if name not in COLUMNS)
    refuse(con, path, "series", f"NOT {filled('series')}", "Name the series in each row.")
    refuse_dates(con, path, "date")
    refuse_numbers(con, path, "quantity", "Write a number.", may_be_empty=True)
    refuse(
        con,
        path,
        "quantity",
        f"{as_number('quantity')} < 0",
        "Demand is 0 or more: take returns out, and leave empty what nobody counted.",
    )
    for name in regressors:
        cure = "A regressor is a number: write groups as columns of 0 and 1."
        refuse_numbers(con, path, name, cure, may_be_empty=True)
    refuse(
        con,
        path,
        "date",
        f"count(*) OVER (PARTITION BY CAST(series AS VARCHAR), {as_date('date')} ORDER BY {PLACE} "
        "ROWS UNBOUNDED PRECEDING) > 1",
        "Each series has one row for a date: add the quantities up.",
    )
    numbers = "".join(f", {as_number(name)} AS {quoted(name)}" for name in regressors)
    con.execute(
        f"CREATE TABLE demand AS SELECT CAST(series AS VARCHAR) AS series, {as_date('date')} AS date, "
        f"{as_number('quantity')} AS quantity{numbers} FROM {ROWS}"
    )
    ((counted,),) = con.execute("SELECT count(quantity) FROM demand").fetchall()
    if not counted:
        raise BenchDataError(f"{path} has no row with a quantity. {FORMAT}")
    return regressors


def grid(path: Path, days: Any) -> tuple[Any, Frequency]:
    """All dates from the first to the last, and how far apart they are.

    Raises:
        BenchDataError: the dates are of one day only, or neither days, weeks nor months fit them.
    """
    distinct = np.unique(days)
    if len(distinct) < 2:
        raise BenchDataError(f"{path} has the date {distinct[0]} only. A forecast needs a history.")
    gaps = np.diff(distinct).astype(int)
    months = distinct.astype("datetime64[M]")
    same_day = len(np.unique(distinct - months.astype("datetime64[D]"))) == 1
    if same_day and gaps.min() >= 28:
        every = np.arange(months[0], months[-1] + 1)
        return every.astype("datetime64[D]") + (distinct[0] - months[0].astype("datetime64[D]")), MONTHLY
    if (gaps % 7 == 0).all():
        return np.arange(distinct[0], distinct[-1] + 1, 7), WEEKLY
    if np.median(gaps) > 7:
        raise BenchDataError(
            f"{path}: dates are neither daily, weekly (always the same weekday) nor monthly (always the same day): "
            f"{distinct[0]}, {distinct[1]} and {distinct[2]} follow each other. Add up to one of these."
        )
    return np.arange(distinct[0], distinct[-1] + 1), DAILY
