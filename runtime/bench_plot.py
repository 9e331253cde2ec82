"""The figure of a benchmark: bars of predicted and measured tokens per second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from runtime.bench_report import BenchReport
from runtime.bench_row import BenchRow

_BAR_WIDTH = 0.38


def plot_report(report: BenchReport, path: Path) -> None:
    """Writes a panel per cell, a line of panels per number of drives; the suffix of the path gives the format."""
    cells = list(dict.fromkeys(row.cell for row in report.rows))
    lines = [[cell for cell in cells if cell[0] == drives] for drives in dict.fromkeys(c[0] for c in cells)]
    width = max(map(len, lines))
    figure = Figure(figsize=(1.5 + 3.2 * width, 0.6 + 3.4 * len(lines)), layout="constrained")
    panels = figure.subplots(len(lines), width, squeeze=False, sharey=True)
    for line, row_of_panels in zip(lines, panels, strict=True):
        for panel in row_of_panels[len(line) :]:
            panel.set_visible(False)
        for cell, panel in zip(line, row_of_panels, strict=False):
            _draw(panel, [row for row in report.rows if row.cell == cell])
        row_of_panels[0].set_ylabel("new tokens per second")
    panels[0][0].legend()
    figure.suptitle(f"{report.model} on {report.hardware}, {report.clock} clock")
    figure.savefig(path, dpi=150)


def _draw(panel: Axes, rows: Sequence[BenchRow]) -> None:
    """Draws two bars per policy, the measured one with its range."""
    places = range(len(rows))
    panel.bar(
        [place - _BAR_WIDTH / 2 for place in places],
        [row.predicted_tokens_per_s for row in rows],
        _BAR_WIDTH,
        label="predicted",
        color="0.75",
    )
    below = [row.tokens_per_s - min(row.measured_tokens_per_s) for row in rows]
    above = [max(row.measured_tokens_per_s) - row.tokens_per_s for row in rows]
    panel.bar(
        [place + _BAR_WIDTH / 2 for place in places],
        [row.tokens_per_s for row in rows],
        _BAR_WIDTH,
        yerr=(below, above),
        capsize=3,
        label="measured",
        color="tab:blue",
    )
    panel.set_title(rows[0].cell_name, fontsize="medium")
    panel.set_xticks(list(places), [row.policy for row in rows], rotation=20, ha="right")
