"""What a search has left open is settled over the ways that are left, by a general solver.

A placement better than the best one known takes ways near the bound alone. Where these are few routes, a general solver
(``general_counts``) finds the best along them or proves that there is none; where routes are too many, one over their arcs
proves that none is better by more than the gap that is enough. Where these are too many as well, it looks up to a value between
the bound and the best one, which either becomes the bound or leads to a better placement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from partitioner.placement.along import settled_along
from partitioner.placement.arcs import Arcs
from partitioner.placement.kept_ways import LITTLE, kept_ways
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.routes import Routes, kept_routes
from partitioner.placement.search_space import Found, SearchSpace
from partitioner.placement.wide_search import NEARLY

MOST_ROUTES, MOST_ARCS = 800, 4000
"""More routes, or arcs and variants, are not searched at once."""
STEPS = (1.0, 0.5, 0.25, 0.12, 0.06)
"""Parts of the way from the bound to the best placement up to which ways are listed."""
CLOSELY = 0.99 * NEARLY
"""A little less than the gap that is enough."""
EFFORT, ARC_EFFORT = 1.5e9, 2e7
"""Nodes of a search tree over routes times the square of its program's variables, and of one over arcs times their number: some
tens of seconds, and some minutes."""
MOST_NODES = 6000
"""Most nodes of an effort of 1; half as many behind a search that comes to no end."""
FINER = 0.1
"""So much less may differ of routes where those that stand for others are searched in full and lead to no better placement."""


@dataclass(frozen=True)
class Pains:
    """Says how much is done.

    Attributes:
        effort: Times as many nodes as ``EFFORT``, ``ARC_EFFORT`` and ``MOST_NODES`` say.
        rounds: How often what is left is searched.
        steps: Up to which parts of the way.
        most_routes: Programs over more routes and variants are left alone.
        over_arcs: Whether arcs are searched where routes are too many.
        short: Relative distance from the best placement up to which ways are searched.
    """

    effort: float
    rounds: int
    steps: tuple[float, ...]
    most_routes: float
    over_arcs: bool
    short: float


SOON = Pains(1.0, 3, STEPS[:1], 300, over_arcs=False, short=0.0)
IF_FEW = Pains(0.2, 3, STEPS[:1], 300, over_arcs=False, short=CLOSELY)
BEFOREHAND = Pains(0.2, 3, STEPS[:1], np.inf, over_arcs=True, short=CLOSELY)
IN_FULL = Pains(8.0, 6, STEPS, np.inf, over_arcs=True, short=CLOSELY)
"""What is done behind the first placement, before columns are made on demand, behind the first of these, and behind the search:
there a tree that is near its end is grown to it, since nothing comes behind."""


def settled(
    space: SearchSpace, root: Relaxation, found: Found, limit: float, pains: Pains = IN_FULL
) -> Found:
    """Returns what a search found, made better or proven as far as some effort goes.

    Args:
        space: The problem.
        root: The solved relaxation.
        found: What is known.
        limit: What the goal's value may be at most.
        pains: How much is done.
    """
    steps, effort, little = pains.steps, pains.effort, LITTLE
    for _ in range(pains.rounds):
        best = limit if found.placed is None else min(limit, found.placed.value)
        bound = max(root.bound, min(found.bound, best))
        if not np.isfinite(best) or bound >= best * (1 - NEARLY):
            break
        value, ways = _near(space, root, bound, best, steps, pains, little)
        if ways is None:
            break
        nodes = ARC_EFFORT / ways.size if isinstance(ways, Arcs) else EFFORT / ways.size**2
        nodes = int(max(1.0, effort * min(MOST_NODES, nodes)))
        along = settled_along(space, ways, root.box, value, found.placed, nodes)
        better = along.placed is not None and along.placed.value < best * (1 - 1e-9)
        found = replace(
            found,
            placed=along.placed,
            bound=max(bound, min(value, along.bound)),
            num_arcs=max(found.num_arcs, ways.size),
            finished=found.finished or (value >= best and along.finished),
        )
        if along.finished and not better:
            little *= FINER
        elif not better:
            effort *= 0.5
            steps = tuple(step for step in steps if bound + step * (best * (1 - pains.short) - bound) < value)
    return found


def is_near(space: SearchSpace, root: Relaxation, found: Found, limit: float) -> bool:
    """Tells whether ways are few all the way from the bound to the best placement, so that they are searched in full."""
    best = limit if found.placed is None else min(limit, found.placed.value)
    if not np.isfinite(best):
        return False
    bound = max(root.bound, min(found.bound, best))
    return _near(space, root, bound, best, STEPS[:1], IN_FULL)[1] is not None


def _near(
    space: SearchSpace,
    root: Relaxation,
    bound: float,
    best: float,
    steps: Sequence[float],
    pains: Pains,
    little: float = LITTLE,
) -> tuple[float, Arcs | Routes | None]:
    """Returns how far from the bound ways are few, and these."""
    for step in steps:
        value = bound + step * (best * (1 - pains.short) - bound)
        routes = kept_routes(space.folded, space.goal, root, value, little=little)
        if routes is not None and len(routes.stage) <= MOST_ROUTES:
            return value, routes if routes.size <= pains.most_routes else None
        if not pains.over_arcs:
            continue
        arcs = kept_ways(space, [root], value)
        if arcs.size <= MOST_ARCS:
            return value, arcs
    return bound, None
