"""The tests that an effect must pass before anybody acts on it. Each can fail, and says in words why it does.

Their levels are set for all of them together: chance refuses one or two of a hundred effects that are identified, most
of them by the negative controls. Estimates are made in `level_estimators`; gates of amounts alone are in `continuous`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ml_assets.core.causal.caveats import TAKEN_FOR_RANDOM
from ml_assets.core.causal.finding import Balance, Estimate, Gate
from ml_assets.core.causal.gaps import Gap
from ml_assets.core.causal.study import Covariates, Design, Labels, Vector

OVERLAP_SHARE = 0.95
ASK_OF_TREATED = ": ask for the effect on the treated (ATT), or of a population in which both happen"
TREATED_REFUSED = ", and the effect on the treated (ATT) is refused, too: ask of a population in which both happen"
SMALLEST_ARM = 50
"""Rows of an arm, or clusters where rows depend on each other."""
SMALLEST_EFFECTIVE_ARM = 30
BALANCE_SMD = 0.1
CHANCE_SMD = 2.0
"""Standard errors between means of arms of the effective size: less is no sign of imbalance (Austin 2009)."""
ASSIGNMENT_ERRORS = 3.0
"""Standard errors from 0.5 beyond which an AUC is no chance."""
NEGATIVE_CONTROL_LEVEL = 0.01
"""How often chance fails the negative controls of an identified effect, all of them together (Bonferroni)."""
PLACEBO_LEVEL = 0.001
MOST_FALSE = 0.2
"""The share of placebo treatments whose 95 % interval may miss 0: of 40 draws more are one in 10,000."""
SUBSET_LEVEL = 0.002
MOST_EMPTY = 0.1
"""The share of rows in which a confounder may be empty, or of a value too rare, whatever that moves."""
SAME_AS_OUTCOME = 0.99
"""The share of the outcome's variance that no fact from before the treatment tells alone."""
MOVED_ERRORS = 1.0
"""Standard errors by which a cause that is pure noise may move an estimate."""

Mask = npt.NDArray[np.bool_]


def told(estimate: Estimate, digits: int = 4) -> str:
    """An estimate with its interval in words."""
    ate, low, high = (f"{value:.{digits}g}" for value in (estimate.ate, estimate.low, estimate.high))
    return f"{ate} [{low}, {high}]"


def arm_sizes(sizes: Sequence[int], unit: str) -> Gate:
    """Whether there are enough rows, or clusters of them, at each level of the treatment."""
    smallest = min(sizes)
    counts = ", ".join(f"{size:,}" for size in sizes)
    detail = f"{counts} {unit} by level of the treatment, the control first; each needs {SMALLEST_ARM}"
    return Gate("arm_sizes", smallest >= SMALLEST_ARM, smallest, detail)


def back_door(design: Design, rankings: Sequence[tuple[Vector, Vector]], sizes: Sequence[tuple[int, int]]) -> Gate:
    """Whether the treatment was chosen as `design` says, and by nothing that the confounders do not hold.

    If it was chosen by recorded facts, these must tell who was treated; if they tell nothing and it was not dealt out
    at random, something unrecorded decided. If it was dealt out at random, they must tell nothing. Where the asker
    vouches for the confounders, facts that tell nothing are taken for a deal at random.

    `rankings` has for each level who got it rather than the control (1 or 0) and the chance of it; `sizes` how many
    independent units got the control and the level.
    """
    from sklearn.metrics import roc_auc_score

    furthest, ranking, error = -np.inf, 0.5, 0.0
    for (got, chance), (control, treated) in zip(rankings, sizes, strict=True):
        auc = float(roc_auc_score(got, chance))
        spread = float(np.sqrt((control + treated + 1) / (12 * control * treated)))
        if (auc - 0.5) / spread > furthest:
            furthest, ranking, error = (auc - 0.5) / spread, auc, spread
    tells = furthest > ASSIGNMENT_ERRORS
    words = f"what is recorded ranks the treated with an AUC of {ranking:.3f} (chance is 0.5 ± {error:.3f})"
    if design.unrecorded:
        detail = f"the treatment was also chosen by what is not recorded: {', '.join(design.unrecorded)}"
        return Gate("back_door", False, ranking, detail)
    if design.is_randomised:
        return Gate("back_door", not tells, ranking, f"declared as random: {words}")
    if tells or not design.is_vouched:
        return Gate("back_door", tells, ranking, f"declared as chosen by recorded facts: {words}")
    return Gate("back_door", True, ranking, f"{TAKEN_FOR_RANDOM}: {words}")


def overlap(kept: Mask, counted: Mask, design: Design) -> Gate:
    """Whether nearly all rows that the effect is about could have been in either arm."""
    share = float(kept[counted].mean())
    whose = "treated rows have comparable controls" if design.estimand == "ATT" else "rows could have been in any arm"
    if not design.trims:
        whose = "rows could have been in any arm, and none were left out"
    cure = ""
    if share < OVERLAP_SHARE:
        cure = "; for the others the data hold no comparison"
        if design.estimand == "ATE" and design.kind == "binary":
            cure += ASK_OF_TREATED
    return Gate(
        "overlap", share >= OVERLAP_SHARE, share, f"{share:.1%} of {whose}; at least {OVERLAP_SHARE:.0%} must{cure}"
    )


def confounders_are_known(empty: Mapping[str, float], telling: Mapping[str, Gap]) -> Gate:
    """Whether no column that tells the treatment is empty in so many rows that the answer would not be of its effect.

    `empty` has the share of each column that is empty in some rows, `telling` those of them that tell the treatment.
    """
    if not telling:
        told = ", ".join(f"{name} in {share:.0%} of the rows" for name, share in empty.items())
        return Gate("confounders_are_known", True, max(empty.values()), f"empty, but telling nothing: {told}")
    what = "what tells the treatment is empty, so that it cannot be held fixed"
    return _of_gaps("confounders_are_known", telling, what, "write what an empty value means, or leave these rows out")


def values_are_held_fixed(pooled: Mapping[str, float], telling: Mapping[str, Gap]) -> Gate:
    """Whether no column of words has so many rare values that those that share a column leave a bias.

    `pooled` has the share of the rows of each column that have such a value, `telling` those of them whose rare values
    tell treatment and outcome.
    """
    if not telling:
        told = ", ".join(f"{name} in {share:.0%} of the rows" for name, share in pooled.items())
        detail = f"of values too rare to be held fixed, but telling not both treatment and outcome: {told}"
        return Gate("values_are_held_fixed", True, max(pooled.values()), detail)
    what = "what tells treatment and outcome has values too rare to be held fixed"
    return _of_gaps("values_are_held_fixed", telling, what, "group the values (cities to regions), or give more rows")


def _of_gaps(gate: str, telling: Mapping[str, Gap], what: str, cure: str) -> Gate:
    """Whether columns that tell the treatment are held fixed in nearly all rows, and the others move it little."""
    failing = {name: gap for name, gap in telling.items() if gap.share > MOST_EMPTY or gap.moves > gap.may_move}
    told = ", ".join(
        f"{name} in {gap.share:.0%} of the rows, which may move the effect by {gap.moves:.3g} (it may by "
        f"{gap.may_move:.3g})"
        for name, gap in (failing or telling).items()
    )
    worst = max(gap.share for gap in (failing or telling).values())
    return Gate(gate, not failing, worst, f"{what}: {told}{f'; {cure}' if failing else ''}")


def no_confounder_is_the_outcome(confounders: Covariates, outcome: Vector) -> Gate | None:
    """Whether none is the outcome in other words, or what came of it; None where none looks like it.

    To hold such a column fixed is to hold the effect fixed.
    """
    shares = {}
    for name, values in zip(confounders.names, confounders.values.T, strict=True):
        known = ~np.isnan(values)
        if known.sum() > 2 and np.ptp(values[known]) > 0 and np.ptp(outcome[known]) > 0:
            shares[name] = float(np.corrcoef(values[known], outcome[known])[0, 1] ** 2)
    worst = max(shares, key=lambda name: shares[name], default=None)
    if worst is None or shares[worst] < SAME_AS_OUTCOME:
        return None
    detail = (
        f"{worst} alone tells {shares[worst]:.1%} of the outcome's variance: it is the outcome in other words, or came "
        "after it; leave it out, as to hold it fixed is to hold the effect fixed"
    )
    return Gate("no_confounder_is_the_outcome", False, shares[worst], detail)


def effective_size(weights: Sequence[Vector]) -> Gate:
    """Whether the weights leave enough rows in each arm: (Σw)² / Σw² (Kish 1965)."""
    smallest = min(kish(weight) for weight in weights)
    detail = f"the weighted arms count as {smallest:,.0f} rows or more; {SMALLEST_EFFECTIVE_ARM} are needed"
    return Gate("effective_size", smallest >= SMALLEST_EFFECTIVE_ARM, smallest, detail)


def kish(weights: Vector) -> float:
    """How many equally weighted rows the weighted ones are worth."""
    return float(weights.sum() ** 2 / max((weights**2).sum(), 1e-300))


def differences(confounders: Covariates, arms: Labels, weights: Vector, level: int) -> Vector:
    """|Standardised mean difference| of each covariate between a level of the treatment and the control, weighted.

    The standard deviation is that of the arms as they are. A covariate that does not vary, or is hardly known in an
    arm, has none: 0.
    """
    found = np.zeros(len(confounders.names))
    for place, values in enumerate(confounders.values.T):
        known = ~np.isnan(values)
        sides = [known & (arms == arm) for arm in (0, level)]
        if min(side.sum() for side in sides) < 2:
            continue
        spread = float(np.sqrt(np.mean([values[side].var() for side in sides])))
        means = [np.average(values[side], weights=weights[side]) for side in sides]
        if spread > 0:
            found[place] = abs(means[1] - means[0]) / spread
    return found


def balance(found: Sequence[Balance], sizes: Sequence[float]) -> Gate:
    """Whether the weighted arms are alike in each covariate, or as alike as chance makes arms of these sizes."""
    worst = max(found, key=lambda one: one.after, default=Balance("none", 0.0, 0.0))
    bound = max(BALANCE_SMD, CHANCE_SMD * float(np.sqrt(sum(1 / size for size in sizes))))
    detail = f"worst weighted |SMD| {worst.after:.3f} ({worst.covariate}); it must stay under {bound:.2g}"
    return Gate("balance", worst.after < bound, worst.after, detail)


def agreement(pairs: Sequence[tuple[Estimate, Estimate]]) -> Gate:
    """Whether the intervals of the two estimators overlap, for each level."""
    gaps = [_apart(first, second) for first, second in pairs]
    first, second = pairs[int(np.argmax(gaps))]
    detail = f"doubly robust {told(first)} and double machine learning {told(second)} must overlap"
    return Gate("agreement", max(gaps) == 0.0, max(gaps), detail)


def agreement_of_two(first: Estimate, second: Estimate) -> Gate:
    """Whether the intervals of the two estimators of an amount or of a panel overlap."""
    gap = _apart(first, second)
    return Gate("agreement", gap == 0.0, gap, f"{told(first, 3)} and {told(second, 3)} must overlap")


def _apart(first: Estimate, second: Estimate) -> float:
    """How far from each other two intervals are; 0 where they overlap."""
    return max(first.low - second.high, second.low - first.high, 0.0)


def placebo_treatment(effects: Vector) -> Gate:
    """Whether treatments that were dealt out at random have no effect, by a t-test of their effects' mean."""
    from scipy.stats import t

    draws = len(effects)
    mean, error = float(effects.mean()), float(effects.std(ddof=1) / np.sqrt(draws))
    bound = float(t.ppf(1 - PLACEBO_LEVEL / 2, draws - 1)) * error
    detail = f"mean effect of {draws} treatments dealt out at random {mean:.4g}; it must be within {bound:.4g} of 0"
    return Gate("placebo_treatment", abs(mean) <= bound, mean, detail)


def placebo_intervals(what: str, effects: Sequence[float], missed: Sequence[bool]) -> Gate:
    """Whether placebo treatments of an amount or of a panel have no effect on average, nor too often by their interval.

    `what` says how they were drawn; `missed` are the draws whose 95 % interval leaves 0 out.
    """
    mean, error = float(np.mean(effects)), float(np.std(effects, ddof=1) / np.sqrt(len(effects)))
    share = float(np.mean(missed))
    detail = (
        f"mean effect of {what} {mean:.3g}; it must be within {3 * error:.3g} of 0. "
        f"{share:.0%} of the intervals miss 0; at most {MOST_FALSE:.0%} may"
    )
    return Gate("placebo_treatment", abs(mean) <= 3 * error and share <= MOST_FALSE, mean, detail)


def random_common_cause(effect: Estimate, with_noise: Estimate) -> Gate:
    """Whether a further covariate that is noise leaves the estimate where it is."""
    error = max((effect.high - effect.low) / 3.92, 1e-300)
    moved = abs(with_noise.ate - effect.ate)
    detail = f"a common cause that is noise moves the estimate by {moved:.4g}; it may by {MOVED_ERRORS * error:.4g}"
    return Gate("random_common_cause", moved <= MOVED_ERRORS * error, moved, detail)


def random_subset(halves: tuple[Estimate, Estimate]) -> Gate:
    """Whether two random halves of the rows have the same effect, as far as chance goes."""
    from scipy.stats import norm

    first, second = halves
    error = float(np.hypot(first.high - first.low, second.high - second.low)) / 3.92
    apart, bound = abs(first.ate - second.ate), float(norm.ppf(1 - SUBSET_LEVEL / 2)) * error
    detail = f"in two random halves it is {told(first)} and {told(second)}; they may be {bound:.4g} apart"
    return Gate("random_subset", apart <= bound, apart, detail)


def negative_controls(effects: Sequence[tuple[str, Estimate]]) -> Gate:
    """Whether the treatment has no effect on what it cannot have changed; one betrays a wrong date or a hidden cause.

    `effects` has what was looked at, and the effect with its 95 % interval.
    """
    from scipy.stats import norm

    allowed = float(norm.ppf(1 - NEGATIVE_CONTROL_LEVEL / (2 * len(effects))))
    errors = [abs(one.ate) / max((one.high - one.low) / 3.92, 1e-300) for _, one in effects]
    furthest = int(np.argmax(errors))
    name, effect = effects[furthest]
    detail = (
        f"effect on {name}, which the treatment cannot have changed, {told(effect)}: {errors[furthest]:.1f} standard "
        f"errors from 0; of {len(effects)} the furthest may be {allowed:.1f}"
    )
    return Gate("negative_controls", errors[furthest] <= allowed, errors[furthest], detail)
