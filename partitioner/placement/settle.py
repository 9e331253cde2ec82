"""What a search has left open is settled over the routes that are left, by a general solver.

A placement better than the best one known takes routes near the bound alone. Where these are few enough to list, a general
solver (``general_counts``) finds the best along them or proves that there is none; where they are too many, up to a value
between the bound and the best one, which either becomes the bound or leads to a better placement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from partitioner.placement.along import settled_along
from partitioner.placement.kept_ways import LITTLE
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.routes import Routes, kept_routes
from partitioner.placement.search_space import Found, SearchSpace
from partitioner.placement.wide_search import NEARLY

MOST_ROUTES, SOON = 800, 300
"""More routes are not searched at once, and at first no more routes and variants."""
STEPS = (1.0, 0.5, 0.25, 0.12, 0.06)
"""Parts of the way from the bound to the best placement up to which routes are listed."""
EFFORT, MOST_NODES = 1.5e9, 15_000
"""Nodes of a search tree times the square of its program's variables, and most nodes: some ten seconds."""
ROUNDS = 3
"""How often what is left is searched."""


def settled(space: SearchSpace, root: Relaxation, found: Found, limit: float, *, soon: bool = False) -> Found:
    """Returns what a search found, made better or proven as far as some effort goes.

    Args:
        space: The problem.
        root: The solved relaxation.
        found: What is known.
        limit: What the goal's value may be at most.
        soon: Whether only small programs are searched, all the way to the best placement known.
    """
    steps = STEPS[:1] if soon else STEPS
    for _ in range(ROUNDS):
        best = limit if found.placed is None else min(limit, found.placed.value)
        bound = max(root.bound, min(found.bound, best))
        if not np.isfinite(best) or bound >= best * (1 - NEARLY):
            break
        value, routes = _listed(space, root, bound, best, steps)
        if routes is None or (soon and routes.size > SOON):
            break
        nodes = int(min(MOST_NODES, max(1.0, EFFORT / routes.size**2)))
        along = settled_along(space, routes, value, found.placed, nodes)
        better = along.placed is not None and along.placed.value < best * (1 - 1e-9)
        found = replace(
            found,
            placed=along.placed,
            bound=max(bound, min(value, along.bound)),
            num_arcs=max(found.num_arcs, routes.size),
            finished=found.finished or (value >= best and along.finished),
        )
        if not along.finished and not better:
            steps = tuple(step for step in steps if bound + step * (best - bound) < value)
    return found


def _listed(
    space: SearchSpace, root: Relaxation, bound: float, best: float, steps: Sequence[float]
) -> tuple[float, Routes | None]:
    """Returns how far from the bound routes are few, and these."""
    for step in steps:
        value = bound + step * (best - bound)
        routes = kept_routes(space.folded, space.goal, root, value, little=LITTLE)
        if routes is not None and len(routes.stage) <= MOST_ROUTES:
            return value, routes
    return bound, None
