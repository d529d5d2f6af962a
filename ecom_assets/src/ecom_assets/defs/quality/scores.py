"""The asset `quality/scores`: how good each dataset's rows of a partition are, with their history.

What a score is made of is in `ecom_assets.quality.scores`; weights, and the lowest score that passes, are in the shop's
file.
"""

from datetime import timedelta

import dagster as dg

from cartograph.lake import Lake
from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.evidence import checked
from cartograph.trust.gate import looked_at
from cartograph.windows import Window
from ecom_assets.components.source_component import column_schema
from ecom_assets.contracts import CONTRACTS
from ecom_assets.defs.partitions import window_partitions, windows_of
from ecom_assets.ingestion import quarantine_table, raw_table
from ecom_assets.quality.policy import Grades, Severity, dataset_policy, score_policy
from ecom_assets.quality.scores import CONTRACT, PARTS, TABLE, Score, dataset_scores, scores_table

KEY = dg.AssetKey(["quality", "scores"])
CHECK = "scores_are_high"
FACTS = {
    "orders": ("fct_orders", "order_date"),
    "order_items": ("fct_order_items", "order_date"),
    "payments": ("fct_payments", "payment_date"),
    "refunds": ("fct_refunds", "refund_date"),
    "reviews": ("fct_reviews", "review_date"),
    "events": ("fct_events", "event_date"),
    "inventory": ("fct_inventory_daily", "snapshot_date"),
    "marketing_spend": ("fct_marketing_spend", "spend_date"),
}
"""The fact that has a row for each thing in a dataset, and the fact's date."""


@dg.definitions
def score_definitions() -> dg.Definitions:
    """The asset, over the datasets that the chosen shop has."""
    shop = load_shop(get_settings())
    contracts = [contract for contract in CONTRACTS.values() if contract.dataset in shop.datasets]
    facts = {name: fact for name, fact in FACTS.items() if name in shop.datasets}
    policy = score_policy(shop.quality)

    @dg.asset(
        key=KEY,
        group_name="quality",
        kinds={"duckdb", "iceberg"},
        owners=["team:data-platform"],
        tags={"domain": "quality"},
        metadata={"dagster/column_schema": column_schema(CONTRACT), "dagster/table_name": TABLE},
        description=(
            "The quality of each dataset's rows of a partition, 0 to 100: complete, unique, valid, consistent, timely, "
            "and found again in the published facts."
        ),
        partitions_def=window_partitions(),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[
            *(["raw", contract.dataset] for contract in contracts),
            *(["published", fact] for fact, _ in facts.values()),
        ],
        check_specs=[
            dg.AssetCheckSpec(
                CHECK, asset=KEY, blocking=True, description="Each dataset's score is high enough in each partition."
            )
        ],
    )
    def scores(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        settings, windows = get_settings(), windows_of(context)
        lake, window = Lake.from_settings(settings), Window(windows[0].start, windows[-1].end)
        found: list[Score] = []
        with lake.connect() as connection:
            for contract in contracts:
                fact = facts.get(contract.dataset)
                found += dataset_scores(
                    connection,
                    contract,
                    lake.relation_sql(raw_table(contract.dataset)),
                    lake.relation_sql(quarantine_table(contract.dataset)),
                    (lake.relation_sql(f"published.{fact[0]}"), fact[1]) if fact else None,
                    grain=settings.partition_grain,
                    window=window,
                    late_after=timedelta(hours=dataset_policy(shop.quality, contract.dataset).few_rows_are_late.hours),
                )
        lake.ensure(TABLE, CONTRACT, settings.partition_grain)
        with lake.overwriting(TABLE, window) as writer:
            writer.write(scores_table(found, policy))
        values = [(score, score.value(policy.weights)) for score in found]
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(found),
                "newest": dg.MetadataValue.md(newest_scores(values, policy.grades)),
            },
            check_results=[judge(values, policy.at_least, policy.severity, window)],
        )

    return dg.Definitions(assets=[scores])


def judge(
    values: list[tuple[Score, float]], at_least: float, severity: Severity, window: Window
) -> dg.AssetCheckResult:
    """Whether all scores are high enough; the lowest are named."""
    low = sorted((value, score) for score, value in values if value < at_least)
    lowest = min((value for _, value in values), default=100.0)
    return checked(
        CHECK,
        not low,
        expected=f"a score of {at_least:g} or more for each dataset and partition",
        found=f"a lowest score of {lowest:.2f}; {len(low)} of {len(values)} too low",
        samples=[f"{score.dataset} {score.window_start.date()}: {value:.2f}" for value, score in low],
        severity=severity,
        metadata=looked_at(window),
    )


def newest_scores(values: list[tuple[Score, float]], grades: Grades) -> str:
    """Each dataset's score of its newest partition, as a table for the UI."""
    newest = {score.dataset: (score, value) for score, value in values}
    lines = [f"| dataset | partition | rows | score | grade | {' | '.join(PARTS)} |", "| --- " * (5 + len(PARTS)) + "|"]
    for score, value in newest.values():
        parts = " | ".join("" if score.parts[part] is None else f"{score.parts[part]:.2f}" for part in PARTS)
        start = score.window_start.date()
        lines.append(
            f"| {score.dataset} | {start} | {score.delivered_rows:,} | {value:.2f} | {grades.of(value)} | {parts} |"
        )
    return "\n".join(lines)
