"""The oracle: every placement of a tiny problem, tried one by one."""

from __future__ import annotations

import itertools
import math

from partitioner.placement.evaluate import Chosen, breakdown
from partitioner.placement.problem import Infeasible, Problem, Solution
from partitioner.placement.validate import validate

MAX_PLACEMENTS = 1_000_000
"""More than this many placements are refused: trying them would take minutes."""


def exhaustive(problem: Problem) -> Solution | Infeasible:
    """Tries every placement and returns the first of the best, or the least that is missing.

    Raises:
        ValueError: The problem is faulty, or has more than ``MAX_PLACEMENTS`` placements.
    """
    validate(problem)
    num_variants = [
        len(choice.variants)
        for stage in problem.stages
        for _ in range(stage.count)
        for choice in stage.block.choices
    ]
    num_placements = math.prod(num_variants)
    if num_placements > MAX_PLACEMENTS:
        raise ValueError(
            f"the exhaustive search tries at most {MAX_PLACEMENTS} placements, this problem has {num_placements}; "
            "use solve() for it"
        )
    best: Solution | None = None
    least: Infeasible | None = None
    for picks in itertools.product(*map(range, num_variants)):
        chosen = _nested(problem, picks)
        parts = breakdown(problem, chosen)
        shortfall = parts.shortfall(problem.capacities)
        if any(shortfall):
            if least is None or math.fsum(shortfall) < math.fsum(least.shortfall):
                least = Infeasible(shortfall, parts.memory_bytes)
        elif best is None or parts.objective_s < best.objective:
            objective = parts.objective_s
            best = Solution(chosen, objective, objective, f"exhaustive search of {num_placements} placements")
    result = best or least
    assert result is not None, "a product is never empty"
    return result


def _nested(problem: Problem, picks: tuple[int, ...]) -> Chosen:
    remaining = iter(picks)
    return tuple(
        tuple(tuple(itertools.islice(remaining, len(stage.block.choices))) for _ in range(stage.count))
        for stage in problem.stages
    )
