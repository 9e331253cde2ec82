"""Placements along some arcs or routes: an integer program, solved again while its solution is none within the limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.arcflow import solve_flow
from partitioner.placement.arcs import Arcs
from partitioner.placement.balance import boundaries
from partitioner.placement.columns import Column
from partitioner.placement.count_search import Counted, best_counts
from partitioner.placement.count_sums import CountSums
from partitioner.placement.folded import Folded
from partitioner.placement.general_counts import general_counts
from partitioner.placement.goal import HARD
from partitioner.placement.highs import MAX_NODES
from partitioner.placement.order import Detached, stage_columns
from partitioner.placement.routeflow import detached_row, route_columns, solve_routes
from partitioner.placement.routes import Routes
from partitioner.placement.search_space import Found, Placed, SearchSpace
from partitioner.placement.tally import Box

FEW_NODES, MORE_NODES = 30, 200
"""Nodes of the search trees of problems with many arcs: at first, and to prove what was found."""
LARGE = 2000
"""Arcs and variants of the programs that these are meant for; smaller ones have more, up to ``MOST_NODES`` times as many."""
MOST_NODES = 10
PROOF = 60
"""Programs over routes have so many times as many to prove what was found: their nodes take under a millisecond."""
MAX_REPAIRS = 50
"""How often an integer program is solved again because its solution is no placement within the limits."""
MANY_ARCS_REPAIRS = 10
"""Likewise for problems with many arcs, whose programs take half a second each."""
FEW_REPAIRS, SOON = 5, 600
"""Likewise, and nodes, where it is one of several that look for a placement."""


def best_along(
    space: SearchSpace,
    arcs: Arcs | Routes,
    box: Box,
    value: float,
    known: Placed | None,
    gap: float | None = None,
    nodes: int = MORE_NODES,
) -> Found:
    """Returns the best placement along some arcs in a box, and a bound for these.

    Args:
        space: The problem.
        arcs: The arcs.
        box: The box.
        value: What the placement's value may be at most; the integer program is precise to a small part of it.
        known: A placement that keeps the hard limits, if one is known.
        gap: Relative gap that is enough; by default a part of the search's.
        nodes: Nodes of the search tree of a problem with many arcs.
    """
    gap = gap or 0.2 * space.gap
    if isinstance(arcs, Routes):
        times = PROOF if nodes == MORE_NODES else MOST_NODES
        return _along_routes(space, arcs, value, known, gap, times * nodes)
    nodes = int(nodes * min(MOST_NODES, max(1.0, LARGE / max(1, arcs.size))))
    return _along_arcs(space, arcs, box, value, known, gap, nodes)


def _along_arcs(
    space: SearchSpace,
    arcs: Arcs,
    box: Box,
    value: float,
    known: Placed | None,
    gap: float,
    nodes: int,
    sums: CountSums | None = None,
) -> Found:
    """Returns the best placement along some arcs in a box, and a bound for these."""
    goal = space.goal
    exact = np.zeros(0, np.int64)
    cuts: list[NDArray[np.float64]] = []
    num_arcs, bound = arcs.size, 0.0
    many = space.is_large
    easier = bool(arcs.drift.any())
    finished = True
    for _ in range(MANY_ARCS_REPAIRS if many else MAX_REPAIRS):
        flow = solve_flow(
            space.folded,
            goal.eased(arcs.drift) if easier else goal,
            value,
            arcs,
            box,
            cuts,
            exact,
            gap,
            doubt=not many,
            max_nodes=nodes if many else MAX_NODES,
            sums=sums,
        )
        if easier or not arcs.drift.any():
            bound, finished = flow.bound - goal.worth(arcs.drift), flow.finished
        if flow.solution is None:
            return Found(known, bound, num_arcs, finished and (easier or not arcs.drift.any()))
        stages = stage_columns(space.folded, arcs, *flow.solution)
        if isinstance(stages, Detached):
            cuts.append(_reach(space.folded, arcs, stages))
            continue
        placed = space.place(stages)
        if goal.holds(placed.total):
            if known is None or placed.value <= known.value:
                known = space.polished(placed, stages)
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
    space: SearchSpace,
    routes: Routes,
    value: float,
    known: Placed | None,
    gap: float,
    nodes: int,
    search: Callable[..., Counted] = best_counts,
    repairs: int = MAX_REPAIRS,
) -> Found:
    """Returns the best placement along some routes, and a bound for these and those they stand for."""
    exact = np.zeros(0, np.int64)
    cuts: list[NDArray[np.float64]] = []
    ask = partial(solve_routes, space.folded, space.goal, value, routes, space.sums, search=search)
    relaxed, bound, finished = True, 0.0, False
    for _ in range(repairs):
        flow = ask(cuts, exact, gap, relaxed=relaxed, max_nodes=nodes)
        if relaxed:
            bound, finished = flow.bound, flow.finished
        if flow.solution is None:
            return Found(known, bound, routes.size, finished and relaxed)
        stages = route_columns(space.folded, routes, *flow.solution)
        if isinstance(stages, Detached):
            cuts.append(detached_row(space.folded, routes, stages))
            continue
        placed = space.place(stages)
        if space.goal.holds(placed.total) and (placed.value <= value * (1 + 1e-9) or not relaxed):
            if known is None or placed.value <= known.value:
                known = space.polished(placed, stages)
            return Found(known, bound, routes.size, finished)
        over = np.flatnonzero((space.goal.group == HARD) & (placed.total > space.goal.limit))
        if not relaxed and np.isin(over, exact).all():
            break
        if not relaxed:
            exact = np.union1d(exact, over)
        relaxed = False
    return Found(known, bound, routes.size, False)


def settled_along(
    space: SearchSpace, ways: Arcs | Routes, box: Box, value: float, known: Placed | None, nodes: int
) -> Found:
    """Returns the best placement along some arcs or routes by a general solver, and a bound for these.

    Args:
        space: The problem.
        ways: The arcs or routes of placements up to a value.
        box: How often kinds may be taken.
        value: The value.
        known: A placement that keeps the hard limits, if one is known.
        nodes: Nodes of the search tree.
    """
    if isinstance(ways, Arcs):
        return _along_arcs(space, ways, box, value, known, 0.2 * space.gap, nodes, space.sums)
    search = partial(general_counts, summed=True)
    return _along_routes(space, ways, value, known, 0.2 * space.gap, nodes, search, FEW_REPAIRS)


def any_along_routes(
    space: SearchSpace, routes: Routes, value: float, *, general: bool = False
) -> list[Counter[Column]] | None:
    """Returns a placement along some routes up to a value, if one is found soon; by a general solver if asked for."""
    cuts: list[NDArray[np.float64]] = []
    search = general_counts if general else best_counts
    ask = partial(solve_routes, space.folded, space.goal, value, routes, space.sums, search=search)
    none = np.zeros(0, np.int64)
    for _ in range(FEW_REPAIRS):
        flow = ask(cuts, none, 0.2 * space.gap, relaxed=False, max_nodes=SOON)
        if flow.solution is None:
            return None
        stages = route_columns(space.folded, routes, *flow.solution)
        if not isinstance(stages, Detached):
            return stages
        cuts.append(detached_row(space.folded, routes, stages))
    return None


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
