"""A placement near the relaxation's mixture: rounded to whole numbers, and made better step by step.

The mixture needs a handful of columns, of which most are taken by many instances; rounded, it breaks a limit by a part of an
instance or wastes as much. Exchanges (``exchange``) mend the one and use up the other, until no two changes do; then a general
solver chooses among all columns near those in use at once, and so on. Nothing is proven here.
"""

from __future__ import annotations

import numpy as np

from partitioner.placement.among_columns import ROUNDED, among, among_near
from partitioner.placement.columns import ColumnPool
from partitioner.placement.exchange import Exchanges, Placement
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.search_space import Placed, SearchSpace

ROUNDS = 4
"""How often columns near those in use are chosen among."""
BETTER = 1e-6
"""Relative amount by which a round makes a placement better, or it is the last."""


def rounded(space: SearchSpace, root: Relaxation, pool: ColumnPool, known: Placed | None) -> Placed | None:
    """Returns a placement no worse than one that is known, or None where none is found that keeps the hard limits.

    Args:
        space: The problem.
        root: The solved relaxation.
        pool: Its columns.
        known: A placement that keeps the hard limits, if one is known.
    """
    folded, goal = space.folded, space.goal
    exchanges = Exchanges(folded, goal, root.price, root.bound)
    mixture, whole = among(folded, goal, pool, space.unit, np.inf, ROUNDED)
    best = known
    for stages in (whole, None if known is None else list(known.stages)):
        if stages is not None:
            best = _better(space, exchanges.improved(stages), best)
    for _ in range(ROUNDS):
        if best is None:
            break
        stages = among_near(folded, goal, exchanges, list(best.stages), mixture, best.value * (1 - BETTER))
        better = best if stages is None else _better(space, exchanges.improved(stages), best)
        if better is best:
            break
        best = better
    return best


def _better(space: SearchSpace, stages: Placement, known: Placed | None) -> Placed | None:
    """Returns the better of two placements of which one may break hard limits."""
    placed = space.place(stages)
    if not space.goal.holds(placed.total) or (known is not None and placed.value >= known.value):
        return known
    return space.polished(placed, stages)
