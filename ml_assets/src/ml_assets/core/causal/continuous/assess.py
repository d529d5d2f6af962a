"""The effect of one more unit of a treatment that is an amount, with its 95 % interval, and whether to believe it.

Two estimators of different families: partially linear double machine learning (the answer) and a regression (must
agree). The outcome depends on the treatment by a straight line, or by a `log` link as units on a price do; rows may
have levels, such as those of products and weeks. Each step is in a module of its own; here is their order.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ml_assets.core.causal.caveats import of_choice, of_one_unit
from ml_assets.core.causal.continuous.average_derivative import average_derivative
from ml_assets.core.causal.continuous.choice import back_door, choice
from ml_assets.core.causal.continuous.data import data_of
from ml_assets.core.causal.continuous.double_machine_learning import Left, final, influence, left_of
from ml_assets.core.causal.continuous.effects import told, weights_of
from ml_assets.core.causal.continuous.gates import balance, balances, positivity, too_few
from ml_assets.core.causal.continuous.refutations import (
    later_treatment,
    negative_controls,
    random_common_cause,
    random_subset,
    random_treatment,
)
from ml_assets.core.causal.continuous.regression import fitted, naive
from ml_assets.core.causal.continuous.sensitivity import sensitivity
from ml_assets.core.causal.continuous.shape import shape_of
from ml_assets.core.causal.finding import Estimate, Finding, Gate, NamedEstimate, Propensities, share_told
from ml_assets.core.causal.gates import agreement_of_two
from ml_assets.core.causal.study import Design, Study
from ml_assets.core.causal.within import NotEstimable

DML, REGRESSION, RIESZ = "double machine learning", "regression with levels", "average derivative"
ONE_MORE = "one more unit"


def assess_continuous(study: Study, design: Design) -> Finding:
    """Estimate the effect of one more unit of the treatment, and try to refute it.

    Rows of the study that no estimate can use (of a unit that never sold anything) are left out, and counted as
    trimmed.

    Raises:
        GraphError: the graph of `design` cannot be used.
        ValueError: treatment or outcome have gaps.
    """
    shape = shape_of(study)
    moved, still = int((study.treatment != 0).sum()), int((study.treatment == 0).sum())
    if refused := too_few(study):
        return Finding(None, (), (refused,), moved, still)
    study, back = back_door(study, design, shape)
    try:
        data, pilot, fits = fitted(data_of(study, shape), shape)
        plain = told(naive(data, shape), shape)
        left = left_of(data, shape, pilot)
    except NotEstimable as reason:
        gate = Gate("overlap", False, 0.0, f"the effect cannot be told from what is held fixed: {reason}")
        return Finding(None, (), (back, gate), moved, still)
    trimmed = float(1 - len(data.outcome) / len(study))
    overlap = positivity(left, data)
    if not overlap.passed:
        return Finding(plain[-1], (), (back, overlap), moved, still, trimmed)
    first = final(left, data)._replace(weights=weights_of(data, shape.link))
    has_regression = bool(data.groupings) or shape.link == "log" or len(data.names) > 1
    answer, other = told(first, shape), told(fits if has_regression else average_derivative(data), shape)
    estimates = tuple(_named(data.names, answer, other, REGRESSION if has_regression else RIESZ))
    door, shown = choice(left, data, design, back), balances(study, left, data)
    gates = (
        door,
        overlap,
        balance(shown),
        agreement_of_two(answer[-1], other[-1]),
        random_treatment(left, data, first),
        random_common_cause(data, shape, fits),
        random_subset(left, data),
        *([] if data.later is None else [later_treatment(data.later, data, shape)]),
        *([] if not study.placebo_outcomes else [negative_controls(study, data, shape)]),
    )
    strength, has_placebo = sensitivity(left, data), bool(study.placebo_outcomes) or data.later is not None
    return Finding(
        plain[-1],
        estimates,
        gates,
        moved,
        still,
        trimmed,
        shown,
        _histogram(left),
        strength,
        warnings=(
            *([f"Of the rows {share_told(trimmed)} were left out: no estimate can use them."] if trimmed else []),
            *of_one_unit(influence(left, data, first), data.clusters),
            *of_choice(design, door, has_placebo, estimates[0].estimate, strength),
        ),
    )


def _named(
    groups: tuple[str, ...], answer: list[Estimate], other: list[Estimate], method: str
) -> Iterator[NamedEstimate]:
    """Both estimates of the mean, and where there are several groups then those of each group, the last first."""
    contrasts = [*(groups if len(groups) > 1 else ()), ONE_MORE]
    for contrast, first, second in zip(reversed(contrasts), reversed(answer), reversed(other), strict=False):
        yield NamedEstimate(DML, contrast, first)
        yield NamedEstimate(method, contrast, second)


def _histogram(left: Left) -> Propensities:
    """How the treatment is spread, less its levels, and how much of that the confounders leave."""
    both = left.treatment, left.columns[:, 0]
    width = float(np.percentile(np.abs(left.treatment), 99))
    edges = np.linspace(-width, width, 22)
    counts = tuple(tuple(np.histogram(np.clip(one, -width, width), edges)[0].tolist()) for one in both)
    return Propensities(tuple(edges.tolist()), ("treatment", "what confounders leave of it"), counts)
