"""Pictures as SVG: curves, bars, heat maps and forecasts in, bytes out; the same numbers give the same bytes.

They know no model: which pictures a model has, and what they show, is `ml_assets.core.models.pictures`. The points of
curves are computed in `curves`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ml_assets.core.evaluation.curves import Curve

INK, GRID = "#20242c", "#d8dce3"
COLOURS = ("#1f5fbf", "#d9822b", "#4b8b3b", "#a8324a", "#7d6bb0", "#5f6b7a")
SIZE = (5.6, 3.6)
"""Of a picture in inches, of 72 points each."""
STYLE = {
    "svg.fonttype": "none",  # text stays text: smaller, and found by a search
    "svg.hashsalt": "cartograph",  # ids of clip paths would be random otherwise
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}

Draw = Callable[[Any], None]


class Picture(NamedTuple):
    """A drawing: `name` is its file's without the ending `.svg`, `caption` says what it shows."""

    name: str
    caption: str
    content: bytes

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}.svg"


def written(pictures: Sequence[Picture]) -> str:
    """Pictures as a table stores them: JSON."""
    return json.dumps([(one.name, one.caption, one.content.decode()) for one in pictures])


def read(text: str | None) -> tuple[Picture, ...]:
    """The pictures that a table stores; none in a row of before they were stored."""
    return tuple(Picture(name, caption, content.encode()) for name, caption, content in json.loads(text or "[]"))


class Panel(NamedTuple):
    """A series with its forecast: what came, the mean, and the bounds of the interval, in each period."""

    title: str
    actual: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


def lines(
    curves: Mapping[str, Curve],
    *,
    x: str,
    y: str,
    reference: Curve | None = None,
    bottom: float | None = 0.0,
    marked: bool = False,
    logarithmic: bool = False,
) -> bytes:
    """Curves by their names, with the axes' titles; `reference` is drawn dotted, `logarithmic` is about the x axis.

    The y axis begins at `bottom`, or where the data do. With `marked`, each point has a dot.
    """

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(xlabel=x, ylabel=y, xscale="log" if logarithmic else "linear")
        axes.grid(color=GRID, linewidth=0.6)
        if reference is not None:
            axes.plot(*reference, color=INK, linewidth=0.8, linestyle=":", gid="reference")
        for place, (name, curve) in enumerate(curves.items()):
            axes.plot(
                *curve,
                label=name,
                color=COLOURS[place % len(COLOURS)],
                linewidth=1.8 if place == 0 else 1.1,
                marker="o" if marked else None,
                markersize=4,
                gid=f"curve-{place}",
            )
        if bottom is not None:
            axes.set_ylim(bottom=bottom)
        if len(curves) > 1:
            axes.legend()

    return svg(draw)


def bars(values: Mapping[str, float], *, x: str) -> bytes:
    """A bar for each value, the first on top."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(xlabel=x)
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        places = np.arange(len(values))[::-1]
        axes.barh(places, list(values.values()), color=COLOURS[0], height=0.7)
        axes.set_yticks(places, list(values))

    return svg(draw, (SIZE[0], max(1.6, 0.8 + 0.22 * len(values))))


def groups(values: Mapping[str, Sequence[float]], ticks: Sequence[str], *, x: str, y: str) -> bytes:
    """For each of `ticks` the bars of all `values` side by side."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(xlabel=x, ylabel=y)
        axes.grid(axis="y", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        width, places = 0.8 / len(values), np.arange(len(ticks))
        for number, (name, heights) in enumerate(values.items()):
            shift = (number - (len(values) - 1) / 2) * width
            axes.bar(places + shift, heights, width, label=name, color=COLOURS[number % len(COLOURS)])
        axes.set_xticks(places, ticks)
        if len(values) > 1:
            axes.legend()

    return svg(draw)


def heat_map(values: npt.NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], *, limit: float) -> bytes:
    """A cell for each value with its number, blue below 0 and red above it, palest at 0 and fullest at ± `limit`."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.pcolormesh(values, cmap="RdBu_r", vmin=-limit, vmax=limit, edgecolors="white", linewidth=1)
        axes.invert_yaxis()
        axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=30, ha="right")
        axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for (row, column), value in np.ndenumerate(values):
            ink = "white" if abs(value) > 0.6 * limit else INK
            told = f"{round(value, 1) + 0.0:+.1f}"  # never -0.0
            axes.text(column + 0.5, row + 0.5, told, ha="center", va="center", color=ink)

    return svg(draw, (1.4 * SIZE[0], 1.4 + 0.4 * len(rows)))


def forecasts(panels: Sequence[Panel], *, x: str, y: str) -> bytes:
    """For each series what came as dots, the mean as a line and the interval as a band."""

    def draw(figure: Any) -> None:
        for axes, panel in zip(figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0], panels, strict=True):
            period = np.arange(1, len(panel.mean) + 1)
            axes.fill_between(period, panel.low, panel.high, color=COLOURS[0], alpha=0.18, linewidth=0)
            axes.plot(period, panel.mean, color=COLOURS[0], linewidth=1.4)
            axes.plot(period, panel.actual, "o", color=INK, markersize=2.5)
            axes.set_title(panel.title, loc="left", fontsize=9)
            axes.set_ylabel(y)
            axes.set_ylim(bottom=0)
        axes.set_xlabel(x)

    return svg(draw, (SIZE[0], 0.6 + 1.5 * len(panels)))


def svg(draw: Draw, size: tuple[float, float] = SIZE) -> bytes:
    """What `draw` puts on a figure. No date and no version is written, and pyplot's state is not touched."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # its keys are typed as literals
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        sink = BytesIO()
        FigureCanvasSVG(figure)
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    return sink.getvalue()
