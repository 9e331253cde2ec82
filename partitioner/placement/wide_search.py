"""The search of a problem with too many routes to list all that may be as good as the best placement known."""

from __future__ import annotations

import functools
from collections import Counter

import numpy as np

from partitioner.placement.along import LARGE, any_along_routes
from partitioner.placement.arcs import Arcs
from partitioner.placement.columns import Column, ColumnPool
from partitioner.placement.incumbent import Incumbent
from partitioner.placement.kept_ways import LITTLE, kept_ways
from partitioner.placement.priced_search import PricedSearch
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.search_space import Found, Placed, SearchSpace

SHORT = 1e-2
"""A relative distance from the bound within which the best placement known, or a limit, is looked up to at once."""
NEARLY = 1e-4
"""Relative gap at which the search ends."""


def is_wide(space: SearchSpace, root: Relaxation, known: Placed | None, limit: float) -> bool:
    """Tells whether there are too many routes to search all that may be as good as the best placement known."""
    value = min(limit, root.bound * (1 + SHORT) if known is None else known.value)
    arcs = kept_ways(space, [root], value, little=LITTLE)
    return isinstance(arcs, Arcs) and arcs.size > LARGE / 2


def placement_on_demand(
    space: SearchSpace,
    root: Relaxation,
    pool: ColumnPool,
    known: Placed | None,
    limit: float,
    *,
    briefly: bool = False,
) -> Found:
    """Returns the best placement of a search that makes columns as they are asked for (see ``priced_search``)."""
    limit = min(limit, space.goal.value(space.folded.most), np.inf if known is None else known.value)

    def worth(stages: list[Counter[Column]]) -> float:
        placed = space.place(stages)
        return placed.value if space.goal.holds(placed.total) else np.inf

    best = Incumbent(
        space.folded,
        space.goal,
        root,
        list(pool),
        limit,
        None if known is None or known.value > limit else list(known.stages),
        NEARLY,
        worth,
        functools.partial(any_along_routes, space),
    )
    search = PricedSearch(space.folded, space.goal, space.sums, pool, best)
    found = search.search(briefly=briefly)
    if found.stages is not None and (known is None or found.stages != list(known.stages)):
        placed = space.place(found.stages)
        known = space.polished(placed, found.stages)
    return Found(known, found.bound, found.num_columns, found.bound >= limit)
