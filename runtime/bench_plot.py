"""The figure of a benchmark: bars of predicted and measured tokens per second."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from runtime.bench_report import BenchReport

_BAR_WIDTH = 0.38


def plot_report(report: BenchReport, path: Path) -> None:
    """Writes one panel per batch size; the suffix of the path gives the format."""
    sizes = report.batch_sizes
    figure = Figure(figsize=(1.5 + 3.2 * len(sizes), 4.0), layout="constrained")
    panels = figure.subplots(1, len(sizes), squeeze=False, sharey=True)[0]
    for panel, batch_size in zip(panels, sizes, strict=True):
        rows = [row for row in report.rows if row.batch_size == batch_size]
        places = range(len(rows))
        panel.bar(
            [place - _BAR_WIDTH / 2 for place in places],
            [row.predicted_tokens_per_s for row in rows],
            _BAR_WIDTH,
            label="predicted",
            color="0.75",
        )
        medians = [row.tokens_per_s for row in rows]
        below = [row.tokens_per_s - min(row.measured_tokens_per_s) for row in rows]
        above = [max(row.measured_tokens_per_s) - row.tokens_per_s for row in rows]
        panel.bar(
            [place + _BAR_WIDTH / 2 for place in places],
            medians,
            _BAR_WIDTH,
            yerr=(below, above),
            capsize=3,
            label="measured",
            color="tab:blue",
        )
        panel.set_title(f"batch {batch_size}")
        panel.set_xticks(list(places), [row.policy for row in rows], rotation=20, ha="right")
    panels[0].set_ylabel("new tokens per second")
    panels[0].legend()
    figure.suptitle(f"{report.model} on {report.hardware}, {report.clock} clock")
    figure.savefig(path, dpi=150)
