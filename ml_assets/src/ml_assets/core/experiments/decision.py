"""What to do with an experiment: ship, hold or stop, with the reasons; and the result with all of its parts.

Decided by rules that stand before the numbers are known. How it is told to people is `memo`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal, NamedTuple

from cartograph.releases.contents.causal import EffectCheck
from cartograph.releases.contents.experiments import ExperimentEstimate, ExperimentResult
from ml_assets.core.experiments.analysis import (
    alike_before,
    estimates,
    is_constant,
    segment_effects,
    still,
    tail_warnings,
    without_weight,
)
from ml_assets.core.experiments.integrity import Check
from ml_assets.core.experiments.plan import Metric, Rules, Units
from ml_assets.core.experiments.sequential import SMALLEST_ARM

State = Literal["planned", "running", "complete"]


class Decision(NamedTuple):
    """The verdict, the variant to ship, and why."""

    verdict: Literal["ship", "hold", "stop", "invalid"]
    choice: str | None
    reasons: tuple[str, ...]


class Frame(NamedTuple):
    """What an experiment is, apart from its numbers."""

    name: str
    description: str
    state: State
    starts: date | None
    ends: date | None
    as_of: date | None


def assess(
    frame: Frame,
    units: Units,
    metrics: Sequence[Metric],
    rules: Rules,
    checks: Sequence[Check],
    warnings: Sequence[str] = (),
) -> ExperimentResult:
    """The whole result of an experiment whose assignment `checks` have looked at; the first metric is the primary one.

    Where a check failed the verdict is `invalid` and there is no estimate: what is wrong with the assignment may have
    made any difference.
    """
    before = alike_before(units) if all(units.counts.values()) else None
    integrity = (*checks, *([before] if before else []))
    failed = [check for check in integrity if not check.passed]
    counts = units.counts
    if failed:
        told = tuple(f"{check.name} failed: {check.detail}." for check in failed)
        return result(frame, counts, rules, integrity, Decision("invalid", None, told), warnings=warnings)
    small = min(counts, key=lambda name: counts[name])
    if counts[small] < SMALLEST_ARM:
        told = (f"Too few units to estimate anything: {small} has {counts[small]:,}, and {SMALLEST_ARM} are needed.",)
        return result(frame, counts, rules, integrity, Decision("hold", None, told), warnings=warnings)
    found = estimates(units, metrics, rules)
    further = []
    for metric in metrics:
        measured = units.measured[metric.name]
        if empty := without_weight(measured, units):
            further.append(f"{metric.name} has nothing to be divided by in {empty[0]}: there is nothing to compare.")
        elif is_constant(measured):
            further.append(f"{metric.name} is the same for all units: there is nothing to compare.")
        elif alike := still(measured, units):
            within = " and ".join((units.variants[0], *alike))
            further.append(f"{metric.name} does not vary within {within}: no interval can be told.")
    is_told = any(one.role == "primary" for one in found)
    segments = segment_effects(units, metrics[0], rules) if is_told else ()
    told_apart = {one.segment for one in segments}
    further += [
        f"The segment {name} is not told: fewer than two of its {len(set(labels.tolist())):,} values have "
        f"{SMALLEST_ARM} units in a variant and in the control."
        for name, labels in units.segments.items()
        if is_told and name not in told_apart
    ]
    return result(
        frame,
        counts,
        rules,
        integrity,
        decide(found, metrics, rules),
        found=found,
        segments=segments,
        warnings=(*warnings, *further, *tail_warnings(units, metrics)),
    )


def result(
    frame: Frame,
    counts: dict[str, int],
    rules: Rules,
    integrity: Sequence[Check],
    decision: Decision,
    *,
    found: tuple[ExperimentEstimate, ...] = (),
    segments: tuple = (),  # type: ignore[type-arg]
    warnings: Sequence[str] = (),
) -> ExperimentResult:
    """The parts as they are stored and released."""
    return ExperimentResult(
        **frame._asdict(),
        control=next(iter(counts)),
        variants=counts,
        confidence_level=1 - rules.alpha,
        correction=rules.correction,
        integrity=tuple(EffectCheck(**check._asdict()) for check in integrity),
        warnings=tuple(warnings),
        estimates=found,
        segments=segments,
        verdict=decision.verdict,
        choice=decision.choice,
        reasons=decision.reasons,
    )


def decide(found: Sequence[ExperimentEstimate], metrics: Sequence[Metric], rules: Rules) -> Decision:
    """Ship the variant that does most for the primary metric, of those that are better in it and pass all guardrails.

    A variant is better where its corrected p-value is below alpha and its interval on the good side; when somebody has
    looked before the end, where the interval that holds at all looks is. Stop where every variant is worse, breaks a
    guardrail, or is shown to fall short of the smallest effect of interest. Hold otherwise.
    """
    known = {metric.name: metric for metric in metrics}
    primary = [one for one in found if one.role == "primary"]
    if not primary:
        return Decision("hold", None, ("The primary metric cannot be compared.",))
    tests = sum(1 for one in found if one.role != "guardrail")
    passes: list[tuple[float, str]] = []
    reasons: list[str] = []
    stops = []
    for one in primary:
        metric = known[one.metric]
        sign = 1.0 if metric.higher_is_better else -1.0
        low, high = good_side(one, rules, sign)
        corrected = min(one.always_p_value * (1 if rules.correction == "none" else tests), 1.0)
        p = corrected if rules.is_sequential else one.adjusted_p_value or 0.0
        is_sure = p < rules.alpha
        is_better, is_worse = is_sure and one.effect * sign > 0, is_sure and one.effect * sign < 0
        broken, open_ = guards(found, known, one.variant, rules)
        said = f"{one.variant}: {described(one, rules)}"
        least = metric.smallest_effect
        falls_short = least is not None and one.control_mean > 0 and high < least * one.control_mean
        if is_worse:
            reasons.append(f"{said}, which is worse.")
        elif broken:
            reasons.append(f"{said}; but it breaks {', '.join(broken)}.")
        elif falls_short:
            reasons.append(f"{said}: the smallest effect of interest, {least:.1%}, is ruled out.")
        elif is_better and open_:
            reasons.append(f"{said}, which is better; but {', '.join(open_)} may be worse than its margin allows.")
        elif is_better:
            reasons.append(f"{said}, which is better, and no guardrail speaks against it.")
            passes.append((one.effect * sign, one.variant))
        elif low > 0 or high < 0:  # the interval is that of one test
            reasons.append(f"{said}, which may be chance: after correction for {tests} tests p = {p:.3g}.")
        else:
            reasons.append(f"{said}, which may be chance.")
        stops.append(bool(is_worse or broken or falls_short))
    if passes:
        return Decision("ship", max(passes)[1], tuple(reasons))
    return Decision("stop" if all(stops) else "hold", None, tuple(reasons))


def guards(
    found: Sequence[ExperimentEstimate], known: dict[str, Metric], variant: str, rules: Rules
) -> tuple[list[str], list[str]]:
    """The guardrails that a variant breaks, and those with a margin that it is not shown to keep."""
    broken, open_ = [], []
    for one in found:
        if one.role != "guardrail" or one.variant != variant:
            continue
        metric = known[one.metric]
        low, high = good_side(one, rules, 1.0 if metric.higher_is_better else -1.0)
        limit = -(metric.margin or 0.0) * abs(one.control_mean)
        if high < limit:
            broken.append(one.metric)
        elif metric.margin and low < limit:
            open_.append(one.metric)
    return broken, open_


def good_side(one: ExperimentEstimate, rules: Rules, sign: float) -> tuple[float, float]:
    """The interval that decides, turned so that more is better."""
    low, high = (one.always_low, one.always_high) if rules.is_sequential else (one.ci_low, one.ci_high)
    return (low, high) if sign > 0 else (-high, -low)


def base_of(one: ExperimentEstimate) -> float:
    """The control's mean of which the relative effect is a share: adjusted, where the effect is."""
    return one.effect / one.relative_effect if one.relative_effect else one.control_mean


def described(one: ExperimentEstimate, rules: Rules) -> str:
    """An estimate in words: in percent where that has a meaning, and says of 0 what the interval that decides does."""
    level = f"{1 - rules.alpha:.0%}"
    low, high = (one.always_low, one.always_high) if rules.is_sequential else (one.ci_low, one.ci_high)
    if one.relative_effect is not None:
        exact = not rules.is_sequential
        left = one.relative_low if exact and one.relative_low is not None else low / base_of(one)
        right = one.relative_high if exact and one.relative_high is not None else high / base_of(one)
        if (left > 0 or right < 0) != (low > 0 or high < 0):  # a ratio of means of few large values is no guide
            return f"{one.metric} {one.effect:+.4g} ({level} interval {low:+.4g} to {high:+.4g})"
        return f"{one.metric} {one.relative_effect:+.1%} ({level} interval {left:+.1%} to {right:+.1%})"
    return f"{one.metric} {one.effect:+.4g} ({level} interval {low:+.4g} to {high:+.4g})"
