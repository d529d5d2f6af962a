"""The average effect of a treatment of few levels, on all or on the treated, and what speaks against believing it.

Cross-fitted nuisances are shared by everything. How an effect is estimated is the business of `level_estimators`; tests
are in `gates`, a real treatment in `continuous`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ml_assets.core.causal import gates
from ml_assets.core.causal.caveats import of_choice, of_one_unit
from ml_assets.core.causal.effect import (
    FOLDS,
    LINEAR,
    SEED,
    SMOOTH,
    STACKED,
    Nuisances,
    prepared,
    smooth_propensity_model,
)
from ml_assets.core.causal.finding import Balance, Estimate, Finding, Gate, NamedEstimate, Propensities
from ml_assets.core.causal.graph import IS, WHY, Identification, identify
from ml_assets.core.causal.groups import group_effects
from ml_assets.core.causal.heterogeneity import heterogeneity
from ml_assets.core.causal.interactions import told, with_products
from ml_assets.core.causal.level_estimators import (
    Problem,
    clipped,
    dealt_chances,
    doubly_robust,
    folds_of,
    guessed_chances,
    interval,
    partialled_out,
    sizes_of,
    supported,
    treated_levels,
)
from ml_assets.core.causal.sensitivity import sensitivity
from ml_assets.core.causal.study import Covariates, Design, Matrix, Study, Vector, column_of

DOUBLY_ROBUST, PARTIALLED_OUT, NAIVE = "doubly robust", "double machine learning", "difference of means"
PLACEBO_DRAWS = 10
PLACEBO_ROWS = 5_000
"""Of more rows a seeded sample is dealt treatments at random: what is tested is the procedure."""
REFUTED_ROWS = 20_000
"""Of more rows a seeded sample gets a common cause that is noise, and is halved."""
REFITTED_SHARE = 0.05
"""Where more rows than this are left out, nuisances are fitted anew to those that stay."""
FEWEST_FOR_TREES = 500
"""Rows of a level: with LaLonde's 185 treated, stacked nuisances widened the interval by a fifth for nothing."""
BINS = 20


def assess_levels(study: Study, design: Design, nuisances: Nuisances | None = None, *, seed: int = SEED) -> Finding:
    """Estimate the effect of each level of the treatment against the control, and try to refute it.

    By default with `STACKED` nuisances where trees have enough rows of each level for them. The interval of an answer
    takes rows for a sample of those that might have been asked about. The effect on the treated is that on those who
    got the level.

    Raises:
        GraphError: the graph of `design` cannot be used.
    """
    arms = study.treatment.astype(np.int64)
    levels = max(int(arms.max(initial=0)) + 1, 2)
    if nuisances is None:
        nuisances = STACKED if np.bincount(arms, minlength=levels).min() >= FEWEST_FOR_TREES else SMOOTH
    treated, control = int((arms > 0).sum()), int((arms == 0).sum())
    sizes = sizes_of(arms, study.clusters, levels)
    first = [gates.arm_sizes(sizes, "rows" if study.clusters is None else "clusters")]
    identification = identified_by(study, design)
    if identification is not None:
        first.append(_identification_gate(identification))
    if not all(gate.passed for gate in first):
        return Finding(None, (), tuple(first), treated, control)
    plain = [NamedEstimate(NAIVE, _contrast(study, level), naive(study, level)) for level in treated_levels(levels)]
    adjusted = study if identification is None else replace(study, confounders=_without(study, identification))
    if design.estimand == "ATT" and levels > 2:
        found = [_assess(_pair(adjusted, level), design, nuisances, 2, seed) for level in treated_levels(levels)]
        answer = _merged(found)
    else:
        answer = _assess(adjusted, design, nuisances, levels, seed)
    return replace(
        answer,
        naive=plain[0].estimate,
        naives=tuple(plain) if levels > 2 else (),
        gates=(*first, *answer.gates),
        treated=treated,
        control=control,
        warnings=(*_told_of(identification), *answer.warnings),
    )


def naive(study: Study, level: int = 1) -> Estimate:
    """The difference of the mean outcomes of a level and of the control, whoever is in them (Welch's interval)."""
    arms = [study.outcome[study.treatment == code] for code in (0, level)]
    error = float(np.sqrt(sum(arm.var(ddof=1) / len(arm) for arm in arms)))
    return interval(float(arms[1].mean() - arms[0].mean()), error)


def identified_by(study: Study, design: Design) -> Identification | None:
    """What the graph of `design` says of the confounders, if it has one."""
    if design.graph is None:
        return None
    columns = dict.fromkeys(map(column_of, study.confounders.names))
    return identify(design.graph, design.graph.treatment, design.graph.outcome, columns)


def _assess(study: Study, design: Design, nuisances: Nuisances, levels: int, seed: int) -> Finding:
    """The effect where there are enough rows of each level, and a graph does not speak against it."""
    arms = study.treatment.astype(np.int64)
    whole = Problem(
        covariates=prepared(study.confounders.values),
        arms=arms,
        levels=levels,
        clusters=study.clusters,
        folds=folds_of(arms, study.clusters, seed),
        estimand=design.estimand,
    )
    guessed = guessed_chances(whole, nuisances)
    chances = dealt_chances(whole) if design.is_randomised else guessed
    comparable = supported(whole, chances)
    counted = arms > 0 if design.estimand == "ATT" and design.trims else np.ones(len(arms), dtype=bool)
    kept = comparable if design.trims else np.ones(len(arms), dtype=bool)
    sizes = sizes_of(arms, study.clusters, levels)
    rankings = [_ranking(whole, guessed, level) for level in treated_levels(levels)]
    first = (
        gates.back_door(design, rankings, [(sizes[0], size) for size in sizes[1:]]),
        gates.overlap(comparable, counted, design),
    )
    found = Finding(
        None,
        (),
        first,
        int((arms > 0).sum()),
        int((arms == 0).sum()),
        trimmed_share=float(1 - kept.mean()),
        propensity=_histogram(study, whole, guessed),
    )
    clusters = None if study.clusters is None else study.clusters[kept]
    if min(sizes_of(arms[kept], clusters, levels)) < gates.SMALLEST_ARM // 2:
        return found
    inside, rows = whole.of(kept, seed), study.of(kept)
    rows, products = (rows, ()) if design.is_randomised else with_products(rows)
    if kept.all() and not products:
        inside, inner = whole, chances
    elif products or found.trimmed_share > REFITTED_SHARE:
        inside = replace(inside, covariates=prepared(rows.confounders.values))
        inner = guessed_chances(inside, nuisances)
    else:
        inner = chances[kept]
    inner = clipped(inside, inner)
    scores = [doubly_robust(inside, inner, rows.outcome, nuisances, level) for level in treated_levels(levels)]
    seconds = partialled_out(inside, inner, rows.outcome, nuisances)
    contrasts = [_contrast(study, level) for level in treated_levels(levels)]
    shown, after = _balanced(study, rows, inside)
    more: list[Gate] = []
    if all(gate.passed for gate in first):  # what is refused already need not be refuted
        more = [
            gates.effective_size(after),
            gates.balance(shown, [gates.kish(weights) for weights in after]),
            gates.agreement([(one.estimate, other) for one, other in zip(scores, seconds, strict=True)]),
            *_refutations(inside, inner, rows, nuisances, contrasts, seed),
        ]
    estimates = tuple(
        NamedEstimate(method, contrast, estimate)
        for contrast, score, second in zip(contrasts, scores, seconds, strict=True)
        for method, estimate in ((DOUBLY_ROBUST, score.estimate), (PARTIALLED_OUT, second))
    )
    strength = sensitivity(scores[0].parts, rows.outcome, rows.confounders)
    return replace(
        found,
        estimates=estimates,
        groups=tuple(
            one
            for level, contrast, score in zip(treated_levels(levels), contrasts, scores, strict=True)
            for one in group_effects(rows.modifiers, inside, level, contrast, score)
        ),
        gates=(*first, *more),
        balance=tuple(shown),
        sensitivity=strength,
        heterogeneity=heterogeneity(rows, inside.covariates, SMOOTH, seed) if study.modifiers.names else None,
        warnings=(
            *_warnings(study, design, replace(found, estimates=estimates, sensitivity=strength), first[0]),
            *told(products),
            *of_one_unit(scores[0].parts.influence, inside.clusters),
        ),
    )


# What speaks against it


def _balanced(study: Study, rows: Study, inside: Problem) -> tuple[list[Balance], list[Vector]]:
    """How alike the arms are before anything, and after weighting by a smooth model; and the weights of each arm.

    The weights are of a model that is fitted to the very rows: predictions for unseen rows leave chance differences
    between the arms, which the outcome model removes (the worst of 25 weighted |SMD| of 1,800 randomised customers was
    up to 0.11 with them, 0.05 with these).
    """
    model = smooth_propensity_model(5.0).fit(inside.covariates, inside.arms)
    chances = clipped(inside, model.predict_proba(inside.covariates))
    weights = 1 / chances[np.arange(len(inside.arms)), inside.arms]
    if inside.estimand == "ATT":
        weights = np.where(inside.arms == 1, 1.0, chances[:, 1] / chances[:, 0])
    whole = study.treatment.astype(np.int64)
    even = np.ones(len(whole))
    levels = treated_levels(inside.levels)
    before = np.max([gates.differences(study.confounders, whole, even, level) for level in levels], axis=0, initial=0.0)
    after = np.max(
        [gates.differences(rows.confounders, inside.arms, weights, level) for level in levels], axis=0, initial=0.0
    )
    columns = zip(study.confounders.names, before, after[: len(before)], strict=True)  # products come last
    shown = [Balance(name, float(plain), float(weighted)) for name, plain, weighted in columns]
    return shown, [weights[inside.arms == level] for level in range(inside.levels)]


def _refutations(
    problem: Problem, chances: Matrix, rows: Study, nuisances: Nuisances, contrasts: list[str], seed: int
) -> list[Gate]:
    """Attempts at refuting the estimate: each asks for an effect of which the truth is known."""
    generator = np.random.default_rng(seed)
    some, outcome = _sample(problem, rows.outcome, REFUTED_ROWS, generator, seed)
    noisy = replace(some, covariates=np.column_stack([some.covariates, generator.normal(size=len(outcome))]))
    without_noise, with_noise = _cheap(some, outcome), _cheap(noisy, outcome)
    return [
        gates.placebo_treatment(np.array(list(_placebo_effects(problem, rows.outcome, generator)))),
        gates.random_common_cause(without_noise, with_noise),
        *_halves(some, outcome, generator, seed),
        *_negative_controls(problem, chances, rows, nuisances, contrasts),
    ]


def _sample(
    problem: Problem, outcome: Vector, most: int, generator: np.random.Generator, seed: int
) -> tuple[Problem, Vector]:
    """The rows, or as many of them as are enough; whole clusters where rows depend on each other."""
    if len(outcome) <= most:
        return problem, outcome
    names = generator.permutation(np.unique(problem.units))
    kept = np.isin(problem.units, names[: max(2, len(names) * most // len(outcome))])
    return problem.of(kept, seed), outcome[kept]


def _cheap(problem: Problem, outcome: Vector, nuisances: Nuisances = SMOOTH) -> Estimate:
    """The effect of the first level by nuisances that take little time."""
    chances = clipped(problem, guessed_chances(problem, nuisances))
    return doubly_robust(problem, chances, outcome, nuisances, 1).estimate


def _placebo_effects(problem: Problem, outcome: Vector, generator: np.random.Generator) -> Iterator[float]:
    """Effects of the treatment after it is dealt out anew, by linear nuisances."""
    rows = np.arange(len(outcome))
    if len(rows) > PLACEBO_ROWS:
        rows = np.sort(generator.choice(rows, PLACEBO_ROWS, replace=False))
    for _ in range(PLACEBO_DRAWS):
        arms = generator.permutation((problem.arms[rows] > 0).astype(np.int64))
        if min(np.bincount(arms, minlength=2)) < FOLDS * 2:
            continue
        dealt = Problem(problem.covariates[rows], arms, 2, None, folds_of(arms, None, SEED), "ATE")
        yield _cheap(dealt, outcome[rows], LINEAR).ate


def _halves(problem: Problem, outcome: Vector, generator: np.random.Generator, seed: int) -> list[Gate]:
    """The gate of two halves, where they are large enough to be told apart from chance."""
    names = np.unique(problem.units)
    first = np.isin(problem.units, generator.permutation(names)[: len(names) // 2])
    halves = [problem.of(half, seed) for half in (first, ~first)]
    if min(min(sizes_of(half.arms, half.clusters, half.levels)) for half in halves) < gates.SMALLEST_ARM // 2:
        return []
    one, other = (_cheap(half, outcome[place]) for half, place in zip(halves, (first, ~first), strict=True))
    return [gates.random_subset((one, other))]


def _negative_controls(
    problem: Problem, chances: Matrix, rows: Study, nuisances: Nuisances, contrasts: list[str]
) -> list[Gate]:
    """The gate of what the treatment cannot have changed, where the study has some of it."""
    effects = [
        (name if problem.levels == 2 else f"{name} ({contrast})", score.estimate)
        for name, values in rows.placebo_outcomes.items()
        if values.std() > 0
        for level, contrast in zip(treated_levels(problem.levels), contrasts, strict=True)
        for score in [doubly_robust(problem, chances, values, nuisances, level)]
    ]
    return [gates.negative_controls(effects)] if effects else []


def _warnings(study: Study, design: Design, found: Finding, door: Gate) -> tuple[str, ...]:
    """What a reader of the answer has to know, and no gate says."""
    told = []
    if found.trimmed_share > 0:
        who = "treated with comparable controls" if design.estimand == "ATT" else "rows that could have had any arm"
        told.append(f"Of the rows {found.left_out} were left out; the effect is that on the {who}.")
    if not design.trims:
        told.append("Rows without a comparison were not left out: for them the effect is extrapolated.")
    effect = found.estimates[0].estimate if found.estimates else None
    told += of_choice(design, door, bool(study.placebo_outcomes), effect, found.sensitivity)
    return tuple(told)


# Small change


def _contrast(study: Study, level: int) -> str:
    return f"{study.level(level)} against {study.level(0)}"


def _ranking(problem: Problem, chances: Matrix, level: int) -> tuple[Vector, Vector]:
    """Who got a level rather than the control, and the chance of it."""
    pair = (problem.arms == 0) | (problem.arms == level)
    both = chances[pair]
    return (problem.arms[pair] == level).astype(np.float64), both[:, level] / (both[:, 0] + both[:, level])


def _histogram(study: Study, problem: Problem, chances: Matrix) -> Propensities:
    """How the chance of being treated at all is spread in each arm."""
    edges = np.linspace(0, 1, BINS + 1)
    chance = 1 - chances[:, 0]
    counts = [np.histogram(chance[problem.arms == level], edges)[0] for level in range(problem.levels)]
    return Propensities(
        tuple(edges.tolist()),
        tuple(study.level(level) for level in range(problem.levels)),
        tuple(tuple(int(count) for count in arm) for arm in counts),
    )


def _identification_gate(found: Identification) -> Gate:
    return Gate("identification", found.adjustment is not None, float(found.adjustment is not None), found.reason)


def _told_of(found: Identification | None) -> tuple[str, ...]:
    refused = found.refused.items() if found else ()
    return tuple(f"{name} is no confounder but {IS[role]} and was left out: {WHY[role]}." for name, role in refused)


def _without(study: Study, found: Identification) -> Covariates:
    columns = {column_of(name) for name in study.confounders.names}
    return study.confounders.only(columns - set(found.refused))


def _pair(study: Study, level: int) -> Study:
    """The rows of a level and of the control."""
    rows = (study.treatment == 0) | (study.treatment == level)
    levels = (study.level(0), study.level(level))
    return replace(study.of(rows), treatment=(study.treatment[rows] == level).astype(np.float64), levels=levels)


def _merged(found: list[Finding]) -> Finding:
    """The findings of several levels as one: of each gate the first that failed, or that of the first level."""
    names = dict.fromkeys(gate.name for one in found for gate in one.gates)
    worst = [
        min((gate for one in found if (gate := one.gate(name)) is not None), key=lambda gate: gate.passed)
        for name in names
    ]
    is_whole = all(one.estimates for one in found)
    return replace(
        found[0],
        estimates=tuple(estimate for one in found for estimate in one.estimates) if is_whole else (),
        groups=tuple(group for one in found for group in one.groups),
        gates=tuple(worst),
        trimmed_share=max(one.trimmed_share for one in found),
        warnings=tuple(dict.fromkeys(warning for one in found for warning in one.warnings)),
    )
