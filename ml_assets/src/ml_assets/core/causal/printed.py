"""What the commands print of a finding as JSON: one form for a file of rows and a file of a roll-out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ml_assets.core.causal.finding import Estimate, Finding, Gate, NamedEstimate


def answer(found: Finding) -> list[dict[str, Any]] | None:
    """The estimates that are the answer, those of the first method; None where it is not identified."""
    if not found.identified:
        return None
    return [named(one) for one in found.estimates if one.method == found.estimates[0].method]


def named(one: NamedEstimate) -> dict[str, Any]:
    """An estimate with its method, of which level against which."""
    return {"method": one.method, "contrast": one.contrast, **interval(one.estimate)}


def interval(estimate: Estimate) -> dict[str, float | None]:
    """An estimate with its 95 % interval."""
    return {"estimate": number(estimate.ate), "ci_low": number(estimate.low), "ci_high": number(estimate.high)}


def checks(gates: Sequence[Gate]) -> list[dict[str, Any]]:
    """The tests, each with what it found."""
    return [
        {"name": gate.name, "passed": bool(gate.passed), "value": number(gate.value), "detail": gate.detail}
        for gate in gates
    ]


def plain(found: Any) -> Any:
    """A named tuple as a dictionary of numbers that JSON has."""
    if found is None:
        return None
    return {name: _listed(value) for name, value in found._asdict().items()}


def number(value: float) -> float | None:
    """The value to six digits; JSON has no NaN and no infinity."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _listed(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_listed(one) for one in value]
    return number(value) if isinstance(value, float) else value
