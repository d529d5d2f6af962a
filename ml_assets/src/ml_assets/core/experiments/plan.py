"""What was decided before an experiment began: its variants, its metrics and the rules by which it is judged.

Where the numbers come from is the business of `panel` (a shop's marts) and `files` (any file).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["mean", "ratio", "conversion", "revenue"]
Role = Literal["primary", "secondary", "guardrail"]
Correction = Literal["holm", "benjamini_hochberg", "none"]

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Labels = npt.NDArray[np.str_]

POWER = 0.8
"""How often an effect is to be found that is there."""


@dataclass(frozen=True)
class Metric:
    """A figure of each unit whose mean is compared.

    `higher_is_better` is its direction. `smallest_effect` is the least relative effect worth having, `margin` how much
    worse than the control, relative to it, a guardrail may be: it must be shown to be no worse than that. A guardrail
    without a margin must not be shown to be worse.
    """

    name: str
    kind: Kind = "mean"
    role: Role = "secondary"
    unit: str = "per unit"
    higher_is_better: bool = True
    smallest_effect: float | None = None
    margin: float | None = None


@dataclass(frozen=True)
class Rules:
    """How results are judged: `alpha` is the chance of a false find that is accepted, over all metrics and variants.

    With `is_sequential`, whoever decides has looked before the planned end: the intervals that hold at every look
    decide, and not those of a single look. `information` is the share of the planned units that has been seen.
    """

    alpha: float = 0.05
    correction: Correction = "holm"
    is_sequential: bool = False
    information: float = 1.0


@dataclass(frozen=True)
class Measured:
    """A metric of each unit: `value`, for a ratio over `weight`, and what of the time before explains it.

    `covariates` (rows, columns) must not be changed by the treatment, as what was measured before it.
    """

    value: Vector
    weight: Vector | None = None
    covariates: Matrix | None = None

    def of(self, rows: npt.NDArray[np.bool_]) -> Measured:
        """Those of some rows."""
        return Measured(
            self.value[rows],
            None if self.weight is None else self.weight[rows],
            None if self.covariates is None else self.covariates[rows],
        )


@dataclass(frozen=True)
class Units:
    """The units of an experiment. `variants` has the control first, `variant` the place of each unit's there.

    `segments` are known before the assignment.
    """

    variants: tuple[str, ...]
    variant: Codes
    measured: Mapping[str, Measured]
    segments: Mapping[str, Labels]

    @property
    def counts(self) -> dict[str, int]:
        """How many units each variant has."""
        found = np.bincount(self.variant, minlength=len(self.variants))
        return {name: int(count) for name, count in zip(self.variants, found, strict=True)}
