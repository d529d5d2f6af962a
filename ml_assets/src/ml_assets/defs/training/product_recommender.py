"""The recommender as an asset: tuned, held against popularity and other methods, tracked in MLflow, registered."""

from functools import partial
from typing import Any

import dagster as dg

from cartograph.trust.evidence import checked
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.models.contests import recommender_contest
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.findings import of_recommender
from ml_assets.core.models.recommendation.product_recommender import NAME
from ml_assets.core.models.recommendation.purchases import catalogue, purchases
from ml_assets.core.models.recommendation.training import (
    CHOSEN,
    FEWEST_CUSTOMERS,
    HORIZON_DAYS,
    POPULARITY,
    TRIALS,
    Trained,
    train,
)
from ml_assets.core.registry import ModelRegistry
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import FEATURES, depends_on, open_lake, pin, plain_failures, published
from ml_assets.defs.metadata import SNAPSHOTS, markdown_table, snapshot_metadata
from ml_assets.defs.partitions import scoring_date
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.steps import ENOUGH_DATA, Candidate, abstention, register, track

KEY = dg.AssetKey(["models", NAME])
MARTS = ("fct_order_items", "dim_products")
TIMES_POPULARITY = 2.0
"""The least NDCG@10 and recall@20, as a multiple of popularity's."""
NDCG, RECALL = "ndcg@10", "recall@20"


@dg.asset(
    key=KEY,
    deps=[FEATURES_KEY, *depends_on(MARTS)],
    kinds={"scipy", "mlflow"},
    tags={"domain": "catalog"},
    check_specs=[
        dg.AssetCheckSpec(
            ENOUGH_DATA,
            asset=KEY,
            description=(
                f"In each of the last two windows of {HORIZON_DAYS} days, {FEWEST_CUSTOMERS} customers or more bought "
                "again; if not, there is no new model. A young shop passes, and the check says what is missing."
            ),
        ),
        dg.AssetCheckSpec(
            "beats_popularity",
            asset=KEY,
            blocking=True,
            description=(
                "Its NDCG@10 and recall@20 are above those of recommending to everybody what is bought most: all "
                f"products ranked, on days that it did not know. It warns below {TIMES_POPULARITY:g} times of these."
            ),
        ),
        dg.AssetCheckSpec(
            "beats_knn_and_als",
            asset=KEY,
            description="Its NDCG@10 is not below that of cosine neighbours and of matrix factorisation.",
        ),
    ],
    description=(
        "Which products a customer, a basket or a session leads to: a blend of EASE, transitions and cosine neighbours "
        f"as one items × items matrix, tuned by {TRIALS} trials on the {HORIZON_DAYS} days before the last "
        f"{HORIZON_DAYS}, held against popularity, neighbours and ALS on these, then learned from all purchases; an "
        "Arrow file in the MLflow registry, which knows products and no customers."
    ),
)
def product_recommender(context: dg.AssetExecutionContext, tracking: MlflowTracking) -> dg.MaterializeResult:
    """Tune, learn, track, register; the version becomes the champion if the gate says so."""
    lake = open_lake()
    with plain_failures(), tracking.run(context) as mlflow_run:
        inputs = pin(lake, [FEATURES, *published(MARTS)])
        with lake.connect() as con:
            as_of = scoring_date(as_of_dates(con, inputs.selects["customer_features"]))
            products = catalogue(con, inputs.selects["dim_products"])
            data = purchases(con, inputs.selects["fct_order_items"], products, as_of)
        try:
            trained = train(data, as_of)
        except NotEnoughData as reason:
            return abstention(context, mlflow_run, reason)
        fitted = parameters(trained)
        track(mlflow_run, fitted, measures(trained), inputs.snapshots)
        checks = judge(trained)
        candidate = Candidate(
            NAME,
            trained.recommender.to_bytes(),
            trained.card,
            "arrow",
            partial(recommender_contest, data, trained),
            parameters=fitted,
            findings=of_recommender(trained),
        )
        version = register(ModelRegistry(tracking.uri), mlflow_run, candidate, checks)
    return dg.MaterializeResult(metadata=metadata(trained, version, inputs.snapshots), check_results=checks)


def parameters(trained: Trained) -> dict[str, Any]:
    """What was found, and with which budget."""
    recommender = trained.recommender
    return {
        **trained.parameters._asdict(),
        "ease_penalty": trained.penalty,
        "popularity_half_life_days": trained.popularity_half_life,
        "trials": TRIALS,
        "horizon_days": HORIZON_DAYS,
        "as_of": recommender.as_of,
        "exclude_seen": recommender.exclude_seen,
        "products": len(recommender.catalogue.products),
    }


def measures(trained: Trained) -> dict[str, float]:
    """How good it was on the test window, and its baselines; MLflow's names have no @."""
    found = trained.metrics | {f"baseline.{name}": value for name, value in trained.baselines.items()}
    return {name.replace("@", "_at_"): value for name, value in found.items()} | {
        "validation.ndcg_at_10": trained.validation,
        "customers": trained.customers,
        "newcomers": trained.newcomers,
    }


def judge(trained: Trained) -> list[dg.AssetCheckResult]:
    """The checks of a trained recommender."""
    chosen, popular = trained.scores[CHOSEN], trained.scores[POPULARITY]
    ratios = {metric: _ratio(chosen[metric].value, popular[metric].value) for metric in (NDCG, RECALL)}
    least = min(ratios.values())
    ndcg = chosen[NDCG].value
    knn, als = (trained.scores[name][NDCG].value for name in ("cosine_knn", "als"))
    return [
        checked(
            ENOUGH_DATA,
            True,
            expected=f"{FEWEST_CUSTOMERS} customers who bought again in each window",
            found=f"{trained.customers:,} customers bought in the last {HORIZON_DAYS} days",
        ),
        checked(
            "beats_popularity",
            least >= TIMES_POPULARITY,
            expected=f"{TIMES_POPULARITY:g} times the NDCG@10 and the recall@20 of popularity",
            found=f"{ratios[NDCG]:.2f} times its NDCG@10, {ratios[RECALL]:.2f} times its recall@20",
            severity="error" if least <= 1 else "warning",
            metadata={
                f"{name}.{metric}": trained.scores[name][metric].value
                for name in (CHOSEN, POPULARITY)
                for metric in (NDCG, RECALL)
            },
        ),
        checked(
            "beats_knn_and_als",
            ndcg >= max(knn, als),
            expected=f"an NDCG@10 of at least {max(knn, als):.3f}",
            found=f"{ndcg:.3f}; cosine neighbours {knn:.3f}, ALS {als:.3f}",
            severity="warning",
            metadata={NDCG: ndcg, "cosine_knn": knn, "als": als},
        ),
    ]


def metadata(trained: Trained, version: str, snapshots: dict[str, int]) -> dict[str, Any]:
    """What the materialisation shows of the model."""
    ndcg = trained.scores[CHOSEN][NDCG]
    return {
        "model_version": version,
        "as_of_date": str(trained.recommender.as_of),
        "customers_scored": trained.customers,
        "ndcg_at_10": ndcg.value,
        "ndcg_at_10_interval": f"{ndcg.low:.3f} to {ndcg.high:.3f}",
        "recall_at_20": trained.scores[CHOSEN][RECALL].value,
        "coverage": trained.coverage,
        "novelty_bits": trained.novelty,
        "scores": markdown_table(
            ("model", "NDCG@10", "recall@20", "hit rate@10"),
            [
                (name, *(f"{found[metric].value:.3f}" for metric in (NDCG, RECALL, "hit_rate@10")))
                for name, found in trained.scores.items()
            ],
        ),
        "cold_start": markdown_table(
            ("model", f"NDCG@10 of {trained.newcomers} newcomers"),
            [(name, f"{value:.3f}") for name, value in trained.cold_start.items()],
        ),
        "parameters": markdown_table(("parameter", "value"), [(k, f"{v}") for k, v in parameters(trained).items()]),
        SNAPSHOTS: snapshot_metadata(snapshots),
    }


def _ratio(value: float, baseline: float) -> float:
    return value / baseline if baseline else float(value > 0) * TIMES_POPULARITY
