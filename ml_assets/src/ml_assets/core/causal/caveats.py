"""What a reader of an answer has to know and no gate says: what is assumed, and what would shake it."""

from __future__ import annotations

from collections.abc import Iterator

from ml_assets.core.causal.finding import Estimate, Gate, Sensitivity
from ml_assets.core.causal.study import Design

TAKEN_FOR_RANDOM = "taken for random, as nothing recorded tells the treatment"


def of_choice(
    design: Design, door: Gate, has_placebo: bool, effect: Estimate | None, strength: Sensitivity | None
) -> Iterator[str]:
    """What is assumed of how the treatment was chosen; nothing where chance is declared to have.

    `door` is the gate that held the choice against the data, `has_placebo` whether there is something that the
    treatment cannot have changed.
    """
    if design.is_randomised:
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


def is_taken_for_random(door: Gate) -> bool:
    """Whether a treatment that nothing recorded tells was let through."""
    return door.passed and TAKEN_FOR_RANDOM in door.detail
