"""Behavioural segments as an asset: found, held against RFM quintiles and bootstrap samples, tracked, registered."""

from functools import partial
from statistics import fmean
from typing import Any

import dagster as dg

from cartograph.trust.evidence import checked
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.models import segments
from ml_assets.core.models.contests import segments_contest
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.findings import of_segments
from ml_assets.core.registry import ModelRegistry
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import FEATURES, depends_on, open_lake, pin, plain_failures, published
from ml_assets.defs.metadata import SNAPSHOTS, markdown_table, snapshot_metadata
from ml_assets.defs.partitions import data_end
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.steps import ENOUGH_DATA, Candidate, abstention, register, track

KEY = dg.AssetKey(["models", segments.NAME])
STABLE = 0.9
"""The least mean adjusted Rand index with segments of bootstrap samples."""
GAIN = 0.02
"""The least part, on average over outcomes, of what RFM quintiles leave unexplained that the segments must explain."""


@dg.asset(
    key=KEY,
    deps=[FEATURES_KEY, *depends_on(["fct_orders"])],
    kinds={"scikitlearn", "mlflow"},
    tags={"domain": "customer"},
    check_specs=[
        dg.AssetCheckSpec(
            ENOUGH_DATA,
            asset=KEY,
            description=(
                "Enough customers ordered often enough to tell how they buy; if not, there are no new segments. A "
                "young shop passes, and the check says which days are missing."
            ),
        ),
        dg.AssetCheckSpec(
            "segments_differ",
            asset=KEY,
            blocking=True,
            description=(
                f"Segments made {segments.HORIZON_DAYS} days ago explain how customers ordered since (spend, coupons, "
                f"devices, lines): on average {GAIN:.0%} or more of the variance that RFM quintiles leave."
            ),
        ),
        dg.AssetCheckSpec(
            "is_stable",
            asset=KEY,
            description=f"Bootstrap samples of the customers give the same segments: adjusted Rand index {STABLE}.",
        ),
    ],
    description=(
        "Customers who buy in the same way: device, coupons, prices, bulk, categories, browsing. KMeans among those "
        f"with {segments.FEWEST_ORDERS} orders or more, as many segments as have the highest silhouette; a segment "
        "keeps its number from one version to the next, and is named by what it differs in. JSON in MLflow's registry."
    ),
)
def customer_segments(context: dg.AssetExecutionContext, tracking: MlflowTracking) -> dg.MaterializeResult:
    """Find, judge, track, register; the version becomes the champion if the gate says so."""
    lake = open_lake()
    with plain_failures(), tracking.run(context) as mlflow_run:
        inputs = pin(lake, [FEATURES, *published(["fct_orders"])])
        registry = ModelRegistry(tracking.uri)
        champion = registry.champion(segments.NAME)
        numbered_by = champion.content.decode() if champion else segments.NO_EARLIER
        with lake.connect() as con:
            features = inputs.selects["customer_features"]
            dates = as_of_dates(con, features)
            try:
                trained = segments.train(
                    con,
                    features,
                    inputs.selects["fct_orders"],
                    dates,
                    data_end=data_end(dates),
                    earlier=segments.earlier_of(numbered_by),
                )
            except NotEnoughData as reason:
                return abstention(context, mlflow_run, reason)
            fitted = parameters(trained)
            track(mlflow_run, fitted, trained.metrics, inputs.snapshots, earlier=numbered_by)
            checks = judge(trained)
            candidate = Candidate(
                segments.NAME,
                trained.model.to_bytes(),
                trained.card,
                "json",
                partial(segments_contest, con, features, inputs.selects["fct_orders"], trained),
                parameters=fitted,
                findings=of_segments(trained),
            )
            version = register(registry, mlflow_run, candidate, checks)
    return dg.MaterializeResult(metadata=metadata(trained, version, inputs.snapshots), check_results=checks)


def parameters(trained: segments.Trained) -> dict[str, Any]:
    """What was fitted."""
    model = trained.model
    return {
        "as_of": model.as_of,
        "behaviours": ", ".join(model.behaviours),
        "segments": len(model.segments),
        "customers": trained.customers,
        "fewest_orders": segments.FEWEST_ORDERS,
        "prior_orders": segments.PRIOR_ORDERS,
        "holdout": trained.holdout,
    }


def judge(trained: segments.Trained) -> list[dg.AssetCheckResult]:
    """The checks of found segments."""
    gain = fmean(trained.gains.values()) if trained.gains else 0.0
    return [
        checked(
            ENOUGH_DATA,
            True,
            expected="enough days and customers who order often",
            found=f"{trained.customers:,} customers with {segments.FEWEST_ORDERS} orders or more",
        ),
        checked(
            "segments_differ",
            gain >= GAIN,
            expected=f"on average {GAIN:.0%} or more of what RFM quintiles leave unexplained",
            found=f"{gain:.1%}",
            metadata={"gain": gain, "outcomes": _outcomes(trained)},
        ),
        checked(
            "is_stable",
            trained.stability >= STABLE,
            expected=f"an adjusted Rand index of at least {STABLE} with bootstrap samples",
            found=f"{trained.stability:.3f}",
            severity="warning",
            metadata={"bootstrap_ari": trained.stability},
        ),
    ]


def metadata(trained: segments.Trained, version: str, snapshots: dict[str, int]) -> dict[str, Any]:
    """What the materialisation shows of the segments."""
    model = trained.model
    return {
        "model_version": version,
        "as_of_date": str(model.as_of),
        "segments": markdown_table(
            ("number", "segment", "customers", *model.behaviours),
            [(s.number, s.name, s.customers, *(f"{value:+.1f}" for value in s.centre)) for s in model.segments],
        ),
        "silhouettes": markdown_table(
            ("segments", "silhouette"), [(number, f"{value:.3f}") for number, value in trained.silhouettes.items()]
        ),
        "bootstrap_ari": trained.stability,
        "outcomes": _outcomes(trained),
        SNAPSHOTS: snapshot_metadata(snapshots),
    }


def _outcomes(trained: segments.Trained) -> dg.MarkdownMetadataValue:
    return markdown_table(
        ("outcome", "explained by RFM quintiles", "with the segments"),
        [(name, f"{rfm:.3f}", f"{trained.explained_more[name]:.3f}") for name, rfm in trained.explained.items()],
    )
