"""The best placement of a search becomes better along the routes of a solution, and stays a placement."""

from __future__ import annotations

import functools
import math
from collections import Counter

import numpy as np

from partitioner.placement.along import any_along_routes
from partitioner.placement.bounded_simplex import Ending
from partitioner.placement.column_program import ColumnProgram
from partitioner.placement.column_sums import ColumnSums
from partitioner.placement.columns import Column
from partitioner.placement.incumbent import Incumbent
from partitioner.placement.search_space import SearchSpace
from tests.partitioner.placement.problems import solved_problems
from tests.partitioner.placement.relaxed import relaxed


def _worth(space: SearchSpace, stages: list[Counter[Column]]) -> float:
    placed = space.place(stages)
    return placed.value if space.goal.holds(placed.total) else math.inf


def test_a_solution_is_settled_by_a_general_solver() -> None:
    """From the optimum of the relaxation itself, with no placement known, it comes to the best one of small problems."""
    fits, settled = 0, 0
    for problem, oracle in solved_problems(150):
        fits += 1
        space, root, pool, _ = relaxed(problem)
        limit, worth = 1.5 * oracle.objective, functools.partial(_worth, space)
        along = functools.partial(any_along_routes, space)
        found = Incumbent(space.folded, space.goal, root, list(pool), limit, None, 0.0, worth, along)
        sums = ColumnSums.of(space.folded, space.sums)
        program = ColumnProgram.of(space.folded, space.goal, limit, sums, list(pool))
        low, high = np.zeros(sums.size), np.full(sums.size, np.inf)
        vertex = program.program.firmly(*program.bounds(low, high), program.program.start)
        assert vertex.ending is Ending.OPTIMAL
        found.settle(program, vertex, low, high)
        if found.stages is None:
            assert found.value == limit
            continue
        assert worth(found.stages) == found.value < limit
        assert abs(found.value / oracle.objective - 1) < 1e-9
        settled += 1
    assert settled > 0.9 * fits > 50
