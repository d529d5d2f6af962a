"""What is found of a question: estimates, the gates that they passed or failed, and what a picture of each needs.

Shapes and the verdict only. `effect` and `continuous` make them, `assess` says which of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal, NamedTuple

CONFIDENCE = 0.95
FEWEST_TOLD = 0.001
"""A smaller share would be rounded to nothing."""

Verdict = Literal["identified", "not identified"]


class Estimate(NamedTuple):
    """An average treatment effect in the outcome's unit, with its 95 % interval."""

    ate: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether `value` lies in the interval."""
        return self.low <= value <= self.high


class NamedEstimate(NamedTuple):
    """An estimate, by which method, and of what against what."""

    method: str
    contrast: str
    estimate: Estimate


class Gate(NamedTuple):
    """One test of an estimate: `value` against `bound`, and in words."""

    name: str
    passed: bool
    value: float
    detail: str


class Balance(NamedTuple):
    """How far apart the arms are in a covariate: |standardised mean difference| as they are, and weighted."""

    covariate: str
    before: float
    after: float


class Propensities(NamedTuple):
    """How many rows of each arm have a propensity between two of `edges`; `arms` has the name of the arm."""

    edges: tuple[float, ...]
    arms: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


class Sensitivity(NamedTuple):
    """How strong something unrecorded would have to be, as shares of what is left of outcome and treatment.

    `robustness` is the share (0 to 1) of both that it would have to explain to bring the estimate to 0, and
    `robustness_interval` to bring an end of the interval there. `benchmark` is the recorded covariate that explains
    most: `outcome_share` and `treatment_share`; `interval` holds the effect if something as strong is not recorded.
    """

    robustness: float
    robustness_interval: float
    benchmark: str
    outcome_share: float
    treatment_share: float
    interval: tuple[float, float]


class Heterogeneity(NamedTuple):
    """Whether predicted effects of rows that were held out are true of them.

    `blp` is the slope of the effects on the predicted ones (1 is right, 0 is noise) with its p-value, `calibration` the
    R² of group means, `qini` the area over treating at random with its standard error and p-value. `curve` is the Qini
    curve: the treated share, and what it adds over treating as many at random.
    """

    blp: float
    blp_p: float
    calibration: float
    qini: float
    qini_error: float
    qini_p: float
    curve: tuple[tuple[float, float], ...]


class GroupEffect(NamedTuple):
    """The effect on the rows in which a modifier has a value (or lies in a range of amounts), and how many they are."""

    modifier: str
    value: str
    rows: int
    contrast: str
    estimate: Estimate


@dataclass(frozen=True)
class Finding:
    """The effect of a treatment, or why there is none.

    `naive` is the difference of the arms as they are, of several levels the first's; `naives` then has each. The first
    of `estimates` is the answer, another is of a different family; of several levels there is a pair for each. They are
    empty where nothing could be estimated. `treated` and `control` count rows before trimming, `trimmed_share` is the
    share that was left out.
    """

    naive: Estimate | None
    estimates: tuple[NamedEstimate, ...]
    gates: tuple[Gate, ...]
    treated: int
    control: int
    trimmed_share: float = 0.0
    balance: tuple[Balance, ...] = ()
    propensity: Propensities | None = None
    sensitivity: Sensitivity | None = None
    heterogeneity: Heterogeneity | None = None
    warnings: tuple[str, ...] = ()
    naives: tuple[NamedEstimate, ...] = ()
    groups: tuple[GroupEffect, ...] = ()

    @property
    def effect(self) -> Estimate | None:
        """The answer, whether or not it is identified; None where nothing could be estimated."""
        return self.estimates[0].estimate if self.estimates else None

    @property
    def left_out(self) -> str:
        """The share of the rows that was left out, in words."""
        return share_told(self.trimmed_share)

    @property
    def identified(self) -> bool:
        """Whether there is an estimate, each with an interval, and every gate was passed."""
        is_told = bool(self.estimates) and all(isfinite(end) for one in self.estimates for end in one.estimate)
        return is_told and all(gate.passed for gate in self.gates)

    @property
    def verdict(self) -> Verdict:
        """In words."""
        return "identified" if self.identified else "not identified"

    def gate(self, name: str) -> Gate | None:
        """The gate that is called so, if it was reached."""
        return next((gate for gate in self.gates if gate.name == name), None)


def share_told(share: float) -> str:
    """A share of rows in words; a small one is not rounded to nothing."""
    if not share:
        return "none"
    return f"{share:.1%}" if share >= FEWEST_TOLD else "fewer than 0.1%"
