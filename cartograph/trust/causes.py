"""Why a step failed, in the words of whatever failed: Dagster wraps them."""

from __future__ import annotations

import dagster as dg


def cause_of(event: dg.DagsterEvent) -> str:
    """The message of the exception that the others were raised from, or what the asset said of its failure."""
    failure = event.step_failure_data
    if failure.user_failure_data is not None and failure.user_failure_data.description:
        return failure.user_failure_data.description
    error = failure.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return event.message or "failed"
    return error.message.strip()
