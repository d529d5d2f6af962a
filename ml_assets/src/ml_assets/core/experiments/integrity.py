"""Whether an assignment is what it should be: tests that must pass before anything is estimated.

Pure: who was assigned when, is counted in `panel` for a shop and in `files` for a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ml_assets.core.experiments.plan import Codes, Labels, Vector

SRM_LEVEL = 0.001
"""A p-value below which shares are not chance: each look at it is one more test, so that 0.05 would cry wolf."""
FEWEST_EXPECTED = 5
"""The chi-square test asks for so many expected units in each cell."""
SMALLEST_ARM = 50
SHARED = 0.01
"""Two experiments overlap where they share more than so much of the units of one of them."""


class Check(NamedTuple):
    """One test of an experiment, and in words what was found."""

    name: str
    passed: bool
    detail: str


def sample_ratio(counts: Mapping[str, int], shares: Mapping[str, float]) -> Check:
    """Pearson's chi-square test of the units of each variant against the `shares` that were planned, which sum to 1.

    A mismatch means that units were lost or moved by something that may have to do with the treatment (Fabijan and
    others 2019): differences then are no effects.
    """
    from scipy.stats import chisquare

    found = np.array([counts.get(name, 0) for name in shares], dtype=np.float64)
    expected = np.array(list(shares.values())) * found.sum()
    told = ", ".join(
        f"{name} {int(n):,} of {e:,.0f} expected" for name, n, e in zip(shares, found, expected, strict=True)
    )
    if not found.sum() or expected.min() < FEWEST_EXPECTED:
        return Check("sample_ratio_holds", bool(found.sum()), f"too few units to tell: {told}")
    p_value = float(chisquare(found, expected).pvalue)
    return Check("sample_ratio_holds", p_value >= SRM_LEVEL, f"{told}; p = {p_value:.2g}, must be at least {SRM_LEVEL}")


class Assigned(NamedTuple):
    """Assignments in numbers: units in all, and those of whom something is wrong.

    `twice` are in more than one variant, `unknown` in a variant that the plan does not have, `before` and `after` were
    assigned outside of the experiment's days, `exposed` met the change before they were assigned (None where nobody
    says what an exposure is).
    """

    units: int
    twice: int
    unknown: Mapping[str, int]
    before: int = 0
    after: int = 0
    exposed: int | None = None


def assignment_checks(found: Assigned) -> tuple[Check, ...]:
    """The tests of who was assigned when. `sample_ratio` is apart, as it takes counts of the variants."""
    unknown = ", ".join(f"{name} {count:,}" for name, count in found.unknown.items())
    checks = [
        Check(
            "nobody_has_two_variants", not found.twice, f"{found.twice:,} of {found.units:,} units have two variants"
        ),
        Check(
            "variants_are_known",
            not found.unknown,
            f"units in variants that the plan does not have: {unknown}" if unknown else "all variants are the plan's",
        ),
        Check(
            "assigned_while_it_ran",
            not found.before + found.after,
            f"{found.before:,} units were assigned before the start and {found.after:,} after the end",
        ),
    ]
    if found.exposed is not None:
        told = f"{found.exposed:,} of {found.units:,} units met the change before they were assigned"
        checks.append(Check("nobody_is_exposed_before", not found.exposed, told))
    return tuple(checks)


def covariates_balance(means: Vector, errors: Vector) -> Check:
    """Whether variants differ in what was measured before the assignment: `means` apart, with their standard errors.

    A chi-square test of each, at the level of the sample ratio over their number (Bonferroni).
    """
    from scipy.stats import norm

    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(errors > 0, means / errors, 0.0)
    worst = float(np.abs(z).max(initial=0.0))
    p_value = min(1.0, float(2 * norm.sf(worst)) * max(1, z.size))
    told = f"the largest difference before the assignment is {worst:.1f} standard errors (p = {p_value:.2g})"
    return Check("variants_were_alike_before", p_value >= SRM_LEVEL, told)


class Overlap(NamedTuple):
    """Another experiment on some of the same units at the same time.

    `independence` is the p-value that its variants are dealt out alike within each variant of this one, `interaction`
    that its variants do not change the effect of this one; None where a cell is too small.
    """

    other: str
    shared: int
    share: float
    independence: float | None
    interaction: float | None


def overlap(other: str, variant: Codes, others: Labels, outcome: Vector) -> Overlap:
    """How another experiment meets this one: `others` is its variant for each unit here, empty for who is not in it.

    The interaction is tested on `outcome` between the control and the largest other variant, between the two largest
    variants of the other experiment: the difference of two differences over its standard error.
    """
    from scipy.stats import chi2_contingency, norm

    inside = others != ""
    shared = int(inside.sum())
    share = shared / max(1, len(others))
    names, places = np.unique(others[inside], return_inverse=True)
    codes = variant[inside]
    table = np.zeros((int(variant.max(initial=0)) + 1, len(names)))
    np.add.at(table, (codes, places), 1)
    table = table[table.sum(axis=1) > 0]
    independence = interaction = None
    if table.size and min(table.shape) > 1 and np.outer(table.sum(1), table.sum(0)).min() / shared >= FEWEST_EXPECTED:
        independence = float(chi2_contingency(table, correction=False).pvalue)
    largest = np.argsort(-np.bincount(places, minlength=len(names)), kind="stable")[:2]
    arms = [0, *([int(np.bincount(codes[codes > 0]).argmax())] if (codes > 0).any() else [])]
    cells = [outcome[inside][(codes == arm) & (places == place)] for arm in arms for place in largest]
    if len(cells) == 4 and min(map(len, cells)) >= SMALLEST_ARM:
        signs = np.array([1.0, -1.0, -1.0, 1.0])
        difference = float(signs @ [cell.mean() for cell in cells])
        error = float(np.sqrt(sum(cell.var(ddof=1) / len(cell) for cell in cells)))
        interaction = float(2 * norm.sf(abs(difference) / error)) if error else None
    return Overlap(other, shared, share, independence, interaction)


def overlap_warning(found: Overlap) -> str | None:
    """What to tell of another experiment; None where it shares next to nobody."""
    if found.share < SHARED:
        return None
    told = f"{found.other} ran at the same time on {found.shared:,} ({found.share:.0%}) of the units"
    if found.independence is not None and found.independence < SRM_LEVEL:
        return (
            f"{told}, and its variants are not dealt out alike here (p = {found.independence:.2g}): its effect is "
            "mixed with this one's. Analyse the units that are in one of them only."
        )
    if found.interaction is not None and found.interaction < SRM_LEVEL:
        return (
            f"{told}, and the effect differs between its variants (p = {found.interaction:.2g}): what holds here may "
            "not hold once the other is decided."
        )
    alike = "" if found.independence is None else "; its variants are dealt out alike here, so that the effect stands"
    return f"{told}{alike}."
