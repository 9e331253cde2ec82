"""Which fractional count a tree branches on: the one that is thought to raise the bound most, by what was learned on the way.

By how much a bound rose per unit where a count was branched on tells what that count does elsewhere (pseudo-costs); counts
of which too little is known, and of each rank the one that promises most, have both their halves solved (reliability
branching; T. Achterberg, T. Koch, A. Martin, "Branching rules revisited", 2005).

Letters in the shapes: T rows and variables, N fractional counts, S counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.bounded_simplex import BoundedProgram, Floats, Vertex
from partitioner.placement.fractional import Bounds, Fractional, halves, rise

RELIABLE = 2
"""So many rises in both directions have to be known of a count to be believed, by default."""
MOST_SOLVED = 10
"""So many counts have their halves solved at a node, besides the one of each rank."""
IN_VAIN = 5
"""After so many counts in a row that are no better than the best one, no others are looked at."""
TELLING = 1e-6
"""Share of the largest product of rises that there may be below which it tells nothing: then ranks decide."""
DOWN, UP = 0, 1


@dataclass(frozen=True)
class Step:
    """Says how a half differs from the whole: a count, in which direction it is rounded, and by what part of a unit."""

    count: int
    side: int
    part: float


@dataclass(frozen=True)
class Branch:
    """Holds what is branched on.

    Attributes:
        rank: Its rank, or the least that it may have.
        halves: The bounds of both halves, the likelier last.
        steps: How each differs from the whole, if that is to be learned from.
    """

    rank: int
    halves: tuple[Bounds, Bounds]
    steps: tuple[Step | None, Step | None]


class Learned:
    """Keeps by how much counts have raised bounds.

    Args:
        reliable: So many rises in both directions have to be known of a count to be believed.
    """

    def __init__(self, reliable: float = RELIABLE) -> None:
        self._reliable = reliable
        self._total, self._times = np.zeros((2, 0)), np.zeros((2, 0))

    def note(self, step: Step, raised: float) -> None:
        """Notes by how much a bound rose in a half."""
        self._make_room(step.count + 1)
        self._total[step.side, step.count] += raised / step.part
        self._times[step.side, step.count] += 1.0

    def branch(
        self,
        program: BoundedProgram,
        vertex: Vertex,
        bounds: Bounds,
        rank: NDArray[np.int64],
        room: float,
        first: int,
    ) -> Branch | None:
        """Returns what to branch on, or None where all counts are whole.

        It is the count for which the product of what its halves raise the costs by is the largest.

        Args:
            program: The program, which may have gained columns behind those of the solution.
            vertex: The optimum of the whole.
            bounds: [T] its bounds.
            rank: [T] of the solution's rows and variables; below zero what need not be a whole number.
            room: By how much costs may rise before a half is of no interest.
            first: The row of the first count, from which those in steps are numbered.
        """
        size = len(vertex.point)
        found = Fractional.of(vertex, (bounds[0][:size], bounds[1][:size]), rank, room)
        if not len(found.count):
            return None
        counts = found.count - first
        self._make_room(int(counts.max()) + 1)
        parts = np.stack([found.above, 1.0 - found.above])
        rises = np.minimum(room, np.maximum(self._per_unit(counts) * parts, [found.down, found.up]))
        least = TELLING * room
        order = np.lexsort((found.balance, found.rank, np.maximum(rises, least).prod(axis=0)))[::-1]
        _, firsts = np.unique(found.rank[order], return_index=True)
        of_rank = dict.fromkeys(order[np.sort(firsts)].tolist())
        best, most = -1, (-1.0, -1)
        solved = in_vain = 0
        for number in dict.fromkeys([*of_rank, *order.tolist()]):
            reliable = self._times[:, counts[number]].min() >= self._reliable
            if number in of_rank or (not reliable and solved < MOST_SOLVED):
                solved += number not in of_rank
                for side, half in enumerate(halves(bounds, int(found.count[number]), vertex)):
                    rises[side, number] = rise(program, vertex, half, room)
                    self.note(Step(int(counts[number]), side, parts[side, number]), rises[side, number])
            merit = float(np.maximum(rises[:, number], least).prod())
            worth = merit if merit > TELLING * room**2 else 0.0, int(found.rank[number])
            in_vain = 0 if worth > most else in_vain + 1
            if worth > most:
                best, most = number, worth
            if in_vain >= IN_VAIN:
                break
        sides = (DOWN, UP) if rises[UP, best] <= rises[DOWN, best] else (UP, DOWN)
        both = halves(bounds, int(found.count[best]), vertex)
        steps = [Step(int(counts[best]), side, float(parts[side, best])) for side in sides]
        return Branch(int(found.rank[best]), (both[sides[0]], both[sides[1]]), (steps[0], steps[1]))

    def _per_unit(self, counts: NDArray[np.int64]) -> Floats:
        """Returns [2 N] what is known of some counts, nothing where there is nothing known."""
        return self._total[:, counts] / np.maximum(1.0, self._times[:, counts])

    def _make_room(self, size: int) -> None:
        """Keeps as many counts at least."""
        missing = ((0, 0), (0, max(0, size - self._total.shape[1])))
        self._total, self._times = np.pad(self._total, missing), np.pad(self._times, missing)
