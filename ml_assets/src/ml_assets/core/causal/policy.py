"""Whom to treat: a shallow tree that is learned net of cost, and valued on rows that it has not seen.

One half of the rows teaches: EconML's policy tree, the learner behind its `DRPolicyTree`, is fitted to their doubly
robust scores times what an outcome is worth, less the cost (Athey and Wager 2021, Policy learning with observational
data). The other half judges: its scores, by nuisances of the first half, value the tree against treating all and
treating nobody. A tree that is not better than both beyond chance is not used; treating all must itself be shown to
pay. Which effect is identified is `assess`'s business, how a policy is read `decisions`'s.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cartograph.releases.contents.causal import Estimated, PolicyFeature, PolicyNode, PolicyRule
from ml_assets.core.causal.decisions import leaves
from ml_assets.core.causal.effect import (
    COMMON_SUPPORT,
    FOLDS,
    SEED,
    SMOOTH,
    Nuisances,
    crossed_scores,
    prepared,
    scored,
)
from ml_assets.core.causal.study import Covariates, Design, Labels, Matrix, Study, Vector
from ml_assets.core.evaluation import plots, uplift
from ml_assets.core.evaluation.classification import Interval
from ml_assets.core.evaluation.curves import Curve
from ml_assets.core.evaluation.plots import Picture
from ml_assets.core.models.errors import NotEnoughData

DEPTH = 2
LEAF_SHARE, SMALLEST_LEAF = 0.05, 50
FEWEST_ROWS = 400
SMALLEST_ARM = 100
Mask = npt.NDArray[np.bool_]

NOTHING = Interval(0.0, 0.0, 0.0)


class Policy(NamedTuple):
    """Whom to treat, and what that is known by.

    `rule` is in the form of a release. `tree_value` is what following the tree is worth for each row of all, `over_all`
    and `over_none` what more than treating all and nobody, whether or not the rule uses the tree; `curve` is the tree's
    Qini curve: the treated share, and what treating them adds, before the cost, for each row of all.
    """

    rule: PolicyRule
    tree_value: Interval
    over_all: Interval
    over_none: Interval
    curve: tuple[tuple[float, float], ...]

    @property
    def is_shown(self) -> bool:
        """Whether the tree is better than treating all and treating nobody, beyond chance."""
        return self.rule.kind == "tree"


def learn_policy(study: Study, design: Design, cost: float, value: float, nuisances: Nuisances = SMOOTH) -> Policy:
    """Learn whom to treat, where a treatment costs `cost` and one unit of the outcome is worth `value`.

    The tree asks for the modifiers of `study`, or the confounders where it has none. All amounts of the policy are in
    the unit of `cost`.

    Raises:
        ValueError: the treatment is not binary, rows depend on each other, or cost or value make no sense.
        NotEnoughData: there are too few rows that could have been in either arm.
    """
    _require(study, design, cost, value)
    asked = study.modifiers if study.modifiers.names else study.confounders
    treated, covariates = study.treatment.astype(np.int64), prepared(study.confounders.values)
    kept = np.flatnonzero(_overlapping(covariates, treated, nuisances)) if design.trims else np.arange(len(treated))
    covariates, treated, outcome = covariates[kept], treated[kept], study.outcome[kept]
    if len(kept) < FEWEST_ROWS or min(np.bincount(treated, minlength=2)) < SMALLEST_ARM:
        raise NotEnoughData(
            f"{int(treated.sum())} treated and {int((1 - treated).sum())} other rows could have been in either arm; "
            f"{FEWEST_ROWS} are needed, and {SMALLEST_ARM} of each"
        )
    known, held_out = _halves(covariates, treated)
    taught = value * crossed_scores(covariates[known], treated[known], outcome[known], nuisances, FOLDS)
    gains = value * scored(covariates, treated, outcome, nuisances, known, held_out).scores
    asked = asked.of(kept)
    tree = _grown(asked, asked.values[known], taught - cost)
    return _judged(tree, asked.of(held_out), gains, cost, value, len(known))


def _require(study: Study, design: Design, cost: float, value: float) -> None:
    if design.kind != "binary" or not set(np.unique(study.treatment)) <= {0.0, 1.0}:
        raise ValueError("a policy treats or does not: the treatment must be binary, 0 or 1")
    if study.clusters is not None:
        raise ValueError("a policy is valued on rows that do not depend on each other, and these have clusters")
    if cost < 0 or value <= 0:
        raise ValueError(f"the cost must be at least 0 and the value above 0, not {cost} and {value}")


def _overlapping(covariates: Matrix, treated: Labels, nuisances: Nuisances) -> Mask:
    """Which rows could have been in either arm, by a model of the treatment that has not seen them."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    if min(np.bincount(treated, minlength=2)) < FOLDS:
        return np.zeros(len(treated), dtype=bool)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    chance = cross_val_predict(nuisances.propensity(), covariates, treated, cv=folds, method="predict_proba")[:, 1]
    found: Mask = (chance >= COMMON_SUPPORT[0]) & (chance <= COMMON_SUPPORT[1])
    return found


def _halves(covariates: Matrix, treated: Labels) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    from sklearn.model_selection import StratifiedShuffleSplit

    known, held_out = next(StratifiedShuffleSplit(1, test_size=0.5, random_state=SEED).split(covariates, treated))
    return known, held_out


class _Tree(NamedTuple):
    """A tree before it is judged: nodes with the gains of the rows that taught it, and the nulls' stand-ins."""

    nodes: tuple[PolicyNode, ...]
    features: tuple[PolicyFeature, ...]


def _grown(asked: Covariates, rows: Matrix, net: Vector) -> _Tree:
    """The tree that earns most of `rows`, where treating each adds its `net`."""
    from econml.policy import PolicyTree

    middle = np.array([float(np.nanmedian(column)) if (~np.isnan(column)).any() else 0.0 for column in rows.T])
    filled = np.where(np.isnan(rows), middle, rows)
    leaf = max(SMALLEST_LEAF, int(LEAF_SHARE * len(rows)))
    learner = PolicyTree(max_depth=DEPTH, min_samples_leaf=leaf, min_balancedness_tol=0.5, honest=False)
    found = learner.fit(filled, np.column_stack([np.zeros(len(net)), net])).tree_
    nodes: list[PolicyNode] = []

    def add(at: int, here: Mask) -> int:
        place, mean = len(nodes), uplift.mean(net[here])
        nodes.append(PolicyNode(treats=mean.value > 0, gain=_estimated(mean), share=float(here.mean())))
        if found.children_left[at] < 0:
            return place
        feature, threshold = int(found.feature[at]), float(found.threshold[at])
        goes_left = filled[:, feature] <= threshold
        left = add(int(found.children_left[at]), here & goes_left)
        right = add(int(found.children_right[at]), here & ~goes_left)
        if nodes[left].feature is None and nodes[right].feature is None and nodes[left].treats == nodes[right].treats:
            del nodes[place + 1 :]  # both say the same
            return place
        question = {"feature": asked.names[feature], "threshold": threshold, "left": left, "right": right}
        nodes[place] = nodes[place].model_copy(update=question)
        return place

    add(0, np.ones(len(net), dtype=bool))
    used = {node.feature for node in nodes}
    features = [
        PolicyFeature(name=name, missing=float(middle[at])) for at, name in enumerate(asked.names) if name in used
    ]
    return _Tree(tuple(nodes), tuple(features))


def _judged(tree: _Tree, asked: Covariates, gains: Vector, cost: float, value: float, learned_from: int) -> Policy:
    """The policy by the rows that were held out: `gains` are what treating each adds, before the cost."""
    columns = [asked.names.index(feature.name) for feature in tree.features]
    rule = PolicyRule(
        kind="tree",
        cost=cost,
        value_of_outcome=value,
        features=tree.features,
        nodes=tree.nodes,
        learned_from=learned_from,
        held_out=len(gains),
        value=_estimated(NOTHING),
        treat_all=_estimated(NOTHING),
        over_all=_estimated(NOTHING),
        qini=None,
    )
    leaf = leaves(rule, asked.values[:, columns])
    chosen = np.array([node.treats for node in tree.nodes])[leaf]
    found = uplift.policy(gains, chosen, cost)
    ranking = np.array([node.gain.value for node in tree.nodes])[leaf]
    is_better = len(tree.nodes) > 1 and found.value.low > 0 and found.over_all.low > 0
    judged: dict[str, Any] = {"treat_all": _estimated(found.all)}
    if is_better:
        judged |= {
            "nodes": _valued(tree.nodes, leaf, gains - cost),
            "value": _estimated(found.value),
            "over_all": _estimated(found.over_all),
            "qini": _estimated(uplift.qini(gains, ranking)),
        }
    else:
        treats_all = found.all.low > 0
        answer = PolicyNode(treats=treats_all, gain=_estimated(found.all), share=1.0)
        over_all = NOTHING if treats_all else Interval(-found.all.value, -found.all.high, -found.all.low)
        judged |= {
            "kind": "treat all" if treats_all else "treat none",
            "features": (),
            "nodes": (answer,),
            "value": _estimated(found.all if treats_all else NOTHING),
            "over_all": _estimated(over_all),
        }
    return Policy(rule.model_copy(update=judged), found.value, found.over_all, found.value, _curve(gains, ranking))


def _valued(nodes: tuple[PolicyNode, ...], leaf: npt.NDArray[np.int64], net: Vector) -> tuple[PolicyNode, ...]:
    """The nodes with the gains of rows that were held out; what they answer stays."""
    below: list[set[int]] = [{at} for at in range(len(nodes))]
    for at in reversed(range(len(nodes))):
        for child in (nodes[at].left, nodes[at].right):
            below[at] |= below[child] if child is not None else set()
    found = []
    for node, places in zip(nodes, below, strict=True):
        here = np.isin(leaf, list(places))
        gain = _estimated(uplift.mean(net[here])) if here.sum() > 1 else node.gain
        found.append(node.model_copy(update={"gain": gain, "share": float(here.mean())}))
    return tuple(found)


def _curve(gains: Vector, ranking: Vector) -> tuple[tuple[float, float], ...]:
    """The uplift curve of treating the highest in `ranking` first; equal ones are dealt with as one."""
    order = np.argsort(-ranking, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(ranking[order])), len(order) - 1)
    total = np.cumsum(gains[order])[ends] / len(gains)
    return ((0.0, 0.0), *((float((end + 1) / len(gains)), float(sum_)) for end, sum_ in zip(ends, total, strict=True)))


def markdown(policy: Policy, unit: str) -> str:
    """The policy as Markdown: what to do, what it is worth, and the tree as nested lists. `unit` is e.g. EUR."""
    rule = policy.rule
    says = {
        "tree": "Treat some: those whom the tree says.",
        "treat all": "Treat everybody: choosing is not shown to be better.",
        "treat none": "Treat nobody: neither choosing nor treating everybody is shown to pay.",
    }[rule.kind]
    worth: dict[str, Interval | Estimated] = {
        "treat whom the tree says": policy.tree_value,
        "treat everybody": rule.treat_all,
        "treat nobody": NOTHING,
        "the tree over treating everybody": policy.over_all,
    }
    lines = [
        f"**{says}** A treatment costs {rule.cost:g} {unit}; a unit of the outcome is worth {rule.value_of_outcome:g}.",
        "",
        f"| of {rule.held_out:,} held-out rows | {unit} for each | 95 % interval |",
        "| --- | --- | --- |",
        *(f"| {name} | {found.value:.3f} | {found.low:.3f} to {found.high:.3f} |" for name, found in worth.items()),
        "",
    ]

    def tell(at: int, depth: int, when: str) -> None:
        node = rule.nodes[at]
        gain = f"{node.gain.value:+.2f} {unit} ({node.gain.low:+.2f} to {node.gain.high:+.2f}) net for each treated"
        answer = "" if node.feature else f"**{'treat' if node.treats else 'do not treat'}**, "
        lines.append(f"{'  ' * depth}- {when}: {answer}{node.share:.0%} of all, {gain}")
        if node.feature is not None and node.left is not None and node.right is not None:
            tell(node.left, depth + 1, f"`{node.feature}` ≤ {node.threshold:g}")
            tell(node.right, depth + 1, f"`{node.feature}` > {node.threshold:g}")

    tell(0, 0, "all")
    return "\n".join(lines) + "\n"


def pictures(policy: Policy, unit: str) -> tuple[Picture, ...]:
    """The tree, and its Qini curve: what treating a share of all adds, those first whom the tree puts first."""
    everybody = policy.curve[-1][1]
    share, adds = (np.array(axis) for axis in zip(*policy.curve, strict=True))
    curve = plots.lines(
        {"by the tree": Curve(share, adds)},
        x="share that is treated",
        y=f"{unit} for each of all, before the cost",
        reference=Curve(np.array([0.0, 1.0]), np.array([0.0, everybody])),
        bottom=None,
        marked=True,
    )
    return (
        Picture(
            "policy_tree", "Whom to treat, with what it adds net of its cost on held-out rows.", _tree(policy, unit)
        ),
        Picture("policy_qini", "What treating adds, in the order of the tree; dotted: in no order.", curve),
    )


def _tree(policy: Policy, unit: str) -> bytes:
    nodes = policy.rule.nodes
    place: dict[int, tuple[float, int]] = {}

    def lay(at: int, first: float, depth: int) -> float:
        """Put the node over its leaves, which begin at `first`; the place after them."""
        node = nodes[at]
        if node.left is None or node.right is None:
            place[at] = (first + 0.5, depth)
            return first + 1
        end = lay(node.right, lay(node.left, first, depth + 1), depth + 1)
        place[at] = ((place[node.left][0] + place[node.right][0]) / 2, depth)
        return end

    width, depth = lay(0, 0.0, 0), max(row for _, row in place.values())

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, width)
        axes.set_ylim(-depth - 0.6, 0.6)
        for at, node in enumerate(nodes):
            x, row = place[at]
            for child, side in ((node.left, "yes"), (node.right, "no")):
                if child is not None:
                    to, below = place[child]
                    axes.plot([x, to], [-row, -below], color=plots.GRID, linewidth=1.2, zorder=1)
                    axes.text((x + to) / 2, -(row + below) / 2, side, ha="center", va="center", color=plots.INK)
            gain = f"{node.gain.value:+.2f} {unit} ({node.gain.low:+.2f} to {node.gain.high:+.2f})"
            answer = "treat" if node.treats else "do not treat"
            title = f"{node.feature} ≤ {node.threshold:g}" if node.feature else answer
            colour = plots.INK if node.feature else plots.COLOURS[0] if node.treats else plots.COLOURS[5]
            box = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": colour}
            told = f"{title}\n{node.share:.0%} of all\n{gain}"
            axes.text(x, -row, told, ha="center", va="center", fontsize=8, color=colour, bbox=box, zorder=2)

    return plots.svg(draw, (max(plots.SIZE[0], 2.1 * width), 1.2 * (depth + 1)))


def _estimated(interval: Interval) -> Estimated:
    return Estimated(value=interval.value, low=interval.low, high=interval.high)
