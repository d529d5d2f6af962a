"""How good churn predictions were over time, as assets: a backtest of the recipe, and the predictions really made."""

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from cartograph.contracts import Contract
from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.evidence import checked
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.monitoring.churn_quality import BACKTEST, POINTS, REALISED, backtest, realised
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import FEATURES, SCORES, depends_on, open_lake, pin, plain_failures, published
from ml_assets.defs.metadata import markdown_table, table_metadata
from ml_assets.defs.partitions import as_of_window, data_end
from ml_assets.defs.scoring.churn_scores import KEY as SCORES_KEY

BACKTEST_KEY = dg.AssetKey(["monitoring", BACKTEST.dataset])
QUALITY_KEY = dg.AssetKey(["monitoring", REALISED.dataset])
BEATS_THROUGHOUT = "has_beaten_the_baseline"
HELD = "predictions_held"
CALIBRATION_ERROR = 0.10
"""Of predictions made: those of a holdout are held to half of it, and the world moves on."""


@dg.asset(
    key=BACKTEST_KEY,
    deps=[FEATURES_KEY, *depends_on(["fct_orders"])],
    kinds={"scikitlearn", "iceberg"},
    tags={"domain": "customer"},
    check_specs=[
        dg.AssetCheckSpec(
            BEATS_THROUGHOUT,
            asset=BACKTEST_KEY,
            description="At each of the latest three dates, the model ranked customers better than recency did.",
        )
    ],
    description=(
        f"The churn model's recipe at {POINTS} past as-of dates: trained anew at each from what was known then, and "
        "held against what came."
    ),
)
def churn_backtest() -> dg.MaterializeResult:
    """Train and score at the past dates, and replace the table."""
    lake = open_lake()
    with plain_failures():
        inputs = pin(lake, [FEATURES, *published(["fct_orders"])])
        with lake.connect() as con:
            features, orders = inputs.selects["customer_features"], inputs.selects["fct_orders"]
            dates = as_of_dates(con, features)
            start, end = load_shop(get_settings()).start, data_end(dates)
            table = backtest(con, features, orders, dates, data_start=start, data_end=end)
        lake.ensure(f"monitoring.{BACKTEST.dataset}", BACKTEST, get_settings().partition_grain)
        with lake.overwriting(f"monitoring.{BACKTEST.dataset}", as_of_window(dates[0], dates[-1])) as writer:
            writer.write(table)
    return dg.MaterializeResult(metadata=metadata(BACKTEST, table, inputs.snapshots), check_results=[throughout(table)])


@dg.asset(
    key=QUALITY_KEY,
    deps=[FEATURES_KEY, SCORES_KEY, *depends_on(["fct_orders"])],
    kinds={"scikitlearn", "iceberg"},
    tags={"domain": "customer"},
    check_specs=[
        dg.AssetCheckSpec(
            HELD,
            asset=QUALITY_KEY,
            description=(
                "The latest predictions whose outcome is known ranked customers better than by recency, and their "
                f"probabilities were off by at most {CALIBRATION_ERROR} on average over tenths."
            ),
        )
    ],
    description="The churn predictions that were made in time, held against the orders of the 90 days after them.",
)
def churn_quality() -> dg.MaterializeResult:
    """Score all predictions whose outcome is known, and replace the table."""
    lake = open_lake()
    with plain_failures():
        inputs = pin(lake, [FEATURES, SCORES, *published(["fct_orders"])])
        selects = inputs.selects
        with lake.connect() as con:
            dates = as_of_dates(con, selects["customer_features"])
            table = realised(
                con, selects["churn_scores"], selects["customer_features"], selects["fct_orders"], data_end(dates)
            )
        lake.ensure(f"monitoring.{REALISED.dataset}", REALISED, get_settings().partition_grain)
        with lake.overwriting(f"monitoring.{REALISED.dataset}", as_of_window(dates[0], dates[-1])) as writer:
            writer.write(table)
    return dg.MaterializeResult(metadata=metadata(REALISED, table, inputs.snapshots), check_results=[held(table)])


def throughout(table: pa.Table) -> dg.AssetCheckResult:
    """Whether the latest three points of a backtest beat ranking by recency; earlier ones had little to learn from."""
    latest = table.sort_by("as_of_date").slice(max(0, len(table) - 3))
    if not len(latest):
        return _not_yet(BEATS_THROUGHOUT, "a past date with enough to train on")
    lost = latest.filter(pc.less_equal(latest["auc"], latest["recency_rule_auc"]))
    return checked(
        BEATS_THROUGHOUT,
        not len(lost),
        expected="an AUC above that of the recency rule at each of the latest dates",
        found=", ".join(
            f"{row['as_of_date']}: {row['auc']:.3f} against {row['recency_rule_auc']:.3f}" for row in latest.to_pylist()
        ),
        samples=lost["as_of_date"].to_pylist(),
        severity="warning",
    )


def held(table: pa.Table) -> dg.AssetCheckResult:
    """Whether the latest predictions that can be judged were worth having."""
    if not len(table):
        return _not_yet(HELD, "predictions that are 90 days old")
    latest = table.sort_by("as_of_date").slice(len(table) - 1).to_pylist()[0]
    beats, calibrated = latest["auc"] > latest["recency_rule_auc"], latest["calibration_error"] <= CALIBRATION_ERROR
    return checked(
        HELD,
        beats and calibrated,
        expected=f"an AUC above {latest['recency_rule_auc']:.3f}, probabilities at most {CALIBRATION_ERROR} off",
        found=f"{latest['as_of_date']}: an AUC of {latest['auc']:.3f}, {latest['calibration_error']:.3f} off",
        samples=[] if beats and calibrated else [f"version {latest['churn_model_version']}"],
        severity="warning",
        metadata={"auc": latest["auc"], "calibration_error": latest["calibration_error"]},
    )


def metadata(contract: Contract, table: pa.Table, snapshots: dict[str, int]) -> dict[str, object]:
    """What the materialisation shows: the curve."""
    curve = [
        (row["as_of_date"], row["customers"], f"{row['auc']:.3f} ({row['auc_low']:.3f} to {row['auc_high']:.3f})",
         f"{row['recency_rule_auc']:.3f}", f"{row['calibration_error']:.3f}")
        for row in table.sort_by("as_of_date").to_pylist()
    ]  # fmt: skip
    header = ("as-of date", "customers", "AUC", "recency rule", "calibration error")
    return table_metadata(contract, len(table), snapshots) | {"curve": markdown_table(header, curve)}


def _not_yet(check: str, needed: str) -> dg.AssetCheckResult:
    return checked(check, True, expected=needed, found="none", description=f"cannot judge yet: there is no {needed}")
