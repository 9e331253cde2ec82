"""The integer optimum: the best placement near the bound, looked for ever farther from it until it is proven the best."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.arcflow import solve_flow
from partitioner.placement.arcs import Arcs, kept_arcs
from partitioner.placement.balance import boundaries
from partitioner.placement.bounded_simplex import Floats
from partitioner.placement.branching import open_boxes
from partitioner.placement.columns import Column, ColumnPool
from partitioner.placement.components import breakdown_vector, first_tier_component
from partitioner.placement.evaluate import Chosen, breakdown
from partitioner.placement.folded import Folded
from partitioner.placement.goal import HARD, Goal
from partitioner.placement.highs import MAX_NODES
from partitioner.placement.order import Detached, in_order, stage_columns
from partitioner.placement.polish import polish
from partitioner.placement.priced_search import PricedSearch
from partitioner.placement.problem import Problem
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.routeflow import reach_row, route_columns, solve_routes
from partitioner.placement.routes import Routes, kept_routes
from partitioner.placement.tally import Box

FEW_ARCS = 300
"""Problems with at most this many arcs are not branched on beforehand, and are looked through in wider steps."""
FIRST_DISTANCES = (2e-4, 4e-4, 8e-4, 1.5e-3, 3e-3, 8e-3, 3e-2, 0.1, 0.2, 0.4, 1.0)
"""Relative distances from the bound within which placements are looked for among few of many variants."""
FEW_VARIANTS = 150
"""So few variants need no choice among them."""
COARSE = 0.02
"""Part of that distance to which it is enough to know the best of them."""
FIRST_DISTANCE = 1e-3
"""Relative distance from the bound within which placements are looked for first."""
SHORT = 1e-2
"""A relative distance from the bound within which the best placement known, or a limit, is looked up to at once."""
MOST_ARCS = 0.9
"""With more than this share of the arcs there is nothing to gain from a distance, so all of them are tried."""
CLOSE = 1e-10
"""Relative distance at which objective and bound are taken for the same number."""
ENOUGH = 5e-5
"""Relative gap at which the search for a placement of a problem with many arcs ends."""
MANY_ARCS = 600
"""Problems with more arcs are searched up to the gap ``ENOUGH``, and first among few of many variants."""
FEW_NODES, MORE_NODES = 30, 200
"""Nodes of the search trees of problems with many arcs: at first, and to prove what was found."""
LITTLE = 2e-5
"""Share of the objective and of capacities in which routes may differ for one to stand for the other, at first."""
FEW_ROUTES = 160
"""More routes make a program that is harder than the one over their arcs."""
LARGE = 2000
"""Arcs and variants of the programs that these are meant for; smaller ones have more, up to ``MOST_NODES`` times as many."""
MOST_NODES = 10
NEARLY, NEARLY_OF_LARGE = 1e-4, 5e-4
"""Relative gaps at which a tree that came to its limit is not followed by a larger one: of small and of large programs."""
WIDE_GAP = 2e-3
"""Relative gap up to which a search with columns made on demand is not followed by one over arcs."""
MAX_REPAIRS = 50
"""How often an integer program is solved again because its solution is no placement within the limits."""
FEW_REPAIRS = 5
"""Likewise where it is one of several that look for a placement."""


@dataclass(frozen=True)
class Placed:
    """Holds a placement in the form the search compares.

    Attributes:
        chosen: The variants.
        total: [D] its cost vector, summed by ``evaluate``.
        value: The goal's value.
    """

    chosen: Chosen
    total: NDArray[np.float64]
    value: float


@dataclass(frozen=True)
class Found:
    """Holds the outcome of a search.

    Attributes:
        placed: The best placement, or None where none keeps the hard limits.
        bound: Lower bound on the goal's value; infinite where nothing keeps the hard limits.
        num_arcs: How many arcs of the blocks' graphs the largest integer program chose from.
        finished: Whether the integer programs came to their end; if not, there may be a placement where none was found.
    """

    placed: Placed | None
    bound: float
    num_arcs: int
    finished: bool


@dataclass(frozen=True)
class Search:
    """Holds what stays the same in a search.

    Attributes:
        problem: The problem.
        folded: The same with repeated blocks kept once.
        goal: What is minimised.
        unit: The size of the objective, roughly.
    """

    problem: Problem
    folded: Folded
    goal: Goal
    unit: float

    @property
    def gap(self) -> float:
        """Returns the relative gap at which the search may end."""
        return ENOUGH if self.folded.num_arcs > MANY_ARCS else CLOSE

    def place(self, stages: list[Counter[Column]]) -> Placed:
        """Returns the placement that is made of some columns."""
        last = len(self.problem.phases) - 1
        streams = [
            len(self.problem.phases) + i
            for i, (_, phase) in enumerate(self.problem.resources)
            if phase == last
        ]
        ordered = in_order(self.folded, stages, first_tier_component(self.problem), last, streams)
        chosen = tuple(tuple(column.picks for column in stage) for stage in ordered)
        total = breakdown_vector(breakdown(self.problem, chosen))
        return Placed(chosen, total, self.goal.value(total))

    def polished(self, placed: Placed, stages: list[Counter[Column]]) -> Placed:
        """Returns a placement no worse than the one of some columns, with ties decided (see ``polish``)."""
        nicer = self.place(polish(self.folded, self.goal, len(self.problem.tiers), stages))
        return nicer if nicer.value <= placed.value and self.goal.holds(nicer.total) else placed

    def run(self, root: Relaxation, pool: ColumnPool, known: Placed | None, limit: float = np.inf) -> Found:
        """Returns the best placement, or none where all are above a limit.

        Args:
            root: The solved relaxation.
            pool: Its columns.
            known: A placement that keeps the hard limits, if one is known.
            limit: What the goal's value may be at most.
        """
        few = self.folded.num_arcs <= FEW_ARCS
        least = 1e-3 * self.unit
        many, little, proven_before = self.folded.num_arcs > MANY_ARCS, LITTLE, 0.0
        if many and min(limit, np.inf if known is None else known.value) > root.bound * (1 + SHORT / 5):
            first = self._first(root, known, limit)
            near = first.placed is not None and first.bound >= first.placed.value * (1 - self.gap)
            nearly = first.placed is not None and first.bound >= first.placed.value * (
                1 - (NEARLY if first.num_arcs <= LARGE / 2 else NEARLY_OF_LARGE)
            )
            if near or (nearly and not first.finished):
                return first
            known = first.placed
            if self._is_wide(root, known, limit):
                priced = self._priced(root, pool, known, limit)
                if priced.finished or self._gap_of(priced) <= WIDE_GAP:
                    return priced
                known, proven_before = priced.placed, priced.bound
            little = LITTLE if first.placed is not None and not first.finished else 0.0
        boxes = (
            [root] if few or many else open_boxes(self.folded, self.goal, max(root.bound, least), pool, root)
        )
        lower = max(0.0, root.bound, boxes[0].bound, proven_before)
        distance = max(lower, least) * (1.0 if few else FIRST_DISTANCE)
        worst = min(limit, self.goal.value(self.folded.most))
        best, num_arcs = known, 0
        if many and min(worst, np.inf if best is None else best.value) <= lower * (1 + SHORT):
            distance = SHORT * lower
        while True:
            widest = worst if best is None else min(worst, best.value)
            value = min(widest, lower + distance)
            near, arcs = self._near(boxes, value, little)
            if arcs.size > MOST_ARCS * self.folded.num_arcs:
                value = widest
                near, arcs = self._near(boxes, value, little)
            box = functools.reduce(Box.hull, (relaxation.box for relaxation in near))
            found = self._along(arcs, box, value, best)
            best, num_arcs = found.placed, max(num_arcs, found.num_arcs)
            bound = min(value, max(found.bound, lower))
            proven = best is not None and bound >= best.value * (1 - self.gap)
            precise = best is None or best.value > 0.5 * widest
            if proven or (value == widest and precise):
                return Found(best, bound, num_arcs, found.finished)
            distance *= 8

    def _first(self, root: Relaxation, known: Placed | None, limit: float) -> Found:
        """Returns a placement among few of many variants near the bound and not above a limit, about the best of these.

        It has not finished where all variants were few, and the search tree among them came to its limit.
        """
        best, num_arcs, lower, finished = known, 0, root.bound, True
        passed_over = 0
        for distance in FIRST_DISTANCES:
            if passed_over:
                passed_over -= 1
                continue
            value = min(root.bound * (1 + distance), limit if best is None else best.value)
            arcs = self._kept([root], value, little=LITTLE)
            whole = len(arcs.variants.slot) <= FEW_VARIANTS
            if not whole:
                arcs = self._kept([root], value, thin=True, little=LITTLE)
            if isinstance(arcs, Arcs) and arcs.size > LARGE / 3:
                break
            gap = 0.2 * self.gap if whole else max(0.2 * self.gap, COARSE * distance)
            found = self._along(arcs, root.box, value, best, gap, FEW_NODES)
            best, num_arcs = found.placed, max(num_arcs, found.num_arcs)
            if found.placed is None and not found.finished and arcs.size > LARGE / 4:
                passed_over = 2
            if whole:
                lower, finished = max(lower, min(value, found.bound)), found.finished
            if value >= limit or (best is not None and best.value <= root.bound * (1 + distance)):
                break
        return Found(best, lower, num_arcs, finished)

    def _is_wide(self, root: Relaxation, known: Placed | None, limit: float) -> bool:
        """Tells whether there are too many routes to search all that may be as good as the best placement known."""
        value = min(limit, root.bound * (1 + SHORT) if known is None else known.value)
        arcs = self._kept([root], value, little=LITTLE)
        return isinstance(arcs, Arcs) and arcs.size > LARGE / 2

    @staticmethod
    def _gap_of(found: Found) -> float:
        return np.inf if found.placed is None else 1.0 - found.bound / found.placed.value

    def _priced(self, root: Relaxation, pool: ColumnPool, known: Placed | None, limit: float) -> Found:
        """Returns the best placement of a search that makes columns as they are asked for (see ``priced_search``)."""
        limit = min(limit, self.goal.value(self.folded.most), np.inf if known is None else known.value)

        def worth(stages: list[Counter[Column]]) -> float:
            placed = self.place(stages)
            return placed.value if self.goal.holds(placed.total) else np.inf

        search = PricedSearch(self.folded, self.goal, root, pool, limit, NEARLY, worth, self._one_along)
        found = search.search()
        if found.stages is not None:
            placed = self.place(found.stages)
            known = self.polished(placed, found.stages)
        return Found(known, found.bound, found.num_columns, found.bound >= limit)

    def _one_along(
        self, routes: Routes, value: float, nodes: int, box: tuple[Floats, Floats] | None
    ) -> list[Counter[Column]] | None:
        """Returns a placement along some routes, if one is found."""
        cuts: list[NDArray[np.float64]] = []
        none = np.zeros(0, np.int64)
        for _ in range(FEW_REPAIRS):
            flow = solve_routes(
                self.folded,
                self.goal,
                value,
                routes,
                cuts,
                none,
                0.2 * self.gap,
                relaxed=False,
                max_nodes=nodes,
                box=box,
            )
            if flow.solution is None:
                return None
            stages = route_columns(self.folded, routes, *flow.solution)
            if not isinstance(stages, Detached):
                return stages
            cuts.append(reach_row(self.folded, routes, stages))
        return None

    def _near(
        self, boxes: list[Relaxation], value: float, little: float
    ) -> tuple[list[Relaxation], Arcs | Routes]:
        """Returns the boxes that may hold placements up to a value, and the arcs of these placements."""
        near = [relaxation for relaxation in boxes if relaxation.bound <= value] or boxes[:1]
        return near, self._kept(near, value, little=little)

    def _kept(
        self, boxes: list[Relaxation], value: float, *, thin: bool = False, little: float = 0.0
    ) -> Arcs | Routes:
        """Returns what placements up to a value may take: routes where arcs are many and routes few, else arcs."""
        if len(boxes) == 1 and self.folded.num_arcs > MANY_ARCS:
            routes = kept_routes(self.folded, self.goal, boxes[0], value, thin=thin, little=little)
            if routes is not None and len(routes.stage) <= FEW_ROUTES:
                return routes
            if routes is not None:
                drift = routes.drift(self.folded)
                return kept_arcs(
                    self.folded, self.goal, boxes, value, thin=thin, along=routes.arcs, drift=drift
                )
        return kept_arcs(self.folded, self.goal, boxes, value, thin=thin)

    def _along(
        self,
        arcs: Arcs | Routes,
        box: Box,
        value: float,
        known: Placed | None,
        gap: float | None = None,
        nodes: int = MORE_NODES,
    ) -> Found:
        """Returns the best placement along some arcs in a box, and a bound for these.

        Args:
            arcs: The arcs.
            box: The box.
            value: What the placement's value may be at most; the integer program is precise to a small part of it.
            known: A placement that keeps the hard limits, if one is known.
            gap: Relative gap that is enough; by default a part of the search's.
            nodes: Nodes of the search tree of a problem with many arcs.
        """
        if isinstance(arcs, Routes):
            return self._along_routes(arcs, value, known, gap or 0.2 * self.gap, MOST_NODES * nodes)
        goal = self.goal
        exact = np.zeros(0, np.int64)
        cuts: list[NDArray[np.float64]] = []
        num_arcs, bound = arcs.size, 0.0
        many = self.folded.num_arcs > MANY_ARCS
        easier = bool(arcs.drift.any())
        nodes = int(nodes * min(MOST_NODES, max(1.0, LARGE / max(1, arcs.size))))
        finished = True
        for _ in range(MAX_REPAIRS):
            flow = solve_flow(
                self.folded,
                goal.eased(arcs.drift) if easier else goal,
                value,
                arcs,
                box,
                cuts,
                exact,
                gap or 0.2 * self.gap,
                doubt=not many,
                max_nodes=nodes if many else MAX_NODES,
            )
            if easier or not arcs.drift.any():
                bound, finished = flow.bound - goal.worth(arcs.drift), flow.finished
            if flow.solution is None:
                return Found(known, bound, num_arcs, finished and (easier or not arcs.drift.any()))
            stages = stage_columns(self.folded, arcs, *flow.solution)
            if isinstance(stages, Detached):
                cuts.append(_reach(self.folded, arcs, stages))
                continue
            placed = self.place(stages)
            if goal.holds(placed.total):
                if known is None or placed.value <= known.value:
                    known = self.polished(placed, stages)
                return Found(known, bound, num_arcs, finished)
            if easier:
                easier = False
                continue
            over = np.flatnonzero((goal.group == HARD) & (placed.total > goal.limit))
            if np.isin(over, exact).all():
                break
            exact = np.union1d(exact, over)
        return Found(known, bound, num_arcs, False)

    def _along_routes(
        self, routes: Routes, value: float, known: Placed | None, gap: float, nodes: int
    ) -> Found:
        """Returns the best placement along some routes, and a bound for these and those they stand for."""
        exact = np.zeros(0, np.int64)
        cuts: list[NDArray[np.float64]] = []
        relaxed, bound, finished = True, 0.0, False
        for _ in range(MAX_REPAIRS):
            flow = solve_routes(
                self.folded, self.goal, value, routes, cuts, exact, gap, relaxed=relaxed, max_nodes=nodes
            )
            if relaxed:
                bound, finished = flow.bound, flow.finished
            if flow.solution is None:
                return Found(known, bound, routes.size, finished and relaxed)
            stages = route_columns(self.folded, routes, *flow.solution)
            if isinstance(stages, Detached):
                cuts.append(reach_row(self.folded, routes, stages))
                continue
            placed = self.place(stages)
            if self.goal.holds(placed.total) and (placed.value <= value * (1 + 1e-9) or not relaxed):
                if known is None or placed.value <= known.value:
                    known = self.polished(placed, stages)
                return Found(known, bound, routes.size, finished)
            over = np.flatnonzero((self.goal.group == HARD) & (placed.total > self.goal.limit))
            if not relaxed and np.isin(over, exact).all():
                break
            if not relaxed:
                exact = np.union1d(exact, over)
            relaxed = False
        return Found(known, bound, routes.size, False)


def _reach(folded: Folded, arcs: Arcs, detached: Detached) -> NDArray[np.float64]:
    """Returns a row no walk breaks: instances begin at some vertices only if the stage does, or an arc leads there."""
    meeting = boundaries(folded)
    stage, node = folded.stages[detached.stage], int(meeting.first_node[detached.stage])
    inside = np.isin(np.arange(arcs.num_vertices), list(detached.vertices))
    row = np.zeros(len(arcs.source) + len(meeting.upper))
    row[: len(arcs.source)] = stage.count * (inside[arcs.target] & ~inside[arcs.source])
    row[: len(arcs.source)] -= inside[arcs.source] & arcs.begins
    num_entries = len(stage.graph.entries)
    first = int(meeting.first[detached.stage])
    row[first + len(arcs.source) : first + len(arcs.source) + num_entries] = (
        stage.count * inside[node : node + num_entries]
    )
    return row
