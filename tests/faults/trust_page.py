"""The page `docs/trust.md`: the faults that the tests plant, who tells of each, and what becomes of the rows.

`python -m tests.faults.trust_page` writes it. The faults of files stand in `drops`; the others have tests of their own,
which are named here.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from tests.faults.drops import FAULTS, Outcome

DOCUMENT = Path(__file__).parents[2] / "docs" / "trust.md"
WITHOUT_FILES = (
    (
        "the main job is killed ten times at random moments",
        "the next run gives the same marts",
        "tests/integration/test_killed_run.py",
        "test_ten_kills_change_nothing",
    ),
    (
        "a wrong drop is loaded, and further runs leave the failed asset out or only release",
        "each is refused by the check's name; marts that are published and the release stay as they were",
        "tests/integration/test_wrong_drop.py",
        "test_stock_a_hundred_times_too_high_is_published_and_released_by_no_run",
    ),
    (
        "a writer of the lake is killed at any moment",
        "a table is old or new",
        "tests/faults/test_lake_faults.py",
        "test_a_killed_writer_leaves_the_old_rows_or_the_new",
    ),
    (
        "the disk is full",
        "the old rows stay; with room, the next write works",
        "tests/faults/test_lake_faults.py",
        "test_a_full_disk_leaves_the_old_rows_and_the_next_write_works",
    ),
    (
        "the disk of the home is full while a run is at work",
        "the run says so; with room, the next one goes on",
        "tests/integration/test_full_disk.py",
        "test_a_run_on_a_full_disk_says_so_and_loses_nothing",
    ),
    (
        "maintenance is killed",
        "no row changes; the next one finishes it",
        "tests/faults/test_lake_faults.py",
        "test_killed_maintenance_changes_no_row_and_is_finished_by_the_next",
    ),
    (
        "two runs write the same partition at once",
        "the rows of one of them",
        "tests/faults/test_lake_faults.py",
        "test_writers_of_the_same_window_at_once_leave_the_rows_of_one",
    ),
    (
        "runs write different partitions at once",
        "the rows of all",
        "tests/faults/test_lake_faults.py",
        "test_writers_of_different_windows_at_once_all_land",
    ),
    (
        "the catalog's answer to a commit is lost",
        "the commit is made once",
        "tests/faults/test_lake_faults.py",
        "test_a_commit_whose_answer_was_lost_is_made_once",
    ),
    (
        "the catalog is locked",
        "writers wait, readers do not",
        "tests/unit/lake/test_catalog.py",
        "test_the_catalog_waits_for_locks_and_lets_readers_through",
    ),
    (
        "the catalog cannot be read",
        "an error with the cure",
        "tests/unit/lake/test_catalog.py",
        "test_a_database_that_is_no_catalog_any_more_says_so",
    ),
    (
        "files of the lake are gone",
        "an error with the cure",
        "tests/unit/lake/test_catalog.py",
        "test_a_lake_whose_files_have_gone_says_so",
    ),
    (
        "Dagster's run history is damaged",
        "an error with the cure; lake and releases do not need it",
        "tests/integration/test_commands.py",
        "test_a_damaged_run_history_is_named",
    ),
    (
        "a file changes while it is read",
        "it is left out until it is whole",
        "tests/unit/sources/test_bad_files.py",
        "test_a_file_that_changes_while_it_is_read_is_left_out",
    ),
    (
        "rows come late for a partition that was built",
        "that partition is built anew, no other, and the marts are what a full build gives",
        "tests/integration/test_repair.py",
        "test_a_late_sale_is_built_into_its_own_partition",
    ),
    (
        "the parent of quarantined orphans comes late",
        "it is found, and its children with it",
        "tests/unit/ingestion/test_late_data.py",
        "test_orphans_whose_parent_came_late_are_found_with_it",
    ),
    (
        "the API is killed twenty times while it takes events",
        "each acknowledged event is in the lake once",
        "tests/faults/test_killed_service.py",
        "test_twenty_kills_lose_nothing_that_was_acknowledged_and_double_nothing",
    ),
    (
        "the parent of the API's processes is killed",
        "they end, and the API can be started again",
        "tests/faults/test_killed_service.py",
        "test_the_workers_of_a_killed_parent_end_and_the_next_service_has_their_port",
    ),
    (
        "the disk is full while the API takes events",
        "none is acknowledged; with room, it goes on",
        "tests/api/test_events.py",
        "test_on_a_full_disk_nothing_is_acknowledged_and_the_operator_is_told",
    ),
    (
        "a line of the event log is damaged",
        "the others are loaded; it is told, and what was loaded stays",
        "tests/unit/sources/test_event_log.py",
        "test_damage_is_told_and_what_was_loaded_stays",
    ),
    (
        "an erasure is killed",
        "it is known, and goes on when it is called again",
        "tests/integration/test_erase.py",
        "test_a_killed_erasure_is_known_and_goes_on_when_it_is_called_again",
    ),
    (
        "old files bring an erased customer again",
        "their rows come in under the pseudonym",
        "tests/unit/ingestion/test_erased.py",
        "test_old_files_do_not_bring_a_customer_back",
    ),
    (
        "the writer of a release is killed at any step",
        "the old release stays current",
        "tests/faults/test_releases_killed.py",
        "test_killed_at_any_step_a_writer_leaves_the_old_release_current",
    ),
    (
        "S3 dies at any request of a release's writer",
        "the old release stays current",
        "tests/faults/test_releases_s3.py",
        "test_dead_at_any_request_a_writer_leaves_the_old_release_current",
    ),
    (
        "a reader's copy of a release is damaged",
        "it is fetched again",
        "tests/faults/test_releases_s3.py",
        "test_a_damaged_cache_is_fetched_again_and_what_was_pruned_leaves_it",
    ),
)
"""What can go wrong beside the files: the fault, what becomes of it, and the test that shows it."""


HANDOVERS = (
    ("source → `raw`", "each delivered row is in the lake, merged or in quarantine", ("rows_accounted_for",)),
    (
        "`raw` → `staging`",
        "each key once, in its latest version, with its amounts and counts",
        tuple(
            f"reconciles_stg_shop__{dataset}"
            for dataset in (
                "orders",
                "order_items",
                "payments",
                "refunds",
                "customers",
                "products",
                "campaigns",
                "events",
                "reviews",
                "inventory",
                "marketing_spend",
                "experiment_assignments",
            )
        ),
    ),
    (
        "`staging` → facts",
        "each row once, with its amounts and counts",
        (
            "reconciles_fct_orders",
            "reconciles_fct_order_items",
            "reconciles_fct_payments",
            "reconciles_fct_refunds",
            "reconciles_fct_reviews",
            "reconciles_fct_events",
            "reconciles_fct_inventory_daily",
            "reconciles_fct_marketing_spend",
            "reconciles_fct_experiment_assignments",
        ),
    ),
    (
        "`staging` → dimensions",
        "each version once, with its prices",
        ("reconciles_dim_customers", "reconciles_dim_products", "reconciles_dim_campaigns"),
    ),
    (
        "lines → orders",
        "amounts, lines and units of each order",
        ("assert_order_lines_sum_to_orders", "assert_line_amounts_tie_out", "assert_order_totals_tie_out"),
    ),
    ("events → sessions", "events of each session and kind", ("assert_fct_sessions_count_their_events",)),
    (
        "facts → settled orders",
        "each order once; what was captured and refunded of it",
        ("reconciles_int_orders_settled", "assert_captured_payments_tie_out", "assert_settled_refunds_tie_out"),
    ),
    (
        "facts → `agg_daily_sales`",
        "orders, units and amounts of each day",
        (
            "sums_agg_daily_sales",
            "sums_agg_daily_sales_of_lines",
            "assert_daily_payments_tie_out",
            "assert_daily_refunds_tie_out",
        ),
    ),
    (
        "facts → `agg_product_performance`",
        "units and amounts of each day",
        ("sums_agg_product_performance", "assert_daily_refunds_tie_out"),
    ),
    (
        "facts → sales marts",
        "orders, units and amounts of each month, of all time by weekday",
        (
            "sums_sales_by_geography",
            "sums_discount_impact",
            "sums_discount_impact_of_lines",
            "sums_payment_mix",
            "sums_weekday_sales",
        ),
    ),
    (
        "facts → customer marts",
        "orders, units and amounts of each customer, of each month by cohort",
        (
            "assert_customer_metrics_tie_out",
            "assert_customer_metrics_margin_ties_out",
            "assert_customer_metrics_refunds_tie_out",
            "assert_customer_metrics_events_tie_out",
            "assert_customer_marts_agree_on_net_revenue",
            "assert_category_affinity_ties_out",
            "assert_interactions_purchases_tie_out",
            "assert_cohorts_revenue_ties_out",
            "assert_cohorts_net_revenue_ties_out",
        ),
    ),
    (
        "facts → marketing marts",
        "orders, revenue and spend of each order's touches, month, channel and campaign",
        (
            "assert_touch_credits_sum_to_orders",
            "assert_channel_attribution_ties_out",
            "assert_channel_attribution_spend_ties_out",
            "assert_campaign_performance_ties_out",
            "assert_campaign_performance_spend_ties_out",
            "assert_conversion_funnel_counts_all_sessions",
        ),
    ),
    ("facts → `inventory_status`", "stock and its value, of each product", ("assert_inventory_status_ties_out",)),
    ("mart → `published`", "rows, and the sum of each amount and count, of what was written", ("rows_match_mart",)),
    (
        "`published` → `features`",
        "customers, orders and spend before the latest as-of date, by customer",
        ("features_reconcile",),
    ),
    ("`published` → `features`", "units of each product and day", ("demand_reconciles",)),
)
"""Each hand-over of counts and money: from where to where, what is held, and the checks that hold it."""


def document() -> str:
    """The page about trust, in Markdown."""
    tallies = ", ".join(f"{sum(f.outcome == outcome for f in FAULTS)} {outcome}" for outcome in get_args(Outcome))
    rows = [f"| {f.name} | `raw/{f.dataset}` | `{f.told_by or '-'}` | {f.outcome} |" for f in FAULTS]
    others = [f"| {name} | {becomes} | `{file}::{test}` |" for name, becomes, file, test in WITHOUT_FILES]
    handovers = [f"| {way} | {held} | {', '.join(f'`{c}`' for c in checks)} |" for way, held, checks in HANDOVERS]
    return "\n".join(
        [
            *_INTRODUCTION,
            f"Of {len(FAULTS)} faults, {tallies}.",
            "",
            *_HEAD,
            *rows,
            *_BESIDE,
            *others,
            *_BETWEEN,
            *handovers,
            "",
        ]
    )


_INTRODUCTION = """# Trust: what can go wrong, who tells, and what becomes of it

The tests in `tests/faults`, and those of whole runs in `tests/integration`, plant each fault alone, and each must end
so: a check or a reason of the quarantine tells of it; no wrong row goes downstream (published wrongly: 0); once the
cause is mended, the next load has each good row again (good rows lost: 0), and nobody edits anything by hand.
`make docs` wrote this page, and a test keeps it true.

- **kept back**: a blocking check fails. What is downstream in the run does not start. In whichever run, nothing made of
  those partitions is published and no release goes out, until the check has passed or warned on them, or somebody
  answers for it by `--override-by`.
- **set aside**: the bad rows are in `quarantine/<dataset>` with reason and place; all good ones are in the lake.
- **harmless**: the lake holds exactly the good rows.

## Files that a shop drops

The shop is one whose file makes the checks of [volumes, values, empty columns, freshness, lateness and
readability](runbook.md) errors. With the defaults these warn, except for amounts that are ten times off and for files
that lack a column, which always block; the message is the same. A fault of a dataset's days needs six weeks of history
to be seen.

""".splitlines()
_HEAD = ("| fault | in | told by | what becomes of it |", "| --- | --- | --- | --- |")
_BESIDE = (
    "",
    "A failed check in the UI says what was expected, what was found, and ten keys:",
    "",
    "![A failed check in the Dagster UI](images/failed_check.png)",
    "",
    "## Processes, disks and stores",
    "",
    "| fault | what becomes of it | shown by |",
    "| --- | --- | --- |",
)
_BETWEEN = (
    "",
    "## From layer to layer",
    "",
    "Counts and money are held at each hand-over, exactly: there is no tolerance to set. All of these checks block.",
    "[warehouse-faults.md](warehouse-faults.md) says which planted faults those of the warehouse find.",
    "",
    "| hand-over | what must be the same | checks |",
    "| --- | --- | --- |",
)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
