"""The lifetime-value model as an asset: fitted, held against what customers spent, tracked, registered."""

from functools import partial
from typing import Any

import dagster as dg
import numpy as np

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.evidence import checked
from ml_assets.core.evaluation.promotion import gain
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.models import clv
from ml_assets.core.models.contests import clv_contest
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.findings import of_clv
from ml_assets.core.registry import ModelRegistry
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import FEATURES, delivered, depends_on, open_lake, pin, plain_failures, published
from ml_assets.defs.metadata import SNAPSHOTS, markdown_table, snapshot_metadata
from ml_assets.defs.partitions import data_end
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.steps import ENOUGH_DATA, Candidate, abstention, register, track

KEY = dg.AssetKey(["models", clv.NAME])
BEATS = 0.65
"""The largest mean absolute error, as a share of that of each customer's own rate going on."""
MARTS = ("fct_orders", "fct_order_items", "fct_refunds")


@dg.asset(
    key=KEY,
    deps=[FEATURES_KEY, *depends_on(delivered(MARTS))],
    kinds={"scipy", "mlflow"},
    tags={"domain": "customer"},
    check_specs=[
        dg.AssetCheckSpec(
            ENOUGH_DATA,
            asset=KEY,
            description=(
                "Enough customers came back to fit; if not, there is no new model. A young shop passes, and the check "
                "says which days are missing."
            ),
        ),
        dg.AssetCheckSpec(
            "beats_own_rate",
            asset=KEY,
            blocking=True,
            description=(
                f"Its mean absolute error is at most {BEATS} of that of assuming that each customer goes on to spend "
                "as much a day as since the first order."
            ),
        ),
        dg.AssetCheckSpec(
            "beats_last_period",
            asset=KEY,
            description=(
                "Its mean absolute error is below that of assuming that each spends what they last spent, beyond "
                "chance. Only warns: most customers are nearer to nothing than to what can be expected of them."
            ),
        ),
        dg.AssetCheckSpec(
            "total_holds",
            asset=KEY,
            description=(
                f"All customers together spent what was predicted, within {clv.TOTAL_WITHIN:.0%} or what chance makes "
                "of so few."
            ),
        ),
    ],
    description=(
        f"Predicts what each customer will order in the next {clv.HORIZON_DAYS} days and what that is worth: BG/NBD on "
        "the shop's own clock for the orders, Gamma-Gamma for their worth, net of cancellations, refunds and costs, "
        f"discounted. Held against the last {clv.HOLDOUT_DAYS} days, then fitted on all of the data; JSON in the "
        "MLflow registry."
    ),
)
def customer_lifetime_value(context: dg.AssetExecutionContext, tracking: MlflowTracking) -> dg.MaterializeResult:
    """Fit, track, register; the version becomes the champion if the gate says so."""
    lake = open_lake()
    with plain_failures(), tracking.run(context) as mlflow_run:
        inputs = pin(lake, [FEATURES, *published(delivered(MARTS))])
        with lake.connect() as con:
            features = inputs.selects["customer_features"]
            dates = as_of_dates(con, features)
            start, end = load_shop(get_settings()).start, data_end(dates)
            try:
                trained = clv.train(con, features, inputs.selects, dates, data_start=start, data_end=end)
            except NotEnoughData as reason:
                return abstention(context, mlflow_run, reason)
            fitted = parameters(trained)
            track(mlflow_run, fitted, measures(trained), inputs.snapshots)
            checks = judge(trained)
            contest = partial(clv_contest, con, features, inputs.selects, trained, start, end)
            candidate = Candidate(
                clv.NAME, trained.model.to_bytes(), trained.card, "json", contest, fitted, of_clv(trained)
            )
            version = register(ModelRegistry(tracking.uri), mlflow_run, candidate, checks)
    return dg.MaterializeResult(metadata=metadata(trained, version, inputs.snapshots), check_results=checks)


def parameters(trained: clv.Trained) -> dict[str, Any]:
    """What was fitted."""
    model = trained.model
    return {
        **{f"bg_nbd_{name}": value for name, value in model.rates._asdict().items()},
        **{f"gamma_gamma_{name}": value for name, value in model.spend._asdict().items()},
        "kept_share": model.kept_share,
        "margin_rate": model.margin_rate,
        "as_of": model.as_of,
        "holdout": trained.holdout,
        "holdout_days": clv.HOLDOUT_DAYS,
        "yearly_discount": clv.YEARLY_DISCOUNT,
    }


def measures(trained: clv.Trained) -> dict[str, float]:
    """How good it was on the holdout, and its baselines."""
    return trained.metrics | {f"baseline_{name}_mae": value for name, value in trained.baselines.items()}


def judge(trained: clv.Trained) -> list[dg.AssetCheckResult]:
    """The checks of a fitted model."""
    scores, own, last = trained.scores, trained.baselines["own_rate"], trained.baselines["last_period"]
    errors, usual = (np.abs(values - trained.actual) for values in (trained.predicted, trained.usual["last_period"]))
    found, tolerated = gain(usual, errors), clv.tolerated_total(trained.actual, trained.predicted)
    return [
        checked(
            ENOUGH_DATA,
            True,
            expected="enough days and customers who came back",
            found=f"{trained.customers:,} customers before {trained.holdout}",
        ),
        checked(
            "beats_own_rate",
            scores.mae <= BEATS * own,
            expected=f"a mean absolute error of at most {BEATS * own:.2f}: {BEATS} of {own:.2f}",
            found=f"{scores.mae:.2f}",
            metadata={"mae": scores.mae, "own_rate_mae": own},
        ),
        checked(
            "beats_last_period",
            found.low > 0,
            expected=f"a mean absolute error below {last:.2f}, beyond chance",
            found=f"{scores.mae:.2f}: smaller by {found.value:.2f} (95 % bounds {found.low:.2f} to {found.high:.2f})",
            severity="warning",
            metadata={"mae": scores.mae, "last_period_mae": last, "gain_low": found.low, "gain_high": found.high},
        ),
        checked(
            "total_holds",
            abs(scores.total_ratio - 1) <= tolerated,
            expected=f"{scores.actual:,.0f} in {clv.HOLDOUT_DAYS} days, within {tolerated:.1%}",
            found=f"{scores.predicted:,.0f}, {scores.total_ratio - 1:+.1%}",
            severity="warning",
            metadata={"total_ratio": scores.total_ratio, "tolerated": tolerated},
        ),
    ]


def metadata(trained: clv.Trained, version: str, snapshots: dict[str, int]) -> dict[str, Any]:
    """What the materialisation shows of the model."""
    scores = trained.scores
    return {
        "model_version": version,
        "as_of_date": str(trained.model.as_of),
        "holdout_date": str(trained.holdout),
        "holdout_customers": trained.customers,
        "mae": scores.mae,
        "total_ratio": scores.total_ratio,
        "normalised_gini": scores.gini,
        "parameters": markdown_table(("parameter", "value"), [(k, f"{v}") for k, v in parameters(trained).items()]),
        "baselines": markdown_table(("baseline", "MAE"), [(k, f"{v:.2f}") for k, v in trained.baselines.items()]),
        "calibration": markdown_table(
            ("customers", "predicted", "came"), [(b.rows, f"{b.predicted:.2f}", f"{b.actual:.2f}") for b in scores.bins]
        ),
        SNAPSHOTS: snapshot_metadata(snapshots),
    }
