"""Whole numbers by branch and bound, in which sums that mean something are decided before their parts.

A general solver branches on single variables. Where alike layers are counted, a mixture trades one variable for another at next
to no cost, so that no single one decides anything, and the tree has thousands of nodes. Sums such as the weights on a tier
decide (``count_sums``): between two values of a sum lies a whole weight. They are rows of the program, and come first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.bounded_simplex import BoundedProgram, Ending, Floats
from partitioner.placement.fractional import fractional_split
from partitioner.placement.open_nodes import OpenNodes

DIVE = 12
"""As long as no solution is known, so many nodes lead down from the best one that waits."""


@dataclass(frozen=True)
class Counted:
    """Holds the outcome.

    Attributes:
        solution: [N] the best whole solution found, or None.
        bound: Lower bound on the cost of any; infinite where there is none below the cutoff.
        finished: Whether the search came to its end; the bound then is that of the best, up to the gap and the tilt of costs.
        num_nodes: Nodes of the tree.
    """

    solution: Floats | None
    bound: float
    finished: bool
    num_nodes: int


def best_counts(
    program: BoundedProgram,
    lower: Floats,
    upper: Floats,
    rank: NDArray[np.int64],
    *,
    gap: float,
    cutoff: float,
    max_nodes: int,
) -> Counted:
    """Returns the cheapest solution in whole numbers.

    Args:
        program: Costs and rows.
        lower: [T] bounds of rows and variables.
        upper: Likewise.
        rank: [T] what is branched on first has the largest; below zero what need not be a whole number.
        gap: Relative gap that is enough.
        cutoff: What solutions may cost at most.
        max_nodes: Nodes at which the search ends.
    """
    nodes = OpenNodes(-np.inf, program.start, lower, upper)
    best: Floats | None = None
    value, finished, num_nodes = cutoff, True, 0
    while nodes:
        below, _, basis, low, high, _ = nodes.take(newest=best is None and num_nodes % DIVE > 0)
        enough = value if best is None else value - gap * abs(value)
        if num_nodes >= max_nodes:
            nodes.close(below)
            finished = False
            break
        if below >= enough:
            nodes.close(below)
            continue
        num_nodes += 1
        vertex = program.solve(low, high, basis, enough)
        bound = max(below, vertex.bound)
        if vertex.ending is Ending.INFEASIBLE:
            continue
        if vertex.ending is not Ending.OPTIMAL or bound >= enough:
            nodes.close(bound)
            finished &= vertex.ending is not Ending.UNDECIDED
            continue
        split = fractional_split(vertex, low, high, rank, enough - bound)
        if split is None:
            best = vertex.point[program.num_rows :]
            value = min(value, float(program.cost @ best))
            nodes.close(bound)
            continue
        nodes.split(bound, vertex.basis, split)
    return Counted(best, nodes.bound, finished, num_nodes)
