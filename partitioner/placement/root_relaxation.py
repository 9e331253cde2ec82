"""The relaxation of a problem with many arcs, which ends as soon as it shows that there is nothing to find.

It is the one of ``relaxation``, by a program that goes on from its last solution when columns are added (``column_program``),
in which hard limits may be exceeded at a price, so that any columns do to begin with. Every round proves a bound.
"""

from __future__ import annotations

import numpy as np

from partitioner.placement.bounded_simplex import Ending
from partitioner.placement.column_program import ColumnProgram, Priced
from partitioner.placement.column_sums import ColumnSums
from partitioner.placement.columns import ColumnPool
from partitioner.placement.folded import Folded
from partitioner.placement.goal import Goal
from partitioner.placement.highs import SolverError
from partitioner.placement.relaxation import MAX_ROUNDS, Relaxation, relaxation_at
from partitioner.placement.tally import Box

BROKEN = 1e-6
"""Limits are kept by a solution that exceeds none of them by more than this share."""


def root_relaxation(
    folded: Folded, goal: Goal, unit: float, pool: ColumnPool, limit: float
) -> tuple[Relaxation, bool]:
    """Solves the relaxation, adding columns to the pool; returns it, and whether it shows that nothing keeps the hard limits.

    Args:
        folded: The problem.
        goal: What is minimised.
        unit: The size of the objective, roughly.
        pool: Columns of at least one placement.
        limit: A bound that is as large ends it.

    Raises:
        SolverError: No relaxation was solved.
    """
    kinds = folded.kinds
    none = ColumnSums.none(folded)
    program = ColumnProgram.of(folded, goal, unit, none, pool)
    basis, low = program.program.start, np.zeros(0)
    best: Priced | None = None
    exceeds = False
    rounds = 0
    while True:
        vertex = program.program.solve(*program.bounds(low, low), basis, np.inf)
        if vertex.ending is not Ending.OPTIMAL:
            break
        basis, rounds = vertex.basis, rounds + 1
        priced = program.priced(vertex, low, low)
        if best is None or priced.bound > best.bound:
            best = priced
        exceeds = not priced.missing and program.exceeded(vertex) > BROKEN
        if best.bound >= limit or not priced.missing or rounds == MAX_ROUNDS:
            break
        program = program.extended(priced.missing)
    if best is None:
        raise SolverError(f"the linear relaxation ended as {vertex.ending.value}")
    pool.add(program.columns)
    most, nothing = kinds.most, np.zeros(len(kinds.most))
    tally = sum(
        (
            float(n) * kinds.tally(c.stage, c.picks)
            for c, n in zip(program.columns, program.shares(vertex), strict=False)
            if n > 0
        ),
        nothing,
    )
    return relaxation_at(folded, goal, best.price, nothing, Box(nothing, most), tally, rounds), exceeds
