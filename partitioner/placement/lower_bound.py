"""A bound that needs no search: every op at its fastest, as if everything fitted and moved for free."""

from __future__ import annotations

from partitioner.placement.problem import Problem


def lower_bound(problem: Problem) -> float:
    """Returns the sum over ops of the fastest variant's seconds; no placement of the problem is faster."""
    return sum(
        stage.count * sum(min(sum(v.seconds) for v in choice.variants) for choice in stage.block.choices)
        for stage in problem.stages
    )
