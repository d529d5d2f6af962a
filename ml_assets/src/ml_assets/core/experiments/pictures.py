"""The pictures of an experiment: effects with their intervals, the sequence of looks, and the shares of the variants.

Drawn in the style of `ml_assets.core.evaluation.plots`; the numbers come from `analysis`, `sequential` and `panel`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from cartograph.releases.contents.experiments import ExperimentEstimate
from ml_assets.core.evaluation.plots import COLOURS, GRID, INK, SIZE, Picture, svg
from ml_assets.core.experiments.plan import Vector
from ml_assets.core.experiments.sequential import Sequence as Looks


def effects(found: Sequence[ExperimentEstimate]) -> Picture:
    """Relative effects by metric and variant, with the interval of one look and, paler, that of every look.

    A metric whose control has no mean above 0 has no relative effect, and is left out.
    """
    shown = [one for one in found if one.relative_effect is not None and one.control_mean > 0]

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(xlabel="effect relative to the control, percent")
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.axvline(0, color=INK, linewidth=0.8, linestyle=":")
        names = sorted({one.variant for one in shown})
        for place, one in enumerate(reversed(shown)):
            colour, scale = COLOURS[names.index(one.variant) % len(COLOURS)], 100 / one.control_mean
            axes.plot([one.always_low * scale, one.always_high * scale], [place] * 2, color=colour, alpha=0.3, lw=4)
            axes.plot([one.ci_low * scale, one.ci_high * scale], [place] * 2, color=colour, lw=1.6)
            axes.plot(one.effect * scale, place, "o", color=colour, markersize=5, gid=f"effect-{place}")
        axes.set_yticks(range(len(shown)), [f"{one.metric}, {one.variant}" for one in reversed(shown)])

    caption = "Effects relative to the control, with the interval of one look (line) and of every look (band)."
    return Picture("effects", caption, svg(draw, (1.2 * SIZE[0], 1.2 + 0.35 * max(len(shown), 1))))


def over_time(metric: str, unit: str, days: Sequence[date], found: Mapping[str, Looks]) -> Picture:
    """The effect on a metric as each day would have told it, with the interval that holds at every look."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(ylabel=f"{metric}, {unit}")
        axes.grid(color=GRID, linewidth=0.6)
        axes.axhline(0, color=INK, linewidth=0.8, linestyle=":")
        when = np.array(days, dtype="datetime64[D]")
        for place, (variant, looks) in enumerate(found.items()):
            known, colour = np.isfinite(looks.low), COLOURS[place % len(COLOURS)]
            axes.fill_between(when[known], looks.low[known], looks.high[known], color=colour, alpha=0.18, linewidth=0)
            axes.plot(when[known], looks.effect[known], color=colour, lw=1.6, label=variant, gid=f"sequence-{place}")
        axes.legend()
        figure.autofmt_xdate()

    caption = f"The effect on {metric} as each day would have told it; the band holds at every look at once."
    return Picture("sequence", caption, svg(draw))


def shares_over_time(days: Sequence[date], shares: Mapping[str, Vector], planned: Mapping[str, float]) -> Picture:
    """The share of each variant among those assigned so far, and the planned one, dotted."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(ylabel="share of the customers so far, percent")
        axes.grid(color=GRID, linewidth=0.6)
        when = np.array(days, dtype="datetime64[D]")
        for place, (variant, share) in enumerate(shares.items()):
            colour = COLOURS[place % len(COLOURS)]
            axes.plot(when, 100 * share, color=colour, lw=1.4, label=variant, gid=f"share-{place}")
            axes.axhline(100 * planned[variant], color=colour, linewidth=0.8, linestyle=":")
        axes.legend()
        figure.autofmt_xdate()

    return Picture(
        "assignment", "The share of each variant among those assigned so far; dotted, as planned.", svg(draw)
    )
