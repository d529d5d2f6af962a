"""What is asked of which rows: treatment, outcome and covariates, and what is known of how the treatment was chosen.

Shapes only. Rows come from panels and files; `assess` finds the effect, `finding` is what it finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ml_assets.core.causal.graph import Graph

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Rows = npt.NDArray[Any]
"""Places of rows, or a mask."""

Kind = Literal["binary", "discrete", "continuous"]
Estimand = Literal["ATE", "ATT"]


class Covariates(NamedTuple):
    """Columns that were known before the treatment: float64 (rows, names), NaN for null.

    A column that came of coding a column of words is named `column=value`; `baselines` tells the value that has none.
    """

    names: tuple[str, ...] = ()
    values: Matrix = np.empty((0, 0))
    baselines: Mapping[str, str] = MappingProxyType({})

    def of(self, rows: Rows) -> Covariates:
        """Some of the rows."""
        return self._replace(values=self.values[rows]) if self.names else self

    def only(self, names: frozenset[str] | set[str]) -> Covariates:
        """The columns that are called so, or came of coding a column that is."""
        places = [place for place, name in enumerate(self.names) if column_of(name) in names]
        return self._replace(names=tuple(self.names[place] for place in places), values=self.values[:, places])


NO_COVARIATES = Covariates()


@dataclass(frozen=True)
class Study:
    """The rows of a question.

    `treatment` is 0 or 1; of more levels their codes 0..k-1, of which 0 is the control; or real. `levels` may name the
    codes. `placebo_outcomes` are negative controls: what the treatment cannot have changed, such as earlier spend.
    `clusters` tells rows that depend on each other, such as the weeks of a product.
    """

    treatment: Vector
    outcome: Vector
    confounders: Covariates
    modifiers: Covariates = NO_COVARIATES
    placebo_outcomes: Mapping[str, Vector] = field(default_factory=dict)
    clusters: Labels | None = None
    levels: tuple[str, ...] = ()

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.treatment)

    def of(self, rows: Rows) -> Study:
        """Some of the rows."""
        return Study(
            treatment=self.treatment[rows],
            outcome=self.outcome[rows],
            confounders=self.confounders.of(rows),
            modifiers=self.modifiers.of(rows),
            placebo_outcomes={name: values[rows] for name, values in self.placebo_outcomes.items()},
            clusters=None if self.clusters is None else self.clusters[rows],
            levels=self.levels,
        )

    def level(self, code: int) -> str:
        """What a level of the treatment is called."""
        return self.levels[code] if self.levels else str(code)


@dataclass(frozen=True)
class Design:
    """What is asked, and what is known of how the treatment was chosen.

    `unrecorded` names what it was chosen by and the study does not hold. Where recorded facts had a part in the choice
    too, no test on the data can find such a thing: it has to be declared, here or as a latent node of `graph`. Without
    `trims`, rows that could have had one treatment only stay in, and must then be few. `is_vouched`: the asker answers
    for the confounders, so that a treatment of which they tell nothing is taken for one dealt out at random.
    """

    kind: Kind = "binary"
    estimand: Estimand = "ATE"
    is_randomised: bool = False
    unrecorded: tuple[str, ...] = ()
    graph: Graph | None = None
    trims: bool = True
    is_vouched: bool = False


def column_of(name: str) -> str:
    """The column that a covariate comes from."""
    return name.split("=", 1)[0]
