"""The one way to ask for an effect: what is asked goes to the estimators of its kind of treatment."""

from __future__ import annotations

from ml_assets.core.causal.continuous import assess_continuous
from ml_assets.core.causal.effect import Nuisances
from ml_assets.core.causal.finding import Finding
from ml_assets.core.causal.levels import assess_levels
from ml_assets.core.causal.study import Design, Study


def assess(study: Study, design: Design, nuisances: Nuisances | None = None) -> Finding:
    """Estimate the effect that `design` asks for, and try to refute it.

    Raises:
        GraphError: the graph of `design` cannot be used.
    """
    if design.kind == "continuous":
        return assess_continuous(study, design)
    return assess_levels(study, design, nuisances)
