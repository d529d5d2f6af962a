"""The rows that are in the estimate, as the arrays that all estimators and tests take.

Which of the confounders are held fixed is decided before, in `choice`; which rows have an estimate, in `regression`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ml_assets.core.causal.continuous.shape import Shape
from ml_assets.core.causal.effect import prepared
from ml_assets.core.causal.study import Labels, Matrix, Study, Vector, column_of
from ml_assets.core.causal.within import Levels

EVERYBODY = ("all",)
"""The names of the groups where there is one."""
FURTHEST = 4.0
"""Standard deviations to which covariates are drawn in: splines have no support beyond."""


class Data(NamedTuple):
    """Rows that are in the estimate: `columns` are the treatment and what was set beside it."""

    outcome: Vector
    columns: Matrix
    confounders: Matrix
    blocks: tuple[str, ...]
    """The recorded column that each column of `confounders` comes from."""
    groups: Labels
    names: tuple[str, ...]
    clusters: Labels | None
    groupings: tuple[Labels, ...]
    later: Vector | None
    rows: Any
    """Their places in the study."""

    @property
    def as_one_group(self) -> Data:
        """The same rows, with one effect for all of them."""
        return self._replace(groups=_one_group(len(self.outcome)), names=EVERYBODY)

    @property
    def levels(self) -> Levels:
        """The levels of the rows; of rows without, one for each group."""
        return Levels(len(self.outcome), *(self.groupings or (self.groups,)))

    def of(self, rows: Any) -> Data:
        """Some of the rows."""
        return Data(
            self.outcome[rows],
            self.columns[rows],
            self.confounders[rows],
            self.blocks,
            self.groups[rows],
            self.names,
            None if self.clusters is None else self.clusters[rows],
            tuple(grouping[rows] for grouping in self.groupings),
            None if self.later is None else self.later[rows],
            self.rows[rows],
        )


def data_of(study: Study, shape: Shape) -> Data:
    """All rows of a study, and the confounders that it has."""
    columns = dict.fromkeys(map(column_of, study.confounders.names))
    blocks = {column: prepared(study.confounders.only({column}).values) for column in columns}
    beside = shape.beside.values if shape.beside.names else np.empty((len(study), 0))
    return Data(
        outcome=study.outcome,
        columns=np.column_stack([study.treatment, beside]),
        confounders=np.clip(np.column_stack([np.empty((len(study), 0)), *blocks.values()]), -FURTHEST, FURTHEST),
        blocks=tuple(column for column, block in blocks.items() for _ in range(block.shape[1])),
        groups=_one_group(len(study)) if shape.groups is None else shape.groups,
        names=EVERYBODY if shape.groups is None else shape.group_names,
        clusters=study.clusters,
        groupings=shape.levels,
        later=shape.later,
        rows=np.arange(len(study)),
    )


def _one_group(rows: int) -> Labels:
    return np.zeros(rows, dtype=np.int64)
