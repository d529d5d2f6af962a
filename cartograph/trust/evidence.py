"""How a check tells its result: what was expected, what was found, which rows stand out, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import dagster as dg

from cartograph.alerts.runbook import section

SAMPLES = 10
"""Offending keys that a check shows."""
_SEVERITIES = {"error": dg.AssetCheckSeverity.ERROR, "warning": dg.AssetCheckSeverity.WARN}


def evidence(check: str, *, expected: str, found: str, samples: Sequence[object] = ()) -> dict[str, Any]:
    """The metadata of a result of the check called `check`; of `samples`, keys or names, the first ten."""
    place = section(check)
    return {
        "expected": expected,
        "found": found,
        "samples": dg.MetadataValue.json([str(sample) for sample in samples[:SAMPLES]]),
        "runbook": dg.MetadataValue.url(place) if "://" in place else dg.MetadataValue.path(place),
    }


def checked(
    check: str,
    passed: bool,
    *,
    expected: str,
    found: str,
    samples: Sequence[object] = (),
    severity: Literal["error", "warning"] = "error",
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> dg.AssetCheckResult:
    """The result of the check called `check`, with its evidence; `description` replaces what was found in the message.

    `metadata` holds further figures. An error of a blocking check keeps back what is downstream; a warning does not.
    """
    return dg.AssetCheckResult(
        check_name=check,
        passed=passed,
        severity=_SEVERITIES[severity],
        description=description or (found if passed else f"{found}; expected: {expected}"),
        metadata={**evidence(check, expected=expected, found=found, samples=samples), **(metadata or {})},
    )
