"""Why a step failed, in the words of whatever failed: Dagster wraps them."""

from __future__ import annotations

import re

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

_MODULE = re.compile(r"^(?:\w+\.)+\w+: ")


def cause_of(event: dg.DagsterEvent) -> str:
    """The message of the exception that the others were raised from, or what the asset said of its failure."""
    failure = event.step_failure_data
    if failure.user_failure_data is not None and failure.user_failure_data.description:
        return failure.user_failure_data.description
    return words_of(failure.error) or event.message or "failed"


def words_of(error: SerializableErrorInfo | None) -> str | None:
    """The message of the first exception in the chain; without its class, but for those that Python itself raises."""
    while error is not None and error.cause is not None:
        error = error.cause
    return _MODULE.sub("", error.message.strip()) if error is not None else None
