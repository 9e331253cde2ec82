"""The figure of a sweep: predicted tokens per second over what is varied, a line per policy."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from runtime.cli.sweep.points import Sweep

_MARKERS = "osD^vP*"
_WIDE = 30
"""Largest over smallest rate from which on the axis of rates is logarithmic."""


def plot_sweep(found: Sweep, path: Path) -> None:
    """Writes the figure; the suffix of the path gives the format.

    Below the rates, a strip marks what does not fit, if there is anything.
    """
    lacking = [policy for policy in found.policies if _missing(found, policy)]
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    heights = [1.0, 0.07 * len(lacking)] if lacking else [1.0]
    panel, *strips = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for number, policy in enumerate(found.policies):
        _line(panel, found, policy, number)
    _scale(panel, found)
    panel.set_ylabel("predicted new tokens per second")
    panel.grid(visible=True, color="0.9")
    panel.set_axisbelow(True)
    panel.legend(loc="best", frameon=True)
    figure.suptitle(f"{found.model} on {found.hardware}\n{found.constants}", fontsize=11)
    for strip in strips:
        _mark(strip, found, lacking)
    [panel, *strips][-1].set_xlabel(found.axis.label)
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


def _missing(found: Sweep, policy: str) -> list[float]:
    """Returns the values at which a policy has no plan."""
    return [point.value.value for point in found.points if point.policy == policy and point.found is None]


def _line(panel: Axes, found: Sweep, policy: str, number: int) -> None:
    """Draws a policy's rates, with gaps where nothing fits."""
    points = sorted(
        (point for point in found.points if point.policy == policy), key=lambda point: point.value.value
    )
    values = [point.value.value for point in points]
    rates = [point.found.tokens_per_s if point.found else float("nan") for point in points]
    marker = _MARKERS[number % len(_MARKERS)]
    panel.plot(values, rates, f"{marker}-", color=_color(number), label=policy, markersize=6)


def _mark(strip: Axes, found: Sweep, lacking: Sequence[str]) -> None:
    """Marks in a strip where policies have no plan, one row each."""
    for row, policy in enumerate(lacking):
        values = _missing(found, policy)
        color = _color(found.policies.index(policy))
        strip.plot(values, [row] * len(values), "x", color=color, markersize=7, markeredgewidth=2)
    strip.set_ylim(len(lacking) - 0.5, -0.5)
    strip.set_yticks([])
    strip.set_ylabel("does\nnot fit", rotation=0, ha="right", va="center")
    strip.grid(visible=True, axis="x", color="0.9")


def _color(number: int) -> str:
    return f"C{number % 10}"


def _scale(panel: Axes, found: Sweep) -> None:
    values = [value.value for value in found.axis.values]
    rates = [point.found.tokens_per_s for point in found.points if point.found]
    if is_geometric(values):
        panel.set_xscale("log")
    panel.set_xticks(values, [value.text for value in found.axis.values])
    if len(values) > 8:
        panel.tick_params(axis="x", rotation=45)
    if rates and max(rates) > _WIDE * min(rates):
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:g}")
    else:
        panel.set_ylim(bottom=0)
    panel.minorticks_off()
