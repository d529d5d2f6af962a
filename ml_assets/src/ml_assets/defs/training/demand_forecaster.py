"""The demand forecast as an asset: trained, held against statistical baselines, tracked, registered."""

from functools import partial
from typing import Any

import dagster as dg

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.evidence import checked
from ml_assets.core.models.contests import demand_contest
from ml_assets.core.models.demand import daily, predictions
from ml_assets.core.models.demand.forecaster import INTERVAL
from ml_assets.core.models.demand.training import NAME, Trained, train
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.findings import of_demand
from ml_assets.core.registry import ModelRegistry
from ml_assets.defs.features.daily_demand import KEY as DEMAND_KEY
from ml_assets.defs.marts import DEMAND, depends_on, open_lake, pin, plain_failures, published
from ml_assets.defs.metadata import SNAPSHOTS, markdown_table, snapshot_metadata
from ml_assets.defs.scoring.demand import latest_as_of
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.steps import ENOUGH_DATA, Candidate, abstention, register, track

KEY = dg.AssetKey(["models", NAME])
TIE = 0.02
"""A loss to the best of the baselines by at most this share only warns: in months without a sale or a season, none can
be beaten by more, and what a backtest says of so little is chance."""
COVERAGE_WITHIN = 0.05
"""How far the interval's coverage may be from its level. The days of a window err together: on the simulated shop the
coverages of single windows have a standard deviation of 0.04, so that of four windows has one of 0.02."""


@dg.asset(
    key=KEY,
    deps=[DEMAND_KEY, *depends_on(["dim_dates"])],
    kinds={"lightgbm", "mlflow"},
    tags={"domain": "product"},
    check_specs=[
        dg.AssetCheckSpec(
            ENOUGH_DATA,
            asset=KEY,
            description=(
                "The history is long and varied enough to train and test on; if not, there is no new model. A young "
                "shop passes, and the check says how many days are missing."
            ),
        ),
        dg.AssetCheckSpec(
            "beats_baselines",
            asset=KEY,
            blocking=True,
            description=(
                "Its weighted RMSSE over rolling windows is below that of seasonal naive, Theta, exponential smoothing "
                f"and Croston, each fitted to the product alone. A loss within chance or of up to {TIE:.0%} warns, a "
                "larger one blocks."
            ),
        ),
        dg.AssetCheckSpec(
            "interval_holds",
            asset=KEY,
            description=(
                f"Its {INTERVAL:.0%} interval holds {INTERVAL:.0%} of the days of rolling windows, within "
                f"{COVERAGE_WITHIN:.0%}."
            ),
        ),
    ],
    description=(
        "Forecasts the units that will be asked for of each product on each of the days ahead, with intervals: one "
        "LightGBM for all products on recent levels, weekdays, season and holidays. Held against four statistical "
        "baselines over rolling windows, then fitted on all of the data; JSON with LightGBM's text form of the trees "
        "in the MLflow registry, read without running any code."
    ),
)
def demand_forecaster(context: dg.AssetExecutionContext, tracking: MlflowTracking) -> dg.MaterializeResult:
    """Train, track, register; the version becomes the champion if the gate says so."""
    lake, replenishment = open_lake(), load_shop(get_settings()).replenishment
    with plain_failures(), tracking.run(context) as mlflow_run:
        inputs = pin(lake, [DEMAND, *published(["dim_dates"])])
        with lake.connect() as con:
            try:
                as_of = latest_as_of(con, inputs.selects)
                days_ahead = predictions.horizon(replenishment)
                demand = daily.read(con, inputs.selects, as_of, days_ahead)
                trained = train(demand, days_ahead)
            except NotEnoughData as reason:
                return abstention(context, mlflow_run, reason)
        fitted = parameters(trained)
        track(mlflow_run, fitted, measures(trained), inputs.snapshots, horizon_days=days_ahead)
        checks = judge(trained)
        candidate = Candidate(
            NAME,
            trained.model.to_text().encode(),
            trained.card,
            "json",
            partial(demand_contest, demand, days_ahead),
            parameters=fitted,
            findings=of_demand(trained),
        )
        version = register(ModelRegistry(tracking.uri), mlflow_run, candidate, checks)
    return dg.MaterializeResult(metadata=metadata(trained, version, inputs.snapshots), check_results=checks)


def parameters(trained: Trained) -> dict[str, Any]:
    """What the model was trained with."""
    return {
        **trained.model.parameters._asdict(),
        "as_of": trained.as_of,
        "horizon_days": trained.model.horizon,
        "windows_from": trained.tested[0],
        "windows": len(trained.tested),
        "products": trained.products,
        "features": len(trained.model.names),
    }


def measures(trained: Trained) -> dict[str, float]:
    """How good it was in the windows, and its baselines."""
    return trained.metrics | {f"baseline_{name}_weighted_rmsse": value for name, value in trained.baselines.items()}


def judge(trained: Trained) -> list[dg.AssetCheckResult]:
    """The checks of a trained model."""
    best, error = trained.best_baseline, trained.scores.weighted_rmsse
    bar, covered = trained.baselines[best], trained.coverage
    return [
        checked(
            ENOUGH_DATA,
            True,
            expected="enough days and products that are ordered",
            found=f"{trained.products:,} products before {trained.as_of}",
        ),
        checked(
            "beats_baselines",
            error < bar,
            expected=f"a weighted RMSSE below {bar:.3f}, that of {best}",
            found=f"{error:.3f} for {trained.scored} products over {len(trained.tested)} windows",
            severity="warning" if error <= (1 + TIE) * bar or trained.loss.low <= 0 else "error",
            metadata={"weighted_rmsse": error, "best_baseline_weighted_rmsse": bar, "loss_at_least": trained.loss.low},
        ),
        checked(
            "interval_holds",
            abs(covered - INTERVAL) <= COVERAGE_WITHIN,
            expected=f"{INTERVAL:.0%} of the days, within {COVERAGE_WITHIN:.0%}",
            found=f"{covered:.1%}; by window {', '.join(f'{share:.1%}' for share in trained.coverages)}",
            severity="warning",
            metadata={"interval_coverage": covered},
        ),
    ]


def metadata(trained: Trained, version: str, snapshots: dict[str, int]) -> dict[str, Any]:
    """What the materialisation shows of the model."""
    return {
        "model_version": version,
        "as_of_date": str(trained.as_of),
        "horizon_days": trained.model.horizon,
        "products": trained.products,
        "weighted_rmsse": trained.scores.weighted_rmsse,
        "interval_coverage": trained.coverage,
        "windows": markdown_table(
            ("from", "days in the interval"),
            [(day, f"{share:.1%}") for day, share in zip(trained.tested, trained.coverages, strict=True)],
        ),
        "baselines": markdown_table(
            ("baseline", "weighted RMSSE"), [(name, f"{value:.3f}") for name, value in trained.baselines.items()]
        ),
        SNAPSHOTS: snapshot_metadata(snapshots),
    }
