"""How the outcome of a study follows an amount, where that is more than one straight line.

What is asked of which rows, and how the treatment was chosen, is `ml_assets.core.causal.study`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from ml_assets.core.causal.study import NO_COVARIATES, Covariates, Labels, Rows, Study, Vector


@dataclass(frozen=True)
class Shape:
    """How the outcome follows the treatment, where that is more than one straight line.

    With the link `log` the mean of the outcome is exponential in the treatment, and an effect is that on its logarithm:
    of a logarithm of a price, the elasticity. `levels` group rows that share an unknown level, and are called
    `level_names` in a graph. `beside` is what was set along with the treatment (the depth of a discount beside there
    being one) and is held fixed by a straight line. `groups` numbers the parts with an effect of their own, whose names
    are `group_names`: the answer is then their mean weighted by the outcome. `later` is the treatment of a later time,
    NaN for unknown. As a `ratio`, an effect on the logarithm is told as the outcome's relative change.
    """

    link: Literal["identity", "log"] = "identity"
    levels: tuple[Labels, ...] = ()
    level_names: tuple[str, ...] = ()
    beside: Covariates = NO_COVARIATES
    groups: Labels | None = None
    group_names: tuple[str, ...] = ()
    later: Vector | None = None
    is_ratio: bool = False

    def of(self, rows: Rows) -> Shape:
        """That of some of the rows."""
        return replace(
            self,
            levels=tuple(grouping[rows] for grouping in self.levels),
            beside=self.beside.of(rows),
            groups=None if self.groups is None else self.groups[rows],
            later=None if self.later is None else self.later[rows],
        )


STRAIGHT = Shape()


@dataclass(frozen=True)
class ShapedStudy(Study):
    """A study whose outcome follows the treatment by more than one straight line."""

    shape: Shape = STRAIGHT

    def of(self, rows: Rows) -> ShapedStudy:
        """Some of the rows."""
        some = super().of(rows)
        return ShapedStudy(**{f.name: getattr(some, f.name) for f in fields(some)}, shape=self.shape.of(rows))


def shape_of(study: Study) -> Shape:
    """The shape of a study: a straight line where it has none of its own."""
    return study.shape if isinstance(study, ShapedStudy) else STRAIGHT
