"""The figure of a study: bits per byte over the ratio, and answers found by depth."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.accuracy.evaluate import EXACT
from runtime.cli.accuracy.study import NOTABLE_LOSS, Study

_MARKERS = "osD^vP*"


def plot_study(study: Study, path: Path) -> None:
    """Writes the figure; the suffix of the path gives the format."""
    methods = list(dict.fromkeys(row.method for row in study.text_rows if row.method != EXACT))
    ratios = sorted({Fraction(row.ratio) for row in study.text_rows if row.method != EXACT}, reverse=True)
    panels = 2 if study.needle_rows and methods else 1
    figure = Figure(figsize=(1.0 + 5.5 * panels, 4.4), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _losses(axes[0], study, methods, ratios)
    if panels == 2:
        _retrieval(figure, axes[1], study, methods, ratios)
    figure.suptitle(f"{study.model}, {study.text}", fontsize=10)
    figure.savefig(path, dpi=150)


def _losses(panel: Axes, study: Study, methods: list[str], ratios: list[Fraction]) -> None:
    exact = study.text_rows[0].bits_per_byte
    panel.axhline(exact, color="black", linewidth=1, label="exact")
    panel.axhspan(exact, exact * (1 + NOTABLE_LOSS), color="0.9", label=f"loss up to {NOTABLE_LOSS:.0%}")
    for number, method in enumerate(methods):
        rows = {Fraction(row.ratio): row.bits_per_byte for row in study.text_rows if row.method == method}
        marker = f"{_MARKERS[number % len(_MARKERS)]}-"
        panel.plot(list(map(float, rows)), list(rows.values()), marker, color=f"C{number}", label=method)
    panel.set_xscale("log", base=2)
    panel.invert_xaxis()
    panel.set_xticks(list(map(float, ratios)), list(map(str, ratios)))
    panel.minorticks_off()
    panel.set_xlabel("share of K and V that is read")
    panel.set_ylabel("bits per byte")
    panel.grid(visible=True, color="0.9")
    panel.set_axisbelow(True)
    panel.legend(frameon=True, fontsize=9)


def _retrieval(figure: Figure, panel: Axes, study: Study, methods: list[str], ratios: list[Fraction]) -> None:
    """Draws the answers found, a row per method and ratio, a column per depth, averaged over context lengths."""
    depths = sorted({row.depth for row in study.needle_rows})
    kinds = [(EXACT, Fraction(1)), *((method, ratio) for method in methods for ratio in ratios)]
    shares = np.array(
        [
            [
                np.mean(
                    [
                        row.answers
                        for row in study.needle_rows
                        if (row.method, Fraction(row.ratio), row.depth) == (*kind, depth)
                    ]
                )
                for depth in depths
            ]
            for kind in kinds
        ]
    )
    image = panel.imshow(100 * shares, vmin=0, vmax=100, cmap="viridis", aspect="auto")
    panel.set_xticks(range(len(depths)), [f"{depth:.0%}" for depth in depths])
    panel.set_yticks(range(len(kinds)), [f"{method} {ratio}" for method, ratio in kinds], fontsize=8)
    panel.set_xlabel("depth of the line that is asked for")
    for row, column in np.ndindex(shares.shape):
        value = 100 * shares[row, column]
        color = "black" if value > 60 else "white"
        panel.text(column, row, f"{value:.0f}", ha="center", va="center", color=color, fontsize=7)
    contexts = sorted({row.context for row in study.needle_rows})
    figure.colorbar(image, ax=panel, label=f"answers found, %, contexts of {contexts[0]} to {contexts[-1]}")
