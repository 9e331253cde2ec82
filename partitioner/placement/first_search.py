"""A first placement of a problem with many arcs, among few of many variants, looked for ever farther from the bound."""

from __future__ import annotations

from partitioner.placement.along import FEW_NODES, LARGE, best_along
from partitioner.placement.arcs import Arcs
from partitioner.placement.kept_ways import LITTLE, kept_ways
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.routes import Routes
from partitioner.placement.search_space import Found, Placed, SearchSpace

FIRST_DISTANCES = (2e-4, 1e-3, 3e-3, 8e-3, 3e-2, 0.1, 0.2, 0.4, 1.0)
"""Relative distances from the bound within which placements are looked for among few of many variants."""
FEW_VARIANTS = 150
"""So few variants need no choice among them."""
FEW_ARCS, FEW_INSTANCES = 10_000, 120
"""Problems with at most this many arcs and instances of blocks may begin with the second distance: where there are more, a unit
of one of them is a smaller share of all, and placements are nearer."""
COARSE = 0.02
"""Part of that distance to which it is enough to know the best of them."""


def first_placement(space: SearchSpace, root: Relaxation, known: Placed | None, limit: float) -> Found:
    """Returns a placement among few of many variants near the bound and not above a limit, about the best of these.

    It has not finished where all variants were few, and the search tree among them came to its limit.
    """
    best, num_arcs, lower, finished = known, 0, root.bound, True
    second = _few_routes(space, root, _value(root, FIRST_DISTANCES[1], known, limit))
    passed_over = 0
    for distance in FIRST_DISTANCES if second is None else FIRST_DISTANCES[1:]:
        if passed_over:
            passed_over -= 1
            continue
        value = _value(root, distance, best, limit)
        if second is not None and distance == FIRST_DISTANCES[1]:
            arcs = second
        else:
            arcs = kept_ways(space, [root], value, little=LITTLE)
        whole = len(arcs.variants.slot) <= FEW_VARIANTS
        if not whole:
            arcs = kept_ways(space, [root], value, thin=True, little=LITTLE)
        if isinstance(arcs, Arcs) and arcs.size > LARGE / 3:
            break
        gap = 0.5 * space.gap if whole else max(0.2 * space.gap, COARSE * distance)
        found = best_along(space, arcs, root.box, value, best, gap, FEW_NODES)
        best, num_arcs = found.placed, max(num_arcs, found.num_arcs)
        if found.placed is None and not found.finished and arcs.size > LARGE / 4:
            passed_over = 2
        if whole:
            lower, finished = max(lower, min(value, found.bound)), found.finished
        if value >= limit or (best is not None and best.value <= root.bound * (1 + distance)):
            break
    return Found(best, lower, num_arcs, finished)


def _value(root: Relaxation, distance: float, best: Placed | None, limit: float) -> float:
    """Returns what placements at a relative distance from the bound are worth at most, and what is of interest."""
    return min(root.bound * (1 + distance), limit if best is None else best.value)


def _few_routes(space: SearchSpace, root: Relaxation, value: float) -> Routes | None:
    """Returns the routes up to a value of a problem with few arcs and instances, or None where routes or variants are many."""
    if space.folded.num_arcs > FEW_ARCS or space.folded.num_instances > FEW_INSTANCES:
        return None
    ways = kept_ways(space, [root], value, little=LITTLE)
    return ways if isinstance(ways, Routes) and len(ways.variants.slot) <= FEW_VARIANTS else None
