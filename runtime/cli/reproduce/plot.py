"""Draws a figure."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from runtime.cli.reproduce.figure import Figure, Panel, Series

_MARKERS = "osD^vP*X"
_NAN = float("nan")


def draw(figure: Figure, path: Path) -> None:
    """Writes a figure; the suffix of the path gives the format."""
    count = len(figure.panels)
    canvas = Canvas(figsize=(7.0 if count == 1 else 4.6 * count, 4.8), layout="constrained")
    for axes, panel in zip(canvas.subplots(1, count, squeeze=False)[0], figure.panels, strict=True):
        _draw_panel(axes, panel)
    handles, labels = canvas.axes[0].get_legend_handles_labels()
    columns = min(len(labels), 2 if count == 1 else 4)
    canvas.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, markerscale=0.8)
    canvas.suptitle(figure.title, fontsize=11)
    canvas.savefig(path, dpi=130)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    places = list(range(len(panel.positions)))
    draw_series = _stack if panel.form == "bars" and not panel.log else _lines
    if panel.form == "bars" and _is_compared(panel):
        draw_series = _side_by_side
    draw_series(axes, panel)
    axes.set_xticks(places, panel.positions)
    axes.set_title(panel.title, fontsize=10)
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    if panel.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.set_ylim(bottom=0)
    axes.grid(visible=True, axis="y", color="0.9")
    axes.set_axisbelow(True)


def _is_compared(panel: Panel) -> bool:
    """Tells whether a panel holds one predicted and one published value at each position."""
    return [series.published for series in panel.series] == [False, True]


def _lines(axes: Axes, panel: Panel) -> None:
    for number, series in enumerate(panel.series):
        style = {"linestyle": "none", "color": "black", "zorder": 3} if series.published else {}
        values = _with_gaps(series)
        axes.plot(
            range(len(values)), values, marker=_MARKERS[number % len(_MARKERS)], label=series.label, **style
        )


def _stack(axes: Axes, panel: Panel) -> None:
    """Stacks predicted parts; published values are marks beside them."""
    base = [0.0] * len(panel.positions)
    for series in panel.series:
        values = [value or 0.0 for value in series.values]
        if series.published:
            axes.plot(range(len(values)), values, "k_", markersize=28, markeredgewidth=2, label=series.label)
            continue
        axes.bar(range(len(values)), values, width=0.6, bottom=base, label=series.label)
        base = [a + b for a, b in zip(base, values, strict=True)]


def _side_by_side(axes: Axes, panel: Panel) -> None:
    for number, series in enumerate(panel.series):
        places = [place + 0.4 * (number - 0.5) for place in range(len(series.values))]
        color = "0.6" if series.published else None
        axes.bar(
            places, [value or 0.0 for value in series.values], width=0.38, label=series.label, color=color
        )


def _with_gaps(series: Series) -> list[float]:
    return [_NAN if value is None else value for value in series.values]
