"""The pictures of an answer as SVG: what causes what, whom is compared, what was found, and how far to trust it.

Each is made of what the answer holds; one that is not identified has no picture of an effect. How a picture is written
is `ml_assets.core.evaluation.plots`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from ml_assets.core.causal.finding import Estimate
from ml_assets.core.causal.study import column_of
from ml_assets.core.evaluation.plots import COLOURS, GRID, INK, SIZE, Picture, svg
from ml_assets.core.questions.answers import Answer
from ml_assets.core.questions.asked import OUTCOME, TREATMENT

MOST_NODES = 10
"""More confounders are drawn as one."""
MOST_COVARIATES = 15
GOOD, BAD = COLOURS[2], COLOURS[3]


def pictures(answer: Answer) -> list[Picture]:
    """All pictures that the answer has the figures for."""
    found = answer.finding
    made: list[tuple[bool, Callable[[Answer], Picture]]] = [
        (bool(answer.arrows), graph),
        (found.propensity is not None, overlap),
        (bool(found.balance), love_plot),
        (bool(found.estimates), effects),
        (bool(found.gates), tests),
        (found.sensitivity is not None, sensitivity),
        (found.heterogeneity is not None and bool(found.heterogeneity.curve), qini),
    ]
    return [draw(answer) for has_figures, draw in made if has_figures]


def graph(answer: Answer) -> Picture:
    """Treatment and outcome, what causes both, and what nobody has recorded."""
    arrows, hidden = _drawn(answer)
    others = sorted({node for arrow in arrows for node in arrow} - {TREATMENT, OUTCOME})
    places = {TREATMENT: (0.0, 0.0), OUTCOME: (4.0, 0.0)}
    for number, node in enumerate(others):
        across = 2.0 if len(others) == 1 else 4.0 * number / (len(others) - 1)
        places[node] = (across, 1.0 + 0.55 * (number % 3))

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.axis("off")
        axes.set_xlim(-0.9, 4.9)
        axes.set_ylim(-0.5, 2.6)
        for cause, effect in arrows:
            away = 32 if {cause, effect} == {TREATMENT, OUTCOME} else 12  # along the words, or from above
            axes.annotate(
                "",
                xy=places[effect],
                xytext=places[cause],
                arrowprops={
                    "arrowstyle": "->",
                    "color": COLOURS[0] if (cause, effect) == (TREATMENT, OUTCOME) else COLOURS[5],
                    "linestyle": "--" if cause in hidden else "-",
                    "shrinkA": away,
                    "shrinkB": away,
                },
            )
        for node, (x, y) in places.items():
            is_hidden = node in hidden
            box = {"boxstyle": "round", "facecolor": "white", "edgecolor": BAD if is_hidden else GRID}
            box |= {"linestyle": "--"} if is_hidden else {}
            axes.text(x, y, _short(node, 26), ha="center", va="center", bbox=box, fontsize=8)

    caption = "What is believed to cause what."
    caption += " Dashed: not recorded." if hidden else ""
    return Picture("graph", caption, svg(draw))


def overlap(answer: Answer) -> Picture:
    """How likely the treated and the others were to be treated."""
    found = answer.finding.propensity
    if found is None:
        raise ValueError("the answer has no propensities")
    edges = np.array(found.edges)
    across, up = "probability of being treated", "share of the group"
    caption = "Who could have been in either group: the heaps should lie over each other."
    if answer.is_amount:
        across, up = "treatment, less the levels that are held equal", "share of the rows"
        caption = "How the treatment varies, and how much of it what is held equal leaves: there must be some."

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(xlabel=across, ylabel=up)
        axes.grid(color=GRID, linewidth=0.6)
        for place, (arm, counts) in enumerate(zip(found.arms, found.counts, strict=True)):
            shares = np.array(counts) / max(sum(counts), 1)
            axes.stairs(shares, edges, label=arm, fill=True, alpha=0.35, color=COLOURS[place % len(COLOURS)])
        axes.set_xlim(edges[0], edges[-1])
        axes.legend()

    return Picture("overlap", caption, svg(draw))


def love_plot(answer: Answer) -> Picture:
    """How different the groups were in each covariate, and are once they are made comparable."""
    shown = sorted(answer.finding.balance, key=lambda one: -max(one.before, one.after))[:MOST_COVARIATES][::-1]
    across, after = "|standardised mean difference|", "weighted"
    caption = f"The {len(shown)} covariates in which the groups differ most, before and after weighting."
    if answer.is_amount:
        across, after = "|correlation with the treatment|", "the rest held equal"
        caption = (
            f"The {len(shown)} covariates that go most with the treatment, before and after the rest is held equal."
        )

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(xlabel=across)
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.axvline(0.1, color=INK, linewidth=0.8, linestyle=":")
        places = np.arange(len(shown))
        axes.plot([one.before for one in shown], places, "o", color=COLOURS[1], label="as they are", markersize=4)
        axes.plot([one.after for one in shown], places, "o", color=COLOURS[0], label=after, markersize=4)
        axes.set_yticks(places, [_short(one.covariate, 28) for one in shown])
        axes.set_xlim(left=0)
        axes.legend(loc="lower right")

    return Picture("balance", caption, svg(draw, (SIZE[0], 1.2 + 0.2 * len(shown))))


def effects(answer: Answer) -> Picture:
    """The estimates with their intervals, and the plain difference of the groups."""
    found = answer.finding
    rows: list[tuple[str, Estimate, str]] = [
        (f"{one.method}\n{one.contrast}", one.estimate, COLOURS[0]) for one in found.estimates
    ]
    rows += [("difference as it is", found.naive, COLOURS[5])] if found.naive else []

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(xlabel=answer.unit)
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.axvline(0, color=INK, linewidth=0.8)
        for place, (_, one, colour) in enumerate(reversed(rows)):
            axes.plot([one.low, one.high], [place, place], color=colour, linewidth=2)
            axes.plot(one.ate, place, "o", color=colour, markersize=5)
        axes.set_yticks(np.arange(len(rows)), [name for name, *_ in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)

    caption = "The effect with its 95 % interval by each estimator, and the plain difference, which is no effect."
    return Picture("effects", caption, svg(draw, (SIZE[0], 1.2 + 0.45 * len(rows))))


def tests(answer: Answer) -> Picture:
    """What was tried against the answer, and whether it stood."""
    gates = answer.finding.gates

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.axis("off")
        axes.set_xlim(0, 10)
        axes.set_ylim(-0.5, len(gates) - 0.5)
        for place, gate in enumerate(reversed(gates)):
            colour = GOOD if gate.passed else BAD
            axes.plot(0.3, place, "o" if gate.passed else "X", color=colour, markersize=7)
            axes.text(0.7, place, gate.name.replace("_", " "), va="center", fontsize=8)
            axes.text(3.6, place, _short(gate.detail, 62), va="center", fontsize=6.5, color=COLOURS[5])

    caption = f"{sum(gate.passed for gate in gates)} of {len(gates)} tests passed."
    return Picture("tests", caption, svg(draw, (1.35 * SIZE[0], 0.4 + 0.3 * len(gates))))


def sensitivity(answer: Answer) -> Picture:
    """The effect that were left if something unrecorded explained so much of treatment and outcome.

    Omitted variable bias as Chernozhukov and others (2022) bound it: its size at the robustness value is the effect.
    """
    found, effect = answer.finding.sensitivity, answer.finding.effect
    if found is None or effect is None:
        raise ValueError("the answer has no sensitivity")
    robust = min(max(found.robustness, 1e-6), 1 - 1e-6)
    scale = abs(effect.ate) * np.sqrt(1 - robust) / robust
    most = float(np.clip(1.6 * max(robust, found.treatment_share, found.outcome_share), 0.05, 0.95))
    shares = np.linspace(0, most, 60)
    treated, came = np.meshgrid(shares, shares)
    left = effect.ate - np.sign(effect.ate) * scale * np.sqrt(came * treated / (1 - treated))

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(
            xlabel="share of the treatment that it explains", ylabel="share of the outcome that it explains"
        )
        lines = axes.contour(treated, came, left, levels=8, colors=[COLOURS[5]], linewidths=0.8)
        axes.clabel(lines, fontsize=7, fmt="%.3g")
        axes.contour(treated, came, left, levels=[0.0], colors=[BAD], linewidths=2)
        axes.plot(found.treatment_share, found.outcome_share, "D", color=COLOURS[1], markersize=6)
        axes.annotate(
            f"as strong as {_short(found.benchmark, 26)}",
            (found.treatment_share, found.outcome_share),
            xytext=(6, 6),
            textcoords="offset points",
            fontsize=8,
        )

    caption = "What would be left of the effect if something unrecorded were so strong; on the red line nothing."
    return Picture("sensitivity", caption, svg(draw))


def qini(answer: Answer) -> Picture:
    """What treating those with the highest predicted effects adds over treating as many at random."""
    found = answer.finding.heterogeneity
    if found is None:
        raise ValueError("the answer has no ranking")
    curve = np.array(found.curve)

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(xlabel="% treated, the most promising first", ylabel=f"added, {answer.unit}")
        axes.grid(color=GRID, linewidth=0.6)
        axes.axhline(0, color=INK, linewidth=0.8, linestyle=":")
        axes.plot(curve[:, 0], curve[:, 1], color=COLOURS[0], linewidth=1.8)

    return Picture(
        "qini", "Whether it is known for whom the effect is more: above 0 it is, on held-out rows.", svg(draw)
    )


def _drawn(answer: Answer) -> tuple[list[tuple[str, str]], set[str]]:
    """The arrows to draw: many confounders are one, and codes of one column too."""
    hidden = set(answer.latent)
    arrows = [(column_of(cause), column_of(effect)) for cause, effect in answer.arrows]
    others = {node for arrow in arrows for node in arrow} - {TREATMENT, OUTCOME} - hidden
    if len(others) > MOST_NODES:
        one = f"{len(others)} things known before"
        arrows = [(one if cause in others else cause, one if effect in others else effect) for cause, effect in arrows]
    if answer.is_randomised:
        arrows = [(cause, effect) for cause, effect in arrows if effect != TREATMENT]
    return [arrow for arrow in dict.fromkeys(arrows) if arrow[0] != arrow[1]], hidden


def _short(text: str, most: int) -> str:
    """The text, cut at a word."""
    if len(text) <= most:
        return text
    ends = [end for end, (one, _) in enumerate(pairwise(text)) if one == " " and end <= most - 1]
    return f"{text[: ends[-1] if ends else most - 1]}…"
