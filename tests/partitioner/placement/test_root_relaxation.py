"""The relaxation that goes on from its last solution proves what the one of separate programs proves."""

import math

import numpy as np
import pytest

from partitioner.placement.columns import ColumnPool, model_columns
from partitioner.placement.folded import fold
from partitioner.placement.goal import fastest
from partitioner.placement.problem import Infeasible, Problem
from partitioner.placement.relaxation import relax, relaxation_at
from partitioner.placement.root_relaxation import root_relaxation
from partitioner.placement.solve import solve
from partitioner.placement.tally import Box
from tests.partitioner.placement.problems import in_bytes, random_problem


def begun(problem: Problem) -> tuple[object, ...]:
    """Returns the folded problem, its goal, the size of its objective and the columns of its shortest path."""
    folded = fold(problem)
    goal = fastest(problem, folded.most)
    price, free = np.zeros(len(goal.group)), np.zeros(len(folded.kinds.most))
    price[: len(problem.phases)] = 1.0
    box = Box(free, folded.kinds.most)
    alone = relaxation_at(folded, goal, price, free, box, free, 0)
    pool = ColumnPool()
    pool.add(c for columns in model_columns(alone.paths, alone.model) for c in columns)
    return folded, goal, goal.value(folded.most) or 1.0, pool, box


@pytest.mark.parametrize("seed", range(60))
def test_both_relaxations_end_at_one_bound(seed: int) -> None:
    problem = in_bytes(random_problem(seed), seed) if seed % 2 else random_problem(seed)
    folded, goal, unit, pool, box = begun(problem)
    found, exceeds = root_relaxation(folded, goal, unit, pool, math.inf)  # pyright: ignore[reportArgumentType]
    if isinstance(solve(problem), Infeasible):
        assert exceeds or found.bound > -math.inf
        return
    if exceeds:
        pytest.fail("a problem with a placement was said to have none")
    other = relax(folded, goal, unit, pool, box)  # pyright: ignore[reportArgumentType]
    assert found.bound == pytest.approx(other.bound, rel=1e-6, abs=1e-7 * unit)  # pyright: ignore[reportOperatorIssue]
    result = solve(problem)
    assert not isinstance(result, Infeasible)
    assert found.bound <= getattr(result, "objective", math.inf) * (1 + 1e-9)


def test_a_limit_ends_it() -> None:
    longest = 0
    for seed in range(60):
        folded, goal, unit, pool, _ = begun(random_problem(seed))
        whole, _ = root_relaxation(folded, goal, unit, pool, math.inf)  # pyright: ignore[reportArgumentType]
        folded, goal, unit, pool, _ = begun(random_problem(seed))
        early, _ = root_relaxation(folded, goal, unit, pool, 0.5 * whole.bound)  # pyright: ignore[reportArgumentType]
        assert early.rounds <= whole.rounds
        assert early.bound <= whole.bound * (1 + 1e-6) + 1e-9
        longest += early.rounds < whole.rounds
    assert longest > 5
