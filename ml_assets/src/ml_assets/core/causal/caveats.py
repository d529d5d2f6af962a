"""What a reader of an answer has to know and no gate says: what is assumed, and what would shake it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ml_assets.core.causal.finding import Estimate, Gate, Sensitivity
from ml_assets.core.causal.study import Design, Labels, Vector

TAKEN_FOR_RANDOM = "taken for random, as nothing recorded tells the treatment"
ONE_UNIT = 0.1
"""A row, or cluster, with a larger share of an estimate's variance decides it."""


def of_choice(
    design: Design, door: Gate, has_placebo: bool, effect: Estimate | None, strength: Sensitivity | None
) -> Iterator[str]:
    """What is assumed of the choice; nothing where chance, or what nobody recorded, is declared to have decided.

    `door` is the gate that held the choice against the data, `has_placebo` whether there is something that the
    treatment cannot have changed.
    """
    if design.is_randomised or design.unrecorded:
        return
    yield "That nothing unrecorded chose the treatment and moves the outcome is assumed, not shown."
    if not has_placebo:
        yield "No negative control was given: name outcomes that the treatment cannot have changed."
    if strength is not None and effect is not None:
        low, high = strength.interval
        if low <= 0 <= high and not effect.holds(0.0):
            yield f"Something unrecorded as strong as {strength.benchmark} could be all of the effect."
    if is_taken_for_random(door):
        yield "Nothing recorded tells who was treated: if it was not by chance, the answer may be wrong."


def of_one_unit(influence: Vector, clusters: Labels | None) -> Iterator[str]:
    """That an estimate hangs on one row, or cluster, so that the normal approximation has no ground.

    `influence` is what each row adds to the estimate, up to a factor.
    """
    sums = influence if clusters is None else np.bincount(np.unique(clusters, return_inverse=True)[1], influence)
    share = float(np.max(sums**2) / max(float(sums @ sums), 1e-300))
    if share > ONE_UNIT:
        what = "row" if clusters is None else "cluster"
        yield (
            f"The estimate hangs on one {what}, which has {share:.0%} of its variance: find out whether it is a "
            "mistake; if not, cap the outcome, or ask of rows that have more of their like in the other arm."
        )


def is_taken_for_random(door: Gate) -> bool:
    """Whether a treatment that nothing recorded tells was let through."""
    return door.passed and TAKEN_FOR_RANDOM in door.detail
