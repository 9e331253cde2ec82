"""Which ways through the blocks a search chooses from: routes where these are few, else arcs."""

from __future__ import annotations

from partitioner.placement.arcs import Arcs, kept_arcs
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.routes import Routes, kept_routes
from partitioner.placement.search_space import SearchSpace

FEW_ROUTES = 160
"""More routes make a program that is harder than the one over their arcs."""
LITTLE = 2e-5
"""Share of the objective and of capacities in which routes may differ for one to stand for the other, at first."""


def kept_ways(
    space: SearchSpace, boxes: list[Relaxation], value: float, *, thin: bool = False, little: float = 0.0
) -> Arcs | Routes:
    """Returns what placements up to a value may take: routes where arcs are many and routes few, else arcs.

    Args:
        space: The problem.
        boxes: Solved relaxations, in boxes that together hold these placements.
        value: The value.
        thin: Keep few of many variants in a slot (see ``thinned``).
        little: Share of the value, and of capacities, in which routes may differ for one to stand for the other.
    """
    if len(boxes) == 1 and space.is_large:
        routes = kept_routes(space.folded, space.goal, boxes[0], value, thin=thin, little=little)
        if routes is not None and len(routes.stage) <= FEW_ROUTES:
            return routes
        if routes is not None:
            drift = routes.drift(space.folded)
            return kept_arcs(
                space.folded, space.goal, boxes, value, thin=thin, along=routes.arcs, drift=drift
            )
    return kept_arcs(space.folded, space.goal, boxes, value, thin=thin)
