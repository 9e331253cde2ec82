"""The fractional counts of a solution, what rounding them costs, and which one of the highest rank is branched on.

Letters in the shapes: T rows and variables, N fractional counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.bounded_simplex import BoundedProgram, Ending, Floats, Vertex

WHOLE = 1e-6
"""How far from a whole number a count may be."""
Bounds = tuple[Floats, Floats]


@dataclass(frozen=True)
class Fractional:
    """Holds the fractional counts of a solution.

    Attributes:
        count: [N] their numbers among rows and variables.
        rank: [N] their ranks.
        above: [N] by how much they are above a whole number.
        down: [N] by how much the first pivot raises the costs where the count is rounded down, up to some room.
        up: [N] likewise where it is rounded up.
    """

    count: NDArray[np.int64]
    rank: NDArray[np.int64]
    above: Floats
    down: Floats
    up: Floats

    @classmethod
    def of(cls, vertex: Vertex, bounds: Bounds, rank: NDArray[np.int64], room: float) -> Fractional:
        """Returns the fractional counts of a rank [T] of zero or more."""
        basic, point = vertex.basis.basic, vertex.point
        fraction = point[basic] - np.floor(point[basic])
        balance = np.minimum(fraction, 1.0 - fraction)
        rows = np.flatnonzero((balance > WHOLE) & (rank[basic] >= 0))
        lower, upper = bounds
        resting = np.ones(len(point), bool)
        resting[basic] = False
        movable = np.flatnonzero(resting & (upper > lower))
        pull, at_upper = vertex.table[np.ix_(rows, movable)], vertex.basis.at_upper[movable]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(pull == 0, np.inf, np.abs(vertex.reduced[movable]) / np.abs(pull))
        falls = np.where(at_upper, pull < 0, pull > 0)
        down = fraction[rows] * np.where(falls, ratio, np.inf).min(axis=1, initial=np.inf)
        up = (1.0 - fraction[rows]) * np.where(falls, np.inf, ratio).min(axis=1, initial=np.inf)
        return cls(
            basic[rows], rank[basic[rows]], fraction[rows], np.minimum(down, room), np.minimum(up, room)
        )

    @property
    def balance(self) -> Floats:
        """Returns [N] how far the counts are from a whole number."""
        return np.minimum(self.above, 1.0 - self.above)

    @property
    def order(self) -> NDArray[np.int64]:
        """Returns [N] the counts by how much the first pivots raise the costs, the most last."""
        return np.lexsort((self.balance, np.maximum(self.down, self.up), np.minimum(self.down, self.up)))


def fractional_split(
    vertex: Vertex, lower: Floats, upper: Floats, rank: NDArray[np.int64], room: float
) -> tuple[Bounds, Bounds] | None:
    """Returns the bounds of two halves between which a fractional count lies, the likelier last; None where all are whole.

    Of the fractional counts of the highest rank it is the one of which the first pivot raises the costs most, in the half where
    it raises them less.

    Args:
        vertex: The optimum of the whole.
        lower: [T] its bounds.
        upper: Likewise.
        rank: [T] what is branched on first has the largest; below zero what need not be a whole number.
        room: By how much costs may rise before a half is of no interest.
    """
    basic, point = vertex.basis.basic, vertex.point
    fraction = point[basic] - np.floor(point[basic])
    open_rank = np.where(np.minimum(fraction, 1.0 - fraction) > WHOLE, rank[basic], -1)
    highest = int(open_rank.max(initial=-1))
    if highest < 0:
        return None
    found = Fractional.of(vertex, (lower, upper), np.where(rank == highest, rank, -1), room)
    best = found.order[-1]
    first, second = halves((lower, upper), int(found.count[best]), vertex)
    return (first, second) if found.up[best] <= found.down[best] else (second, first)


def halves(bounds: Bounds, count: int, vertex: Vertex) -> tuple[Bounds, Bounds]:
    """Returns the bounds with a count rounded down, and up."""
    lower, upper = bounds
    below, above = upper.copy(), lower.copy()
    below[count] = np.floor(vertex.point[count])
    above[count] = below[count] + 1.0
    return (lower, below), (above, upper)


def rise(program: BoundedProgram, vertex: Vertex, half: Bounds, room: float) -> float:
    """Returns by how much the costs rise in a half, up to some room; nothing where that is not found out."""
    cost = _cost(program, vertex)
    solved = program.solve(*half, vertex.basis, cost + room)
    if solved.ending is Ending.OPTIMAL:
        return min(room, max(0.0, _cost(program, solved) - cost))
    return 0.0 if solved.ending is Ending.UNDECIDED else room


def _cost(program: BoundedProgram, vertex: Vertex) -> float:
    """Returns what a solution costs: its bound may be far below, where a tiny reduced cost meets a wide range."""
    values = vertex.point[program.num_rows :]
    return float(program.cost[: len(values)] @ values)
