"""Where the runbook says what to do: its sections have the names of the checks."""

from __future__ import annotations

from cartograph.settings import get_settings

RUNBOOK = "docs/runbook.md"
WAREHOUSE = "a-test-of-the-warehouse"
SECTIONS = frozenset(
    {
        "run",
        "test",
        "is_up_to_date",
        "no_partition_failed",
        "quarantine_within_limit",
        "rows_accounted_for",
        "everything_readable",
        "nothing_vanished",
        "columns_are_known",
        "few_rows_repeat",
        "few_rows_are_late",
        "volume_is_usual",
        "nulls_are_usual",
        "values_are_usual",
        "marts_equal_rebuild",
        "source_is_fresh",
        "scores_are_high",
        "rows_match_mart",
        "shares_sum_to_one",
        "credits_reconcile",
        "close_to_planted_shares",
        "nothing_from_the_future",
        "features_reconcile",
        "has_enough_data",
        "beats_baseline",
        "beats_p_alive",
        "beats_own_rate",
        "beats_last_period",
        "beats_rules",
        "expected_loss_below_rules",
        "total_holds",
        "values_are_possible",
        "segments_differ",
        "is_stable",
        "segments_are_named",
        "top_decile_lift",
        "an_action_is_identified",
        "beats_random_targeting",
        "beats_all_or_none",
        "effects_add_up",
        "advice_is_sound",
        "beats_popularity",
        "beats_knn_and_als",
        "only_offered_products",
        "ranks_are_whole",
        "all_are_covered",
        "demand_reconciles",
        "beats_baselines",
        "interval_holds",
        "forecasts_are_possible",
        "horizon_is_complete",
        "forecasts_came_true",
        "advice_is_possible",
        "is_calibrated",
        "no_leaking_feature",
        "onnx_parity",
        "challenger_is_fit",
        "scores_are_probabilities",
        "inputs_are_usual",
        "has_beaten_the_baseline",
        "predictions_held",
        "choice_is_recorded",
        "has_overlap",
        "is_balanced",
        "estimators_agree",
        "interval_is_finite",
        "unchangeable_is_unchanged",
        "panel_is_as_of",
        "refused_has_no_estimate",
        "refused_has_no_policy",
        "arms_are_large",
        "graph_identifies",
        "weights_leave_enough",
        "noise_changes_nothing",
        "halves_agree",
        "further_tests_pass",
        "random_treatment_has_no_effect",
        "channels_tell_held_out_weeks",
        "budget_within_limits",
        "spend_was_seen",
        "earns_at_least_today",
        "sample_ratio_holds",
        "nobody_has_two_variants",
        "variants_are_known",
        "assigned_while_it_ran",
        "nobody_is_exposed_before",
        "estimates_are_sound",
        "all_guards_hold",
    }
)
"""The sections that are about one check, about runs and what they left, or about a test of the sinks; all tests of the
warehouse share one."""


def section(name: str) -> str:
    """Where the runbook tells of the check called `name`, or of a failed `run`: an address where `docs_url` is set."""
    place = f"{RUNBOOK}#{name if name in SECTIONS else WAREHOUSE}"
    docs = get_settings().docs_url
    return f"{docs.rstrip('/')}/{place.removeprefix('docs/')}" if docs else place
