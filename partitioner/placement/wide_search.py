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
from partitioner.placement.priced_search import TURNS, PricedSearch, Turns
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


class DemandSearch:
    """A search that makes columns as they are asked for (see ``priced_search``); it may be left and gone on with.

    Args:
        space: The problem.
        root: The solved relaxation.
        pool: Its columns.
        known: A placement that keeps the hard limits, if one is known.
        limit: What the goal's value may be at most.
    """

    def __init__(
        self, space: SearchSpace, root: Relaxation, pool: ColumnPool, known: Placed | None, limit: float
    ) -> None:
        self._space, self._known = space, known
        limit = min(limit, space.goal.value(space.folded.most), np.inf if known is None else known.value)
        self._best = Incumbent(
            space.folded,
            space.goal,
            root,
            list(pool),
            limit,
            None if known is None or known.value > limit else list(known.stages),
            NEARLY,
            self._worth,
            functools.partial(any_along_routes, space),
        )
        self._search = PricedSearch(space.folded, space.goal, space.sums, pool, self._best)

    def found(
        self,
        turns: Turns = TURNS,
        *,
        known: Placed | None = None,
        briefly: bool = False,
        closely: bool = True,
    ) -> Found:
        """Returns what it finds, going on from what it has found before.

        Args:
            turns: Which trees are grown, and how far.
            known: A better placement that was found meanwhile, if any.
            briefly: Whether trees have few nodes.
            closely: Whether placements that are a little better are looked for, too.
        """
        if known is not None and known.value < self._best.value:
            self._known = known
            self._best.take(list(known.stages), known.value)
        self._best.closely = closely
        found = self._search.search(turns, briefly=briefly)
        known = self._known
        if found.stages is not None and (known is None or found.stages != list(known.stages)):
            placed = self._space.place(found.stages)
            self._known = known = self._space.polished(placed, found.stages)
        return Found(known, found.bound, found.num_columns, found.bound >= self._best.value)

    def _worth(self, stages: list[Counter[Column]]) -> float:
        placed = self._space.place(stages)
        return placed.value if self._space.goal.holds(placed.total) else np.inf
