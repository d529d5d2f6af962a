"""What an experiment says, in plain words: the decision, why, and how sure, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cartograph.releases.contents.experiments import ExperimentEstimate, ExperimentResult
from ml_assets.core.evaluation.plots import Picture
from ml_assets.core.experiments.decision import base_of

MEANING = {
    "ship": "Ship {choice}.",
    "hold": "Hold: the data do not decide it yet.",
    "stop": "Stop: no variant is worth it.",
    "invalid": "No decision: the experiment is not valid. No effect is told, as what went wrong may have made any.",
}
RUNNING = (
    "It still runs. Decided by the intervals that hold at every look, so that looking each day makes no false find."
)

ADJUSTED = (
    "Control and variant's are the means as they were found; effects and intervals are adjusted for what customers did "
    "before (CUPED), so they need not be the difference of the two."
)


def memo(found: ExperimentResult) -> str:
    """The memo of a result: nobody has to know a p-value to act on its first lines."""
    parts = [
        f"# {found.name.replace('_', ' ').capitalize()}",
        f"**{MEANING[found.verdict].format(choice=found.choice)}**",
        found.description,
        _dates(found),
        *([RUNNING] if found.state == "running" and found.estimates else []),
        *(["## Why", _list(found.reasons)] if found.reasons else []),
        *(["## Mind", _list(found.warnings)] if found.warnings else []),
        *(["## Effects", _effects(found)] if found.estimates else []),
        *(["## Segments", _segments(found)] if found.segments else []),
        "## Is the assignment sound?",
        _list(f"{'yes' if check.passed else '**no**'}: {check.detail} (`{check.name}`)" for check in found.integrity)
        or "Nobody was assigned.",
    ]
    return "\n\n".join(parts) + "\n"


def illustrated(text: str, pictures: Sequence[Picture]) -> str:
    """A memo with its pictures after it, by their files' names."""
    return "\n\n".join([text.rstrip(), *(f"![{one.caption}]({one.file})" for one in pictures)]) + "\n"


def _dates(found: ExperimentResult) -> str:
    sizes = ", ".join(f"{name} {count:,}" for name, count in found.variants.items())
    span = f"{found.starts} to {found.ends}" if found.starts else "no dates yet"
    return f"{span}, {found.state}; data up to {found.as_of or 'none'}. Customers: {sizes}."


def _effects(found: ExperimentResult) -> str:
    level = f"{found.confidence_level:.0%}"
    head = ("metric", "variant", "control", "variant's", "effect", level, f"{level} at every look", "p, corrected")
    rows = [
        (
            f"{one.metric} ({one.role})",
            one.variant,
            f"{one.control_mean:.4g}",
            f"{one.variant_mean:.4g}",
            _effect(one),
            _fixed(one),
            _interval(one, one.always_low, one.always_high),
            "–" if one.adjusted_p_value is None else f"{one.adjusted_p_value:.3g}",
        )
        for one in found.estimates
    ]
    adjusted = f"\n\n{ADJUSTED}" if any(one.variance_reduction > 0 for one in found.estimates) else ""
    return f"{_table(head, rows)}{adjusted}\n\n{_power(found)}"


def _power(found: ExperimentResult) -> str:
    told = []
    for one in found.estimates:
        if one.role != "primary":
            continue
        share = one.detectable_relative_effect
        least = f"{share:.1%}" if share is not None else f"{one.detectable_effect:.4g}"
        line = f"{one.variant}: an effect of {least} on {one.metric} would be found four times of five"
        if one.units_needed is not None:
            line += f"; the smallest effect of interest takes {one.units_needed:,} customers in all variants"
        told.append(f"{line}. What they did before took {max(one.variance_reduction, 0):.0%} of the variance (CUPED).")
    return _list(told)


def _segments(found: ExperimentResult) -> str:
    rows = [
        (
            one.segment,
            one.value,
            one.variant,
            f"{one.n_units:,}",
            f"{one.effect:+.4g}",
            f"{one.ci_low:+.4g} to {one.ci_high:+.4g}",
            f"{one.adjusted_p_value:.3g}",
        )
        for one in found.segments
    ]
    head = ("segment", "value", "variant", "customers", "effect", "interval", "p that values are alike")
    return _table(head, rows)


def _effect(one: ExperimentEstimate) -> str:
    return f"{one.effect:+.4g}" if one.relative_effect is None else f"{one.relative_effect:+.1%}"


def _fixed(one: ExperimentEstimate) -> str:
    if one.relative_low is None or one.relative_high is None:
        return _interval(one, one.ci_low, one.ci_high)
    return f"{one.relative_low:+.1%} to {one.relative_high:+.1%}"


def _interval(one: ExperimentEstimate, low: float, high: float) -> str:
    if one.relative_effect is None:
        return f"{low:+.4g} to {high:+.4g}"
    return f"{low / base_of(one):+.1%} to {high / base_of(one):+.1%}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
