"""The primal simplex method on a dense table with bounds: from a solution to the cheapest, after variables have been added.

Letters in the shapes: M rows, T rows and variables.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST = 400
"""Pivots after which it is given up."""
SMALLEST_PIVOT = 1e-7
"""Smaller numbers of a column of the table do not limit how far its variable moves."""


def primal_pivots(
    table: Floats,
    reduced: Floats,
    basic: NDArray[np.int64],
    at_upper: NDArray[np.bool_],
    value: Floats,
    bounds: tuple[Floats, Floats],
    *,
    enough: float,
) -> bool:
    """Changes a table in place until no variable that moves lowers the cost; returns whether that was reached.

    Args:
        table: [M T] what the basic ones change by is minus a column times the change of its variable.
        reduced: [T] reduced costs.
        basic: [M] which of the T are basic.
        at_upper: [T] which of the others are at their upper bounds.
        value: [M] of the basic ones, within their bounds.
        bounds: [T] least and largest values.
        enough: Reduced costs as small as this may have the wrong sign.
    """
    lower, upper = bounds
    width = upper - lower
    free = width > 0
    free[basic] = False
    for _ in range(MOST):
        gain = np.where(free, np.where(at_upper, reduced, -reduced), 0.0)
        entering = int(np.argmax(gain))
        if gain[entering] <= enough:
            return True
        sign = -1.0 if at_upper[entering] else 1.0
        change = -sign * table[:, entering]
        room = np.where(change > 0, upper[basic] - value, value - lower[basic])
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.where(np.abs(change) > SMALLEST_PIVOT, np.maximum(room, 0.0) / np.abs(change), np.inf)
        row = int(np.argmin(steps))
        length = float(min(steps[row], width[entering]))
        if not np.isfinite(length):
            return False
        if length < steps[row]:
            value += length * change
            at_upper[entering] = not at_upper[entering]
            continue
        ties = np.flatnonzero(steps <= length * (1.0 + 1e-9))
        row = int(ties[np.argmax(np.abs(change[ties]))])
        begin = upper[entering] if at_upper[entering] else lower[entering]
        value += length * change
        leaving = basic[row]
        at_upper[leaving] = bool(change[row] > 0)
        value[row] = begin + sign * length
        table[row] /= table[row, entering]
        column = table[:, entering].copy()
        column[row] = 0.0
        changed = column.nonzero()[0]  # a fifth of the rows, mostly
        table[changed] -= column[changed, None] * table[row]
        reduced -= reduced[entering] * table[row]
        reduced[entering] = 0.0
        basic[row] = entering
        free[leaving], free[entering] = width[leaving] > 0, False
    return False
