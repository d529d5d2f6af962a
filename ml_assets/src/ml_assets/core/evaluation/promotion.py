"""The gate of a model: a challenger against the champion, on rows that neither has learned from.

A pure judgement of losses and figures. How they are made for a kind of model is `ml_assets.core.models.contests`; what
is done about the verdict, `ml_assets.core.registry` and `ml_assets.defs.training`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from ml_assets.core.evaluation.classification import Interval

DRAWS = 500
SEED = 17
CONFIDENCE = 0.95
"""Of each bound of a gain on its own side: a challenger that is as good as the champion beats it once in twenty."""
STALE_DAYS = 90
"""A champion whose data are so much older has not seen the customers' last quarter: the label window of churn."""
FEWEST_ROWS = 100
"""Of fewer rows, nothing is concluded: neither of all of them nor of a subgroup."""
MUCH_WORSE = 1.10
"""A subgroup whose mean loss, or a miscalibration, that grows beyond this factor keeps a challenger back."""
LATENCY_MS = 20.0
"""What one prediction may take: the API's ONNX models take 0.01 ms, fitted distributions some ms."""

Vector = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class NotComparable(ValueError):  # noqa: N818 - names what is the case, as the errors of the kernel do
    """There is nothing on which champion and challenger could be compared fairly. The message says why."""


class Contest(NamedTuple):
    """What champion and challenger did on the same rows: an entry of both losses for each, the smaller the better.

    `window` is the half-open span of days in which the outcomes lie, after all that either learned from. `margin` is
    the difference of the mean loss, in the unit of `loss`, that is no inferiority. `miscalibration` is that of the
    champion and of the challenger, None for models that give no probabilities or amounts; up to `tolerated` it is none.
    `groups` marks rows. `newer_days` is by how much the data of the challenger go on after the champion's, `latency_ms`
    what one prediction of the challenger takes, None where nobody waits for it. `further` is what else is to be told.
    """

    loss: str
    window: tuple[date, date]
    champion: Vector
    challenger: Vector
    margin: float
    miscalibration: tuple[float, float] | None
    tolerated: float
    groups: Mapping[str, Mask]
    newer_days: int
    latency_ms: float | None
    further: Mapping[str, float] = MappingProxyType({})


class Verdict(BaseModel):
    """What becomes of a trained version, and why.

    `promoted`: it is the champion from now on. `kept`: nothing is wrong with it, and the champion goes on. `refused`:
    it must not take the champion's place.
    """

    model_config = ConfigDict(frozen=True)

    outcome: Literal["promoted", "kept", "refused"]
    reason: str
    evidence: dict[str, float | int | str] = {}


def judge(contest: Contest) -> Verdict:
    """The verdict on a challenger.

    It is promoted where the 95 % lower bound of its gain is above 0; or above minus the margin, where the champion is
    stale. In neither case may it be miscalibrated, slow, or much worse for a subgroup.

    Raises:
        NotComparable: there are too few rows.
    """
    rows = len(contest.champion)
    if rows < FEWEST_ROWS:
        raise NotComparable(f"the outcomes of {rows} rows are known, and {FEWEST_ROWS} are needed to compare")
    found = gain(contest.champion, contest.challenger)
    evidence = _evidence(contest, found)
    told = (
        f"its {contest.loss} is {found.value:.4g} smaller on average (95 % bounds {found.low:.4g} to {found.high:.4g})"
    )
    faults = list(_faults(contest))
    if faults:
        return Verdict(outcome="refused", reason="; ".join(faults), evidence=evidence)
    if found.low > 0:
        return Verdict(outcome="promoted", reason=f"better than the champion: {told}", evidence=evidence)
    if found.low > -contest.margin and contest.newer_days >= STALE_DAYS:
        reason = f"no worse than the champion, whose data are {contest.newer_days} days older: {told}"
        return Verdict(outcome="promoted", reason=reason, evidence=evidence)
    if found.high < 0 and found.value < -contest.margin:
        return Verdict(outcome="refused", reason=f"worse than the champion: {told}", evidence=evidence)
    return Verdict(outcome="kept", reason=f"not shown to be better than the champion: {told}", evidence=evidence)


def gain(champion: Vector, challenger: Vector) -> Interval:
    """By how much the challenger's mean loss is smaller, with its lower and its upper 95 % bound.

    A paired percentile bootstrap (Efron and Tibshirani 1993, ch. 13), seeded: the rows are drawn, and each with what
    both made of it, so that what is hard for both cancels out.
    """
    gains = champion - challenger
    generator = np.random.default_rng(SEED)
    means = [gains[generator.integers(0, len(gains), len(gains))].mean() for _ in range(DRAWS)]
    low, high = np.quantile(means, [1 - CONFIDENCE, CONFIDENCE])
    return Interval(float(gains.mean()), float(low), float(high))


def _faults(contest: Contest) -> Iterator[str]:
    """What keeps a challenger back however small its loss is."""
    before, after = contest.miscalibration or (0.0, 0.0)
    if not after <= max(contest.tolerated, MUCH_WORSE * before):
        yield f"miscalibrated by {after:.3f}: {contest.tolerated:g} is tolerated, and the champion is by {before:.3f}"
    if contest.latency_ms is not None and not contest.latency_ms <= LATENCY_MS:
        yield f"one prediction takes {contest.latency_ms:.1f} ms, and {LATENCY_MS:g} are allowed"
    for name, rows in contest.groups.items():
        if rows.sum() < FEWEST_ROWS:
            continue
        champion, challenger = contest.champion[rows], contest.challenger[rows]
        if challenger.mean() > MUCH_WORSE * champion.mean() and gain(champion, challenger).high < 0:
            losses = f"{challenger.mean():.4g} on average, and the champion's {champion.mean():.4g}"
            yield f"much worse where {name}: its {contest.loss} is {losses}"


def _evidence(contest: Contest, found: Interval) -> dict[str, float | int | str]:
    first, end = contest.window
    optional: dict[str, float | int | str] = dict(contest.further)
    if contest.miscalibration is not None:
        before, after = contest.miscalibration
        optional |= {"champion_miscalibration": before, "challenger_miscalibration": after}
    if contest.latency_ms is not None:
        optional["latency_ms"] = round(contest.latency_ms, 3)
    return {
        "loss": contest.loss,
        "from": first.isoformat(),
        "to": end.isoformat(),
        "rows": len(contest.champion),
        "champion_loss": float(contest.champion.mean()),
        "challenger_loss": float(contest.challenger.mean()),
        "gain": found.value,
        "gain_low": found.low,
        "gain_high": found.high,
        "margin": contest.margin,
        "newer_days": contest.newer_days,
        **optional,
    }
