"""Whole numbers of some columns, chosen at once by a general solver: of a mixture's, or of all near those of a placement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from partitioner.placement.bounded_simplex import Ending
from partitioner.placement.column_program import ColumnProgram
from partitioner.placement.column_sums import ColumnSums
from partitioner.placement.columns import Column, ColumnPool
from partitioner.placement.counted_columns import Effort, counted_columns
from partitioner.placement.exchange import Exchanges, Placement
from partitioner.placement.folded import Folded
from partitioner.placement.general_counts import general_counts
from partitioner.placement.goal import Goal

NUM_NEAR = 300
"""So many columns near those of a placement are chosen among."""
ROUNDED = Effort(100, 300, 1e-2, general_counts, loose=True)
"""To round a mixture: limits may be broken, and exchanges follow."""
AMONG_NEAR = Effort(2 * NUM_NEAR, 400, 2e-5, general_counts)
"""To choose among columns near a placement."""


def among(
    folded: Folded, goal: Goal, columns: Iterable[Column], value: float, cutoff: float, effort: Effort
) -> tuple[tuple[Column, ...], list[Counter[Column]] | None]:
    """Returns the columns of the best mixture of some, and the best whole numbers of them that are found, if any are.

    Args:
        folded: The problem.
        goal: What is minimised.
        columns: The columns.
        value: The size of the objective, roughly.
        cutoff: What the goal's value may be at most.
        effort: How long is looked.
    """
    none = np.zeros(0)
    sums = ColumnSums.none(folded)
    program = ColumnProgram.of(folded, goal, value, sums, columns)
    vertex = program.program.firmly(*program.bounds(none, none), program.program.start)
    if vertex.ending is not Ending.OPTIMAL:
        return (), None
    mixture = tuple(c for c, n in zip(program.columns, program.shares(vertex), strict=True) if n > 0)
    return mixture, counted_columns(program, vertex, None, cutoff, (), effort)


def among_near(
    folded: Folded,
    goal: Goal,
    exchanges: Exchanges,
    stages: Placement,
    others: Iterable[Column],
    cutoff: float,
) -> list[Counter[Column]] | None:
    """Returns the best placement found of columns near those of one, and of some others; None where none is below a cutoff."""
    near = ColumnPool()
    near.add(column for counted in stages for column in counted)
    near.add(others)
    near.add(exchanges.around(stages)[:NUM_NEAR])
    return among(folded, goal, near, cutoff, cutoff, AMONG_NEAR)[1]
