"""The one way to ask for an effect: what is asked goes to the estimators of its kind of treatment."""

from __future__ import annotations

from ml_assets.core.causal.continuous.assess import assess_continuous
from ml_assets.core.causal.continuous.choice import held_of_amount
from ml_assets.core.causal.effect import Nuisances
from ml_assets.core.causal.finding import Finding
from ml_assets.core.causal.levels import assess_levels, identified_by
from ml_assets.core.causal.study import Design, Study, column_of


def assess(study: Study, design: Design, nuisances: Nuisances | None = None) -> Finding:
    """Estimate the effect that `design` asks for, and try to refute it.

    `nuisances` are for a treatment of few levels; an amount has its own.

    Raises:
        GraphError: the graph of `design` cannot be used.
    """
    if design.kind == "continuous":
        return assess_continuous(study, design)
    return assess_levels(study, design, nuisances)


def held_fixed(study: Study, design: Design) -> tuple[str, ...]:
    """What `assess` holds fixed: all recorded columns, but for those that the graph of `design` refuses.

    Of an amount with a graph they are the fewest that close every back door, and its levels.

    Raises:
        GraphError: the graph of `design` cannot be used.
    """
    if design.kind == "continuous":
        return held_of_amount(study, design)
    named, found = dict.fromkeys(map(column_of, study.confounders.names)), identified_by(study, design)
    return tuple(name for name in named if found is None or name not in found.refused)
