"""What one treated unit, or a few treated at the same time, would have done: as a mix of the untreated ones.

The answer is the synthetic control (Abadie, Diamond and Hainmueller 2010, JASA 105), believed where the mix followed
the unit before the treatment and by how far off mixes are for units that were never treated; synthetic
difference-in-differences (Arkhangelsky, Athey, Hirshberg, Imbens and Wager 2021, AER 111) must agree. Many treated
units, or treated at different times, are `did`'s business.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ml_assets.core.causal.finding import CONFIDENCE, Estimate, Finding, Gate, NamedEstimate
from ml_assets.core.causal.gates import agreement_of_two, told
from ml_assets.core.causal.panels.table import Panel, PanelError
from ml_assets.core.causal.study import Matrix, Vector

SEED = 17
FEWEST_DONORS, FEWEST_BEFORE = 19, 8
"""With 19 donors the least p-value is 1 in 20."""
LARGEST_MISFIT = 0.35
"""The root mean squared error before the treatment, over the spread of the unit's own outcome then."""
PLACEBO_DRAWS = 100
SHARE_BACKDATED = 0.3
SYNTHETIC, DIFFERENCED = "synthetic control", "synthetic difference-in-differences"


class SyntheticFinding(NamedTuple):
    """The finding, and what its pictures need: paths by period, the weights of donors and the placebos' gaps.

    `p` is the rank of the unit's error after over before the treatment among those of the donors.
    """

    finding: Finding
    times: tuple[object, ...]
    first_treated: int
    actual: tuple[float, ...]
    synthetic: tuple[float, ...]
    weights: tuple[tuple[str, float], ...]
    placebo_gaps: tuple[tuple[float, ...], ...]
    p: float


def assess_synthetic(panel: Panel) -> SyntheticFinding:
    """Estimate the mean effect on the treated after the treatment, and try to refute it.

    Raises:
        PanelError: units were treated at different times, or none was never treated.
    """
    starts = np.unique(panel.adoption[panel.treated])
    if len(starts) != 1:
        raise PanelError(
            f"Units were treated at {len(starts)} times. A synthetic control is for one time: ask for one of them, or "
            "for difference-in-differences."
        )
    first, mine, donors = int(starts[0]), panel.outcome[panel.treated].mean(axis=0), panel.outcome[~panel.treated]
    if len(donors) == 0:
        raise PanelError("All units are treated. Add units that never were.")
    treated = int(panel.treated.sum())
    plain = _naive(mine, donors, first)
    enough = _enough(len(donors), first)
    if not enough.passed:
        finding = Finding(plain, (), (enough,), treated, len(donors))
        return SyntheticFinding(finding, panel.times, first, tuple(mine.tolist()), (), (), (), float("nan"))
    weights = convex_weights(donors[:, :first], mine[:first])
    path = weights @ donors
    gaps = _placebo_gaps(donors, first)
    answer, p = _judged(mine - path, gaps, first)
    second = differenced(panel.outcome[panel.treated], donors, first)
    gates = (
        enough,
        _fit(mine, path, first),
        _spread(weights),
        agreement_of_two(answer, second),
        _backdated(mine, donors, first),
    )
    estimates = (
        NamedEstimate(SYNTHETIC, "after the treatment", answer),
        NamedEstimate(DIFFERENCED, "after the treatment", second),
    )
    names = [str(name) for name, is_treated in zip(panel.units, panel.treated, strict=True) if not is_treated]
    heavy = sorted(zip(names, weights.tolist(), strict=True), key=lambda one: -one[1])
    return SyntheticFinding(
        finding=Finding(plain, estimates, gates, treated, len(donors)),
        times=panel.times,
        first_treated=first,
        actual=tuple(mine.tolist()),
        synthetic=tuple(path.tolist()),
        weights=tuple((name, weight) for name, weight in heavy if weight > 1e-4),
        placebo_gaps=tuple(tuple(gap) for gap in gaps.tolist()),
        p=p,
    )


def convex_weights(donors: Matrix, goal: Vector, penalty: float = 0.0) -> Vector:
    """Weights of the rows of `donors`, none negative and 1 in sum, whose mix is nearest to `goal` by least squares.

    `penalty` times the sum of their squares is added to what is least. Non-negative least squares with a heavy row for
    the sum.
    """
    from scipy.optimize import nnls

    scale = max(float(np.abs(donors).max(initial=0.0)), float(np.abs(goal).max(initial=0.0)), 1e-300)
    heavy = 1e4 * np.sqrt(len(goal))
    rows = [donors.T / scale, np.full((1, len(donors)), heavy)]
    if penalty > 0:
        rows.append(np.sqrt(penalty) / scale * np.eye(len(donors)))
    target = np.concatenate([goal / scale, [heavy], np.zeros(len(donors) if penalty > 0 else 0)])
    found: Vector = nnls(np.vstack(rows), target, maxiter=50 * len(donors) + 1000)[0]
    weights: Vector = found / found.sum()
    return weights


def _placebo_gaps(donors: Matrix, first: int) -> Matrix:
    """The gap of each donor from its own mix of the others, in each period."""
    found = []
    for place, goal in enumerate(donors):
        others = np.delete(donors, place, axis=0)
        found.append(goal - convex_weights(others[:, :first], goal[:first]) @ others)
    return np.array(found)


def _judged(gap: Vector, gaps: Matrix, first: int) -> tuple[Estimate, float]:
    """The mean gap after the treatment, with the interval that placebos give it, and the unit's rank among them.

    A gap counts in units of its own error before the treatment: how far the placebos' are from 0 with 95 % is how far
    the unit's may be by chance.
    """

    def error(one: Matrix) -> Vector:
        errors: Vector = np.sqrt((one[..., :first] ** 2).mean(axis=-1))
        return errors

    effect, before = float(gap[first:].mean()), float(error(gap))
    usual = np.maximum(error(gaps), 1e-12 * max(float(np.abs(gaps).max()), 1e-300))
    standard = np.sort(np.abs(gaps[:, first:].mean(axis=1)) / usual)
    place = min(int(np.ceil(CONFIDENCE * (len(standard) + 1))) - 1, len(standard) - 1)
    half = float(standard[place]) * before
    after = np.sqrt((gaps[:, first:] ** 2).mean(axis=1)) / usual
    own = float(np.sqrt((gap[first:] ** 2).mean())) / max(before, 1e-300)
    p = float((1 + (after >= own).sum()) / (1 + len(after)))
    return Estimate(effect, effect - half, effect + half), p


def differenced(treated: Matrix, donors: Matrix, first: int) -> Estimate:
    """Synthetic difference-in-differences, its standard error by placebos among the donors.

    Weights of donors follow the treated up to a constant and are spread by a ridge, weights of periods the mean after
    the treatment; the estimate is the difference of differences by both.
    """
    effect = _difference(treated, donors, first)
    generator = np.random.default_rng(SEED)
    count = min(len(treated), len(donors) // 2)
    placebos = []
    for _ in range(PLACEBO_DRAWS):
        order = generator.permutation(len(donors))
        placebos.append(_difference(donors[order[:count]], donors[order[count:]], first))
    half = 1.96 * float(np.std(placebos, ddof=1)) * np.sqrt(count / len(treated))
    return Estimate(effect, effect - half, effect + half)


def _difference(treated: Matrix, donors: Matrix, first: int) -> float:
    before, after = donors[:, :first], donors[:, first:]
    goal = treated.mean(axis=0)
    noise = float(np.diff(before, axis=1).std())
    ridge = (len(treated) * after.shape[1]) ** 0.5 * noise**2
    own = convex_weights(_centred(before), _centred(goal[None, :first])[0], ridge * first)
    when = convex_weights(_centred(before.T), _centred(after.mean(axis=1)[None, :])[0], 1e-6 * noise**2 * len(donors))
    gap = goal - own @ donors
    return float(gap[first:].mean() - when @ gap[:first])


def _centred(rows: Matrix) -> Matrix:
    centred: Matrix = rows - rows.mean(axis=1, keepdims=True)
    return centred


def _naive(mine: Vector, donors: Matrix, first: int) -> Estimate:
    """The treated less the donors after the treatment, as they are."""
    effect = float(mine[first:].mean() - donors[:, first:].mean())
    half = 1.96 * float(donors[:, first:].mean(axis=1).std(ddof=1)) if len(donors) > 1 else float("inf")
    return Estimate(effect, effect - half, effect + half)


def _enough(donors: int, before: int) -> Gate:
    detail = (
        f"{donors} units were never treated and {before} periods lie before the treatment; {FEWEST_DONORS} and "
        f"{FEWEST_BEFORE} are needed"
    )
    return Gate("arm_sizes", donors >= FEWEST_DONORS and before >= FEWEST_BEFORE, float(donors), detail)


def _fit(mine: Vector, path: Vector, first: int) -> Gate:
    """Whether the mix followed the unit before the treatment: else its gap after it says nothing."""
    error = float(np.sqrt(((mine - path)[:first] ** 2).mean()))
    spread = max(float(mine[:first].std()), 1e-300)
    misfit = error / spread
    detail = (
        f"before the treatment the mix is off by {error:.3g}, {misfit:.0%} of the unit's own spread; at most "
        f"{LARGEST_MISFIT:.0%} may be"
    )
    return Gate("fits_before", misfit <= LARGEST_MISFIT, misfit, detail)


def _spread(weights: Vector) -> Gate:
    """Whether the mix is of more than one unit, whose own luck it would be."""
    effective = float(1 / (weights**2).sum())
    return Gate("is_a_mix", effective >= 1.5, effective, f"the mix is as if of {effective:.1f} donors; at least 1.5")


def _backdated(mine: Vector, donors: Matrix, first: int) -> Gate:
    """Placebo: a treatment dated earlier, looked at before the true one, must have no effect by one method at least.

    One method alone refuses 1 in 20 of what is true.
    """
    earlier = first - max(2, int(SHARE_BACKDATED * first))
    before = donors[:, :first]
    path = convex_weights(before[:, :earlier], mine[:earlier]) @ before
    found, _ = _judged(mine[:first] - path, _placebo_gaps(before, earlier), earlier)
    second = differenced(mine[None, :first], before, earlier)
    detail = (
        f"a treatment dated {first - earlier} periods too early has an effect of {told(found, 3)} and "
        f"{told(second, 3)}; one of the intervals must hold 0"
    )
    return Gate("placebo_earlier_treatment", found.holds(0.0) or second.holds(0.0), found.ate, detail)
