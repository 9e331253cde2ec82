"""All figures, by the name that users ask for."""

from __future__ import annotations

import difflib

from runtime.cli.one_line_errors import ArgumentError
from runtime.cli.reproduce import breakdown, endurance, io_volumes, scaling, sensitivity, throughput
from runtime.cli.reproduce.figure import FigureSource

FIGURES: dict[str, FigureSource] = {
    module.SOURCE.name: module.SOURCE
    for module in (throughput, breakdown, scaling, sensitivity, endurance, io_volumes)
}


def figures_named(name: str | None) -> tuple[FigureSource, ...]:
    """Returns one figure, or all.

    Raises:
        ArgumentError: There is no such figure.
    """
    if name is None:
        return tuple(FIGURES.values())
    if name not in FIGURES:
        near = difflib.get_close_matches(name, FIGURES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(FIGURES)}"
        raise ArgumentError(f"unknown figure {name!r}; {hint}")
    return (FIGURES[name],)
