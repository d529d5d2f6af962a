"""Why a step failed: in the words of whatever failed, which Dagster wraps, or by the checks that stopped it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

_MODULE = re.compile(r"^(?:\w+\.)+\w+: ")
_FAILED_CHECKS = "failed_checks"


def failure_by_checks(text: str, checks: Iterable[dg.AssetCheckKey]) -> dg.Failure:
    """A failure that has no other cause than the failed `checks`, which are told themselves; with none, its own."""
    listed = [[list(check.asset_key.path), check.name] for check in checks]
    metadata = {_FAILED_CHECKS: dg.MetadataValue.json(listed)} if listed else None
    return dg.Failure(text, metadata=metadata, allow_retries=False)


def failed_checks(event: dg.DagsterEvent) -> list[dg.AssetCheckKey]:
    """The checks that a step's failure names as its only causes."""
    told = event.step_failure_data.user_failure_data
    found = told.metadata.get(_FAILED_CHECKS) if told is not None else None
    listed = found.data if isinstance(found, dg.JsonMetadataValue) else None
    return [dg.AssetCheckKey(dg.AssetKey(path), name) for path, name in listed] if isinstance(listed, list) else []


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
