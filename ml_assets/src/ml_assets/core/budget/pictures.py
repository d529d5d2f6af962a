"""Pictures of a budget: each channel's curve with what is not known of it, and today's budget beside the proposed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml_assets.core.budget.allocation import Allocation
from ml_assets.core.budget.response import Response
from ml_assets.core.evaluation.plots import COLOURS, GRID, INK, SIZE, Picture, svg

POINTS = 80
BEYOND = 1.25
"""The axis ends at so many times the highest spend that is known of."""


def curves(responses: Sequence[Response], currency: str) -> Picture:
    """Extra orders a day of each channel by daily spend, with 95 % bands; beyond what was spent the line is dotted."""

    def draw(figure: Any) -> None:
        rows = (len(responses) + 1) // 2
        panels = figure.subplots(rows, 2, squeeze=False).ravel()
        for axes, response in zip(panels, responses, strict=False):
            today = response.today
            spend = np.linspace(0, BEYOND * max(response.highest, today), POINTS)
            low, high = np.quantile([curve.extra_orders(spend) for curve in response.draws], [0.025, 0.975], axis=0)
            middle, known = response.curve.extra_orders(spend), spend <= response.highest
            axes.fill_between(spend[known], low[known], high[known], color=COLOURS[0], alpha=0.18, linewidth=0)
            axes.plot(spend[known], middle[known], color=COLOURS[0], linewidth=1.6)
            axes.plot(spend[~known], middle[~known], color=COLOURS[0], linewidth=1.0, linestyle=":")
            axes.plot(today, response.curve.extra_orders(today), "o", color=INK, markersize=4)
            axes.set_title(response.channel, loc="left", fontsize=9)
            axes.grid(color=GRID, linewidth=0.6)
            axes.set_ylim(bottom=0)
        for axes in panels[len(responses) :]:
            axes.set_visible(False)
        figure.supxlabel(f"{currency} a day", fontsize=9)
        figure.supylabel("extra orders a day", fontsize=9)

    rows = (len(responses) + 1) // 2
    content = svg(draw, (1.2 * SIZE[0], 0.6 + 2.0 * rows))
    caption = (
        "What each channel adds in the long run where the same is spent on each day, with 95 % of what the data allow. "
        "The dot is the mean spend of the last quarter; nobody has seen what lies beyond the line."
    )
    return Picture("curves", caption, content)


def budgets(found: Allocation, currency: str) -> Picture:
    """Daily spend of each channel today and as proposed; the line is where the best budget may lie."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(ylabel=f"{currency} a day")
        axes.grid(axis="y", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        place = np.arange(len(found.lines))
        axes.bar(place - 0.2, [line.today for line in found.lines], 0.4, color=COLOURS[5], label="today")
        axes.bar(place + 0.2, [line.proposed for line in found.lines], 0.4, color=COLOURS[0], label="proposed")
        lows, highs = [line.low for line in found.lines], [line.high for line in found.lines]
        axes.vlines(place + 0.2, lows, highs, color=INK, linewidth=1.2)
        axes.set_xticks(place, [line.channel for line in found.lines])
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=2)

    caption = (
        f"The budget of today and the one that is expected to earn most within the limits: "
        f"{found.gain.value:+,.2f} {currency} a day ({found.gain.low:+,.2f} to {found.gain.high:+,.2f}). "
        "Lines: where 95 % of the budgets lie that are best for curves as likely as each other."
    )
    return Picture("budgets", caption, svg(draw))
