"""Whether the customers whom models are asked about still look as they did, as an asset with a check that warns."""

import dagster as dg

from cartograph.settings import get_settings
from cartograph.trust.evidence import checked
from cartograph.words import listed
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.monitoring import input_drift
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import FEATURES, open_lake, pin, plain_failures
from ml_assets.defs.metadata import markdown_table, table_metadata
from ml_assets.defs.partitions import as_of_window

KEY = dg.AssetKey(["monitoring", "customer_feature_drift"])
TABLE = "monitoring.customer_feature_drift"
CHECK = "inputs_are_usual"


@dg.asset(
    key=KEY,
    deps=[FEATURES_KEY],
    kinds={"scikitlearn", "iceberg"},
    tags={"domain": "customer"},
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset=KEY,
            description=(
                "A classifier tells the customers of the latest as-of date from those of the dates before it no better "
                "than it has told earlier dates from theirs, and no feature alone differs twice as much as ever before."
            ),
        )
    ],
    description=(
        "How much the active customers of each of the latest as-of dates differ from those of the "
        f"{input_drift.REFERENCE_DATES} dates before it: each feature by population stability index and Kolmogorov and "
        "Smirnov's distance, all together by a classifier that tells them apart."
    ),
)
def customer_feature_drift() -> dg.MaterializeResult:
    """Compare the dates, and replace the table."""
    lake = open_lake()
    with plain_failures():
        inputs = pin(lake, [FEATURES])
        with lake.connect() as con:
            features = inputs.selects["customer_features"]
            dates = as_of_dates(con, features)
            table = input_drift.drift(con, features, dates)
        lake.ensure(TABLE, input_drift.CONTRACT, get_settings().partition_grain)
        with lake.overwriting(TABLE, as_of_window(dates[0], dates[-1])) as writer:
            writer.write(table)
    return dg.MaterializeResult(
        metadata=table_metadata(input_drift.CONTRACT, len(table), inputs.snapshots),
        check_results=[judge(input_drift.judge(table))],
    )


def judge(found: input_drift.Judgement | None) -> dg.AssetCheckResult:
    """The check; input drift warns only, as predictions may hold all the same."""
    if found is None or found.limit is None:
        return checked(
            CHECK,
            True,
            expected=f"{input_drift.REFERENCE_DATES + input_drift.FEWEST_EARLIER + 1} as-of dates, 28 days apart",
            found="fewer dates" if found is None else "too few earlier comparisons",
            description="cannot judge yet: too few as-of dates to know how much they usually differ",
        )
    told = f"most changed: {', '.join(name for name, _ in found.most_changed)}"
    if found.unusual:
        told = f"so far apart never before: {listed(found.unusual)}"
    return checked(
        CHECK,
        found.is_usual,
        expected=(
            f"an AUC of at most {found.limit:.3f} between {found.as_of} and the dates before it, and no feature that "
            f"differs {input_drift.TIMES:g} times as much as ever before"
        ),
        found=f"{found.auc:.3f}; {told}",
        samples=[] if found.is_usual else found.unusual or [name for name, _ in found.most_changed],
        severity="warning",
        metadata={
            "domain_auc": found.auc,
            "most_changed": markdown_table(
                ("feature", "stability index"), [(name, f"{value:.3f}") for name, value in found.most_changed]
            ),
        },
    )
