"""The churn model as an asset: trained, exported, tracked in MLflow, registered, and held against its baselines."""

from functools import partial
from typing import Any

import dagster as dg

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.evidence import checked
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.models import churn
from ml_assets.core.models.contests import churn_contest
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.training import Trained, train_churn
from ml_assets.core.registry import ModelRegistry
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import FEATURES, depends_on, open_lake, pin, plain_failures, published
from ml_assets.defs.metadata import SNAPSHOTS, markdown_table, snapshot_metadata
from ml_assets.defs.partitions import data_end
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.steps import ENOUGH_DATA, Candidate, abstention, register, track

KEY = dg.AssetKey(["models", churn.NAME])
PARITY = 1e-5
"""Largest difference of a probability between the model and its ONNX form."""
LEAKING_AUC = 0.95
"""A single feature that ranks so well knows the answer."""


@dg.asset(
    key=KEY,
    deps=[FEATURES_KEY, *depends_on(["fct_orders"])],
    kinds={"scikitlearn", "onnx", "mlflow"},
    tags={"domain": "customer"},
    check_specs=[
        dg.AssetCheckSpec(
            ENOUGH_DATA,
            asset=KEY,
            description=(
                "The shop's history is varied enough to train on; if not, there is no new model. A young shop passes, "
                "and the check says how many days are missing."
            ),
        ),
        dg.AssetCheckSpec(
            "beats_baseline", asset=KEY, blocking=True, description="Its AUC is above that of ranking by recency."
        ),
        dg.AssetCheckSpec(
            "beats_p_alive",
            asset=KEY,
            description="Its AUC is above that of the BG/NBD model, which knows only when and how often one ordered.",
        ),
        dg.AssetCheckSpec(
            "onnx_parity",
            asset=KEY,
            blocking=True,
            description=f"The exported model gives the same probabilities, within {PARITY:g} on 20,000 rows or more.",
        ),
        dg.AssetCheckSpec(
            "no_leaking_feature",
            asset=KEY,
            blocking=True,
            description=f"No feature alone has an AUC above {LEAKING_AUC}: such a one knows the answer.",
        ),
        dg.AssetCheckSpec(
            "is_calibrated",
            asset=KEY,
            description=(
                f"Predicted and observed churn differ by at most {churn.CALIBRATION_ERROR} on average over tenths."
            ),
        ),
    ],
    description=(
        f"Predicts who of the customers that ordered in the last {churn.ACTIVE_DAYS} days will not order in the next "
        f"{churn.HORIZON_DAYS}. Gradient-boosted trees with sigmoid calibration, trained on early as-of dates, "
        "evaluated on the latest whose outcome is known, kept as ONNX in the MLflow registry."
    ),
)
def churn_classifier(context: dg.AssetExecutionContext, tracking: MlflowTracking) -> dg.MaterializeResult:
    """Train, track, register; the version becomes the champion if the gate says so.

    A young shop has too little to learn from: then the champion, if there is one, stays, and what is downstream does
    without a model where there is none.
    """
    lake = open_lake()
    with plain_failures(), tracking.run(context) as mlflow_run:
        inputs = pin(lake, [FEATURES, *published(["fct_orders"])])
        with lake.connect() as con:
            dates = as_of_dates(con, inputs.selects["customer_features"])
            try:
                trained = train_churn(
                    con,
                    inputs.selects["customer_features"],
                    inputs.selects["fct_orders"],
                    dates,
                    data_start=load_shop(get_settings()).start,
                    data_end=data_end(dates),
                )
            except NotEnoughData as reason:
                return abstention(context, mlflow_run, reason)
            track(mlflow_run, parameters(trained), measures(trained), inputs.snapshots)
            checks = judge(trained)
            contest = partial(
                churn_contest, con, inputs.selects["customer_features"], inputs.selects["fct_orders"], trained
            )
            candidate = Candidate(churn.NAME, trained.content, trained.card, "onnx", contest)
            version = register(ModelRegistry(tracking.uri), mlflow_run, candidate, checks)
    return dg.MaterializeResult(metadata=metadata(trained, version, inputs.snapshots), check_results=checks)


def parameters(trained: Trained) -> dict[str, Any]:
    """What the model was trained with."""
    split = trained.split
    return {
        **churn.boosting(trained.training_rows),
        "calibration": "sigmoid",
        "horizon_days": churn.HORIZON_DAYS,
        "active_days": churn.ACTIVE_DAYS,
        "training_from": split.training[0],
        "training_to": split.training[-1],
        "training_dates": len(split.training),
        "training_rows": trained.training_rows,
        "holdout": split.holdout,
        "features": len(trained.names),
    }


def measures(trained: Trained) -> dict[str, float]:
    """How good it is, its baselines, and how far its export is from it."""
    baselines = {f"baseline_{name}_auc": value for name, value in trained.baselines.items()}
    return trained.metrics | baselines | {"onnx_parity": trained.parity}


def judge(trained: Trained) -> list[dg.AssetCheckResult]:
    """The checks of a trained model."""
    scores, worst = trained.scores, next(iter(trained.feature_aucs.items()))
    recency, p_alive = trained.baselines["recency_rule"], trained.baselines["p_alive"]
    auc = scores.auc.value
    return [
        checked(
            ENOUGH_DATA,
            True,
            expected="enough days and both labels",
            found=f"{trained.training_rows} rows of {len(trained.split.training)} as-of dates to train on",
        ),
        checked(
            "beats_baseline",
            auc > recency,
            expected=f"an AUC above {recency:.3f}, that of the recency rule",
            found=f"an AUC of {auc:.3f}",
            metadata={"auc": auc, "recency_rule_auc": recency},
        ),
        checked(
            "beats_p_alive",
            auc > p_alive,
            expected=f"an AUC above {p_alive:.3f}, that of P(alive)",
            found=f"an AUC of {auc:.3f}",
            severity="warning",
            metadata={"auc": auc, "p_alive_auc": p_alive},
        ),
        checked(
            "onnx_parity",
            trained.parity <= PARITY,
            expected=f"differences of at most {PARITY:g}",
            found=f"a worst difference of {trained.parity:.1e} over {trained.parity_rows} rows",
            metadata={"worst_difference": trained.parity},
        ),
        checked(
            "no_leaking_feature",
            worst[1] <= LEAKING_AUC,
            expected=f"no feature alone with an AUC above {LEAKING_AUC}",
            found=f"{worst[0]} alone has an AUC of {worst[1]:.3f}",
            samples=[name for name, alone in trained.feature_aucs.items() if alone > LEAKING_AUC],
            metadata={"aucs": markdown_table(("feature", "AUC alone"), list(trained.feature_aucs.items())[:10])},
        ),
        checked(
            "is_calibrated",
            scores.ece <= churn.CALIBRATION_ERROR,
            expected=f"an expected calibration error of at most {churn.CALIBRATION_ERROR}",
            found=f"{scores.ece:.3f}",
            severity="warning",
            metadata={"ece": scores.ece},
        ),
    ]


def metadata(trained: Trained, version: str, snapshots: dict[str, int]) -> dict[str, Any]:
    """What the materialisation shows of the model."""
    split, scores = trained.split, trained.scores
    return {
        "model_version": version,
        "training_rows": trained.training_rows,
        "training_dates": f"{split.training[0]} to {split.training[-1]}",
        "holdout_date": str(split.holdout),
        "holdout_rows": scores.rows,
        "auc": scores.auc.value,
        "auc_interval": f"{scores.auc.low:.3f} to {scores.auc.high:.3f}",
        "brier": scores.brier,
        "lift_top_decile": scores.lift,
        "baselines": markdown_table(("baseline", "AUC"), [(k, f"{v:.3f}") for k, v in trained.baselines.items()]),
        "calibration": markdown_table(
            ("rows", "predicted", "observed"),
            [(b.rows, f"{b.predicted:.3f}", f"{b.observed:.3f}") for b in scores.bins],
        ),
        SNAPSHOTS: snapshot_metadata(snapshots),
    }
