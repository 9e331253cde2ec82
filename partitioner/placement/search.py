"""The integer optimum: the best placement near the bound, looked for ever farther from it until it is proven the best."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from partitioner.placement.along import LARGE, best_along
from partitioner.placement.arcs import Arcs
from partitioner.placement.branching import open_boxes
from partitioner.placement.columns import ColumnPool
from partitioner.placement.first_search import first_placement
from partitioner.placement.kept_ways import LITTLE, kept_ways
from partitioner.placement.priced_search import FIRST_TURNS
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.rounding import rounded
from partitioner.placement.routes import Routes
from partitioner.placement.search_space import Found, Placed, SearchSpace
from partitioner.placement.settle import BEFOREHAND, IF_FEW, SOON, is_near, settled
from partitioner.placement.tally import Box
from partitioner.placement.wide_search import NEARLY, SHORT, DemandSearch, is_wide

FEW_ARCS = 300
"""Problems with at most this many arcs are not branched on beforehand, and are looked through in wider steps."""
FIRST_DISTANCE = 1e-3
"""Relative distance from the bound within which placements are looked for first."""
MOST_ARCS = 0.9
"""With more than this share of the arcs there is nothing to gain from a distance, so all of them are tried."""
NEARLY_OF_LARGE = 5e-4
"""Relative gap that ends it for large programs whose tree came to its limit; for others it is ``NEARLY``."""
WIDE_GAP = 1e-2
"""Relative gap up to which a search with columns made on demand is not followed by one over ever more arcs."""


def best_placement(
    space: SearchSpace,
    root: Relaxation,
    pool: ColumnPool,
    known: Placed | None,
    limit: float = np.inf,
    *,
    briefly: bool = False,
) -> Found:
    """Returns the best placement, or none where all are above a limit; what the search leaves open is settled by another.

    A brief search of a problem with many arcs ends with the first placement, if it finds one.
    """
    if briefly and space.is_large:
        first = first_placement(space, root, known, limit)
        if first.placed is not None:
            return first
    found = _searched(space, root, pool, known, limit)
    return settled(space, root, found, limit) if space.is_large else found


def _searched(
    space: SearchSpace, root: Relaxation, pool: ColumnPool, known: Placed | None, limit: float
) -> Found:
    """Returns the best placement that a search finds, or none where all are above a limit.

    Args:
        space: The problem.
        root: The solved relaxation.
        pool: Its columns.
        known: A placement that keeps the hard limits, if one is known.
        limit: What the goal's value may be at most.
    """
    few, many = space.folded.num_arcs <= FEW_ARCS, space.is_large
    least = 1e-3 * space.unit
    little, proven_before, on_demand = LITTLE, 0.0, False
    if many and min(limit, np.inf if known is None else known.value) > root.bound * (1 + SHORT / 5):
        first = first_placement(space, root, known, limit)
        nearly = first.within(NEARLY if first.num_arcs <= LARGE / 2 else NEARLY_OF_LARGE)
        if first.within(space.gap) or (nearly and not first.finished):
            return first
        first = settled(space, root, first, limit, SOON)
        if first.within(NEARLY):
            return first
        known = first.placed
        if is_wide(space, root, known, limit):
            better = rounded(space, root, pool, known)
            known = known if better is None or better.value > limit else better
            priced = _on_demand(space, root, pool, replace(first, placed=known), limit)
            on_demand = True
            if priced.finished or priced.within(WIDE_GAP) or priced.is_enough(NEARLY, limit):
                return priced
            known, proven_before = priced.placed, priced.bound
        little = LITTLE if first.placed is not None and not first.finished else 0.0
    boxes = (
        [root] if few or many else open_boxes(space.folded, space.goal, max(root.bound, least), pool, root)
    )
    lower = max(0.0, root.bound, boxes[0].bound, proven_before)
    distance = max(lower, least) * (1.0 if few else FIRST_DISTANCE)
    worst = min(limit, space.goal.value(space.folded.most))
    if many and min(worst, np.inf if known is None else known.value) <= lower * (1 + SHORT):
        distance = SHORT * lower
    best, num_arcs = known, 0
    while True:
        widest = worst if best is None else min(worst, best.value)
        value = min(widest, lower + distance)
        near, ways = _near(space, boxes, value, little)
        if ways.size > MOST_ARCS * space.folded.num_arcs:
            value = widest
            near, ways = _near(space, boxes, value, little)
        box = functools.reduce(Box.hull, (relaxation.box for relaxation in near))
        found = best_along(space, ways, box, value, best)
        best, num_arcs = found.placed, max(num_arcs, found.num_arcs)
        found = replace(found, bound=min(value, max(found.bound, lower)), num_arcs=num_arcs)
        precise = best is None or best.value > 0.5 * widest
        if found.within(space.gap) or (value == widest and precise):
            is_open = many and not on_demand and not found.finished and not found.within(NEARLY)
            return _on_demand(space, root, pool, found, limit) if is_open else found
        distance *= 8


def _on_demand(space: SearchSpace, root: Relaxation, pool: ColumnPool, found: Found, limit: float) -> Found:
    """Returns what a search with columns made on demand makes of an outcome that little effort does not settle.

    What has few routes is settled before. Else the first nodes prove many an outcome, or find a better one; what they leave is
    settled if that takes little, since such a search may come to no end there.
    """
    found = settled(space, root, found, limit, IF_FEW)
    if found.is_enough(NEARLY, limit):
        return found
    search = DemandSearch(space, root, pool, found.placed, limit)
    found = _both(search.found(FIRST_TURNS, closely=False), found)
    if found.is_enough(NEARLY, limit):
        return found
    found = settled(space, root, found, limit, BEFOREHAND)
    if found.is_enough(NEARLY, limit):
        return found
    briefly = is_near(space, root, found, limit)
    return _both(search.found(known=found.placed, briefly=briefly), found)


def _both(last: Found, before: Found) -> Found:
    """Returns the last outcome with what an earlier one proves."""
    return replace(last, bound=max(last.bound, before.bound), num_arcs=max(last.num_arcs, before.num_arcs))


def _near(
    space: SearchSpace, boxes: list[Relaxation], value: float, little: float
) -> tuple[list[Relaxation], Arcs | Routes]:
    """Returns the boxes that may hold placements up to a value, and the ways of these placements."""
    near = [relaxation for relaxation in boxes if relaxation.bound <= value] or boxes[:1]
    return near, kept_ways(space, near, value, little=little)
