"""How the amount was chosen: what is held fixed of that, and whether the data speak against what is declared.

Whether the treatment still varies once that is held fixed, and is balanced, is the business of `gates`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from ml_assets.core.causal.caveats import TAKEN_FOR_RANDOM
from ml_assets.core.causal.continuous.data import Data
from ml_assets.core.causal.continuous.double_machine_learning import Left
from ml_assets.core.causal.continuous.gates import correlation
from ml_assets.core.causal.continuous.shape import Shape, shape_of
from ml_assets.core.causal.finding import Gate
from ml_assets.core.causal.gates import ASSIGNMENT_ERRORS
from ml_assets.core.causal.graph import Identification, identify
from ml_assets.core.causal.study import Design, Study, column_of

LARGEST_TOLD = 0.05
"""The share of a random treatment's variance that what is recorded may seem to tell."""


def back_door(study: Study, design: Design, shape: Shape) -> tuple[Study, Gate]:
    """Whether what is held fixed makes the comparison fair, and the study with the confounders that do."""
    if design.unrecorded:
        detail = f"the treatment was also chosen by what is not recorded: {', '.join(design.unrecorded)}"
        return study, Gate("back_door", False, 0.0, detail)
    held, found = _kept(study, design, shape)
    if found is None:
        return study, _held(held, design) or Gate(
            "back_door", True, 1.0, f"declared as chosen by what is held fixed: {', '.join(held) or 'nothing'}"
        )
    if found.adjustment is None:
        return study, Gate("identification", False, 0.0, found.reason)
    kept = study.confounders.only(set(found.adjustment))
    return replace(study, confounders=kept), _held(held, design) or Gate("identification", True, 1.0, found.reason)


def held_of_amount(study: Study, design: Design) -> tuple[str, ...]:
    """The columns and the levels that `assess_continuous` holds fixed; none where the graph says that none suffice.

    Raises:
        GraphError: the graph of `design` cannot be used.
    """
    return _kept(study, design, shape_of(study))[0]


def choice(left: Left, data: Data, design: Design, declared: Gate) -> Gate:
    """Whether what is recorded tells the treatment as is declared of how it was chosen; `declared` is what was so far.

    One that is declared as random must not be told. One that is not must be, or somebody must answer for the
    confounders, and then it is taken for random. Levels tell a part of any treatment, so that beside them nothing can
    be said of this.
    """
    if not declared.passed:
        return declared
    told = 1 - left.share
    words = f"what is recorded tells {told:.1%} of the treatment"
    if design.is_randomised:
        detail = f"declared as random: {words}; at most {LARGEST_TOLD:.0%} may be"
        return Gate("back_door", told <= LARGEST_TOLD, told, detail)
    if data.groupings or data.columns.shape[1] > 1:
        return declared
    units = len(left.treatment) if data.clusters is None else len(np.unique(data.clusters))
    goes_with = correlation(left.treatment - left.columns[:, 0], left.treatment, left.weights)
    if goes_with * np.sqrt(units) > ASSIGNMENT_ERRORS:
        return declared
    if design.is_vouched:
        return Gate("back_door", True, told, f"{TAKEN_FOR_RANDOM}: {words}, no more than chance does")
    return Gate("back_door", False, told, f"declared as chosen by recorded facts: {words}, no more than chance does")


def _kept(study: Study, design: Design, shape: Shape) -> tuple[tuple[str, ...], Identification | None]:
    """What is held fixed: of a study with a graph the fewest that suffice, and what the graph says."""
    always = (*shape.level_names, *shape.beside.names)
    observed = tuple(dict.fromkeys((*map(column_of, study.confounders.names), *always)))
    if design.graph is None:
        return observed, None
    found = identify(design.graph, design.graph.treatment, design.graph.outcome, observed)
    return () if found.adjustment is None else tuple(dict.fromkeys((*found.adjustment, *always))), found


def _held(names: Collection[str], design: Design) -> Gate | None:
    """The gate of a treatment that nothing is held fixed of, and that chance is not declared to have dealt out."""
    if names or design.is_randomised:
        return None
    return Gate("back_door", False, 0.0, "nothing is held fixed, and that chance decided is not declared")
