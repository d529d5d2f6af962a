"""What each variant did to each metric: effects, intervals of one look and of all, corrected p-values, power.

Means and ratios with their intervals are tea-tasting's, on moments that `moments` takes; the intervals that hold at
every look are `sequential`'s. Whether the assignment can be trusted is `integrity`, what to do is `decision`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cartograph.releases.contents.experiments import ExperimentEstimate, ExperimentSegment
from ml_assets.core.experiments.integrity import Check, covariates_balance
from ml_assets.core.experiments.moments import (
    INDEX,
    VALUE,
    WEIGHT,
    Moments,
    columns_of,
    lifted,
    moments,
    ratio_variance,
)
from ml_assets.core.experiments.plan import POWER, Correction, Measured, Metric, Rules, Units, Vector
from ml_assets.core.experiments.sequential import SMALLEST_ARM, p_values, width

if TYPE_CHECKING:
    from tea_tasting.aggr import Aggregates

MOST_VALUES = 12
"""A segment with more values is told of its largest only."""
ABOUT_NOTHING = 100
FEWEST_ERRORS = 3
"""A variant whose mean is no more than so many of its standard errors has no interval of its effect as a share of the
control: it is that of a logarithm, and there is none of what may be 0 or less."""
ONE_UNIT = 0.1
"""A unit with a larger share of a metric's variance decides its effect."""


def estimates(units: Units, metrics: Sequence[Metric], rules: Rules) -> tuple[ExperimentEstimate, ...]:
    """Each metric in each variant against the control, in the order of `metrics` and then of the variants.

    A metric that is the same for all units has no estimate, nor has one that varies neither within the variant nor
    within the control, nor a ratio whose weights come to nothing in a variant.
    """
    found = []
    for metric in metrics:
        measured = units.measured[metric.name]
        if without_weight(measured, units) or is_constant(measured):
            continue
        arms = moments(columns_of(measured, units.variant), units.variant, len(units.variants))
        alike = still(measured, units)
        found += [
            _estimate(metric, units, arms, place, rules)
            for place, name in enumerate(units.variants)
            if place and name not in alike
        ]
    tested = [one.p_value for one in found if one.role != "guardrail"]
    adjusted = iter(adjust(np.array(tested), rules.correction))
    return tuple(
        one if one.role == "guardrail" else one.model_copy(update={"adjusted_p_value": float(next(adjusted))})
        for one in found
    )


def is_constant(measured: Measured) -> bool:
    """Whether there is nothing to compare: all units have the same value, or the same ratio."""
    if measured.weight is None:
        return bool(np.ptp(measured.value) == 0)
    ratio = measured.value.sum() / measured.weight.sum()
    return bool(np.allclose(measured.value, ratio * measured.weight, rtol=1e-12, atol=0))


def still(measured: Measured, units: Units) -> tuple[str, ...]:
    """The variants within which a metric does not vary, where it does not within the control either."""
    if measured.weight is not None:
        return ()
    inside = [measured.value[units.variant == place] for place in range(len(units.variants))]
    names = [name for name, values in zip(units.variants, inside, strict=True) if not len(values) or not np.ptp(values)]
    return tuple(names[1:]) if units.variants[0] in names else ()


def without_weight(measured: Measured, units: Units) -> tuple[str, ...]:
    """The variants in which a ratio has nothing to be divided by."""
    if measured.weight is None:
        return ()
    sums = np.bincount(units.variant, weights=measured.weight, minlength=len(units.variants))
    return tuple(name for name, total in zip(units.variants, sums, strict=True) if not total > 0)


def _estimate(metric: Metric, units: Units, arms: Moments, place: int, rules: Rules) -> ExperimentEstimate:
    from scipy.stats import norm

    control, treated = (Moments(*(part[at] for part in arms)) for at in (0, place))
    found = compare(control, treated, rules.alpha)
    effect, error = float(found.effect_size), _error(found, rules.alpha)
    plain = float(np.hypot(_mean_error(control), _mean_error(treated)))
    base, reach = _mean(control), float(width(rules.information, rules.alpha)) * error
    is_relative = base > 0 and not _is_about_nothing(control, plain)
    least = FEWEST_ERRORS * _mean_error(treated)
    is_ratio_sound = is_relative and found.control > 0 and min(found.treatment, _mean(treated)) > least
    detectable = float(norm.isf(rules.alpha / 2) + norm.isf(1 - POWER)) * error
    wanted = metric.smallest_effect * base if metric.smallest_effect and is_relative else None
    return ExperimentEstimate(
        metric=metric.name,
        kind=metric.kind,
        role=metric.role,
        unit=metric.unit,
        variant=units.variants[place],
        n_control=int(control.size),
        n_variant=int(treated.size),
        control_mean=base,
        variant_mean=_mean(treated),
        effect=effect,
        ci_low=float(found.effect_size_ci_lower),
        ci_high=float(found.effect_size_ci_upper),
        relative_effect=_relative(found, base, is_ratio_sound) if is_relative else None,
        relative_low=_finite(found.rel_effect_size_ci_lower) if is_ratio_sound else None,
        relative_high=_finite(found.rel_effect_size_ci_upper) if is_ratio_sound else None,
        always_low=effect - reach,
        always_high=effect + reach,
        p_value=float(found.pvalue),
        adjusted_p_value=None,
        always_p_value=float(p_values(effect / error, rules.information, rules.alpha)),
        variance_reduction=1 - (error / plain) ** 2 if plain and _has_index(control, treated) else 0.0,
        detectable_effect=detectable,
        detectable_relative_effect=detectable / base if is_relative else None,
        power=None if wanted is None else float(norm.cdf(wanted / error - norm.isf(rules.alpha / 2))),
        units_needed=None if wanted is None else math.ceil(len(units.variant) * (detectable / wanted) ** 2),
    )


def _relative(found: Any, base: float, is_ratio_sound: bool) -> float:
    """The effect as a share of the control: of its adjusted mean, as the interval has it, where that has one."""
    return float(found.rel_effect_size) if is_ratio_sound else float(found.effect_size) / base


def compare(control: Moments, treatment: Moments, alpha: float) -> Any:
    """tea-tasting's result for one pair of variants: Welch's t with the delta method, adjusted by the index (CUPED).

    Where a mean is about 0 both are lifted by as much, as tea-tasting divides by each: the effect stays what it is, and
    its share of the control's mean has no meaning.
    """
    from tea_tasting.metrics import RatioOfMeans

    pair = (control, treatment)
    error = math.hypot(*map(_mean_error, pair))
    if any(_is_about_nothing(one, error) for one in pair):
        height = 10 * (error + max(abs(_mean(one)) for one in pair))
        control, treatment = (lifted(one, height) for one in pair)

    is_ratio = any(one.covariance[WEIGHT, WEIGHT] > 0 or one.mean[WEIGHT] != 1 for one in (control, treatment))
    metric = RatioOfMeans(
        "value",
        "weight" if is_ratio else None,
        "index" if _has_index(control, treatment) else None,
        confidence_level=1 - alpha,
    )
    return metric.analyze_aggregates(_aggregates(control), _aggregates(treatment))


def _has_index(control: Moments, treatment: Moments) -> bool:
    """Whether covariates tell anything of the units: without them the index is 0."""
    return bool(control.covariance[INDEX, INDEX] > 0 or treatment.covariance[INDEX, INDEX] > 0)


def _error(found: Any, alpha: float) -> float:
    """The standard error of an effect, which is the same at each `alpha`."""
    from scipy.stats import norm

    error = float(found.effect_size) / float(found.statistic or math.nan)
    if math.isfinite(error) and error != 0:
        return error
    # an effect of exactly 0 has no statistic to divide by
    return (float(found.effect_size_ci_upper) - float(found.effect_size)) / float(norm.isf(alpha / 2))


def _aggregates(one: Moments) -> Aggregates:
    from tea_tasting.aggr import Aggregates

    names = {"value": VALUE, "weight": WEIGHT, "index": INDEX}
    return Aggregates(
        count_=int(one.size),
        mean_={name: float(one.mean[at]) for name, at in names.items()},
        var_={name: float(one.covariance[at, at]) for name, at in names.items()},
        cov_={
            (first, second): float(one.covariance[names[first], names[second]])
            for first, second in (("value", "weight"), ("value", "index"), ("weight", "index"))
        },
    )


def _mean(one: Moments) -> float:
    return float(one.mean[VALUE] / one.mean[WEIGHT])


def _mean_error(one: Moments) -> float:
    return math.sqrt(max(float(ratio_variance(one)), 0.0) / float(one.size))


def _is_about_nothing(one: Moments, error: float) -> bool:
    """Whether a mean is so near to 0, by its own standard error, that no share of it has a meaning.

    `error` is that of the difference: what is next to nothing of it is 0, but for the rounding.
    """
    return abs(_mean(one)) <= max(_mean_error(one) / ABOUT_NOTHING, 1e-9 * error)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def adjust(p_values: Vector, correction: Correction) -> Vector:
    """P-values that allow for their number: Holm (1979) holds the chance of any false find, Benjamini and Hochberg
    (1995) the share of false ones among the finds.
    """
    if correction == "none" or not len(p_values):
        return p_values
    if correction == "benjamini_hochberg":
        from scipy.stats import false_discovery_control

        return np.asarray(false_discovery_control(p_values), dtype=np.float64)
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1))
    found = np.empty_like(p_values)
    found[order] = np.minimum(stepped, 1.0)
    return found


def segment_effects(units: Units, metric: Metric, rules: Rules) -> tuple[ExperimentSegment, ...]:
    """The effect on `metric` within each value of each segment that is large enough.

    The p-value of a segment is that of Cochran's Q: that its values have the same effect; corrected by Holm over all
    segments and variants, since looking at enough of them always shows something.
    """
    from scipy.stats import chi2

    measured = units.measured[metric.name]
    rows: list[tuple[str, str, str, int, Any]] = []
    families: list[tuple[slice, float]] = []
    for name, labels in units.segments.items():
        values, sizes = np.unique(labels, return_counts=True)
        chosen = values[np.argsort(-sizes, kind="stable")[:MOST_VALUES]]
        inside = {str(value): _arms(measured, units, labels == value) for value in chosen}
        for place in range(1, len(units.variants)):
            begin, found = len(rows), []
            for value, arms in inside.items():
                if arms is None or min(arms.size[0], arms.size[place]) < SMALLEST_ARM:
                    continue
                pair = [Moments(*(part[at] for part in arms)) for at in (0, place)]
                one = compare(pair[0], pair[1], rules.alpha)
                count = int(pair[0].size + pair[1].size)
                rows.append((name, value, units.variants[place], count, one))
                found.append((float(one.effect_size), _error(one, rules.alpha)))
            if len(found) < 2:
                del rows[begin:]
                continue
            effects, errors = (np.array(part) for part in zip(*found, strict=True))
            weight = 1 / errors**2
            q = float((weight * (effects - (weight @ effects) / weight.sum()) ** 2).sum())
            families.append((slice(begin, len(rows)), float(chi2.sf(q, len(found) - 1))))
    adjusted = adjust(np.array([p for _, p in families]), "holm")
    told = np.ones(len(rows))
    for (place_, _), p_value in zip(families, adjusted, strict=True):
        told[place_] = p_value
    return tuple(
        ExperimentSegment(
            segment=name,
            value=value,
            variant=variant,
            n_units=count,
            effect=float(one.effect_size),
            ci_low=float(one.effect_size_ci_lower),
            ci_high=float(one.effect_size_ci_upper),
            adjusted_p_value=float(p_value),
        )
        for (name, value, variant, count, one), p_value in zip(rows, told, strict=True)
    )


def _arms(measured: Measured, units: Units, rows: Any) -> Moments | None:
    if not rows.any():
        return None
    part = replace(units, variant=units.variant[rows], measured={}, segments={})
    inside = measured.of(rows)
    if without_weight(inside, part) or is_constant(inside):
        return None
    found = moments(columns_of(inside, part.variant), part.variant, len(units.variants))
    return found if np.all(found.covariance[..., VALUE, VALUE] > 0) else None


def alike_before(units: Units) -> Check | None:
    """Whether the variants were alike in the covariates of all metrics; None where there are none."""
    columns = [one.covariates for one in units.measured.values() if one.covariates is not None]
    if not columns or not sum(part.shape[1] for part in columns):
        return None
    values = np.unique(np.hstack(columns), axis=1)
    arms = np.eye(len(units.variants))[units.variant]
    counts = arms.sum(axis=0)[:, None]
    means = arms.T @ values / counts
    variances = (arms.T @ values**2 / counts - means**2) / np.maximum(counts - 1, 1)
    return covariates_balance(means[1:] - means[0], np.sqrt(np.maximum(variances[1:] + variances[0], 0.0)))


def tail_warnings(units: Units, metrics: Sequence[Metric]) -> list[str]:
    """Which metrics hang on single units, so that the normal approximation has no ground and intervals are too sure.

    Skewness alone does no harm to a difference of means: it is alike in both variants. One unit with much of the
    variance does, as it is in one variant only.
    """
    found = []
    for metric in metrics:
        measured = units.measured[metric.name]
        if without_weight(measured, units) or is_constant(measured):
            continue
        linear = measured.value
        if measured.weight is not None:
            linear = linear - measured.value.sum() / measured.weight.sum() * measured.weight
        squares = (linear - linear.mean()) ** 2
        share = float(squares.max() / squares.sum())
        if share > ONE_UNIT:
            found.append(
                f"{metric.name} hangs on one unit, which has {share:.0%} of its variance: find out whether it is a "
                "mistake, or cap the metric."
            )
    return found


def needed_units(
    *, base: float, deviation: float, effect: float, shares: Mapping[str, float], alpha: float, rho: float = 0.0
) -> int:
    """Units in all variants that find an absolute `effect` four times of five, in the smallest variant but the first.

    `rho` is the correlation of the metric with its covariates, which take its square of the variance.
    """
    from scipy.stats import norm

    names = list(shares)
    smallest = min(shares[name] for name in names[1:])
    variance = deviation**2 * (1 - rho**2) * (1 / shares[names[0]] + 1 / smallest)
    z = float(norm.isf(alpha / 2) + norm.isf(1 - POWER))
    if not base or not effect:
        raise ValueError("the mean and the effect must not be 0")
    return math.ceil(variance * (z / effect) ** 2)
