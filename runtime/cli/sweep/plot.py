"""The figure of a sweep: predicted tokens per second over what is varied, a line per policy."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from runtime.cli.sweep.points import Point, Sweep

_MARKERS = "osD^vP*"
_WIDE = 30
"""Largest over smallest rate from which on the axis of rates is logarithmic."""


def plot_sweep(found: Sweep, path: Path) -> None:
    """Writes the figure; the suffix of the path gives the format."""
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    panel = figure.subplots()
    missing = False
    for number, policy in enumerate(found.policies):
        points = [point for point in found.points if point.policy == policy]
        missing |= _line(panel, points, policy, number)
    if missing:
        panel.plot([], [], "x", color="0.3", label="does not fit")
    _scale(panel, found)
    panel.set_xlabel(found.axis.label)
    panel.set_ylabel("predicted new tokens per second")
    panel.grid(visible=True, color="0.9")
    panel.set_axisbelow(True)
    panel.legend(loc="best", frameon=True)
    panel.set_title(f"{found.model} on {found.hardware}")
    figure.savefig(path, dpi=150)


def is_geometric(values: Sequence[float]) -> bool:
    """Tells whether values grow by factors rather than by steps, so that a logarithmic axis spreads them more evenly."""
    ordered = sorted(values)
    if len(ordered) < 3 or ordered[0] <= 0:
        return False
    factors = [b / a - 1 for a, b in itertools.pairwise(ordered)]
    steps = [b - a for a, b in itertools.pairwise(ordered)]
    return _unevenness(factors) < _unevenness(steps)


def _unevenness(values: Sequence[float]) -> float:
    return statistics.pstdev(values) / statistics.fmean(values)


def _line(panel: Axes, points: Sequence[Point], policy: str, number: int) -> bool:
    """Draws a policy, with gaps where nothing fits, and crosses there at the foot; tells whether there are any."""
    color = f"C{number % 10}"
    ordered = sorted(points, key=lambda point: point.value.value)
    values = [point.value.value for point in ordered]
    rates = [point.found.tokens_per_s if point.found else float("nan") for point in ordered]
    panel.plot(values, rates, f"{_MARKERS[number % len(_MARKERS)]}-", color=color, label=policy, markersize=6)
    lacking = [point.value.value for point in ordered if point.found is None]
    foot = [0.03 + 0.04 * number] * len(lacking)
    panel.plot(lacking, foot, "x", color=color, markersize=8, transform=panel.get_xaxis_transform())
    return bool(lacking)


def _scale(panel: Axes, found: Sweep) -> None:
    values = [value.value for value in found.axis.values]
    rates = [point.found.tokens_per_s for point in found.points if point.found]
    if is_geometric(values):
        panel.set_xscale("log")
    panel.set_xticks(values, [value.text for value in found.axis.values])
    panel.minorticks_off()
    if len(values) > 8:
        panel.tick_params(axis="x", rotation=45)
    if rates and max(rates) > _WIDE * min(rates):
        panel.set_yscale("log")
    else:
        panel.set_ylim(bottom=0)
