"""The integer program over routes: how many instances take each, and how many of these take each variant.

It says the same as the one over arcs (``arcflow``) for problems with few routes and many arcs, and is a fraction of its size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from partitioner.placement.arcflow import Flow
from partitioner.placement.balance import Boundaries, boundaries, incidence
from partitioner.placement.bounded_simplex import FEASIBLE, BoundedProgram
from partitioner.placement.columns import Column, column
from partitioner.placement.count_search import Counted, best_counts
from partitioner.placement.count_sums import CountSums
from partitioner.placement.distinct_rows import first_rows
from partitioner.placement.folded import Folded
from partitioner.placement.goal import SCALE, Goal
from partitioner.placement.highs import MAX_GAP, MAX_NODES
from partitioner.placement.order import Detached, waiting_picks
from partitioner.placement.reach import reach_row, unreached
from partitioner.placement.routes import Routes
from partitioner.placement.unthreaded import product


def solve_routes(
    folded: Folded,
    goal: Goal,
    value: float,
    routes: Routes,
    sums: CountSums,
    cuts: list[NDArray[np.float64]],
    exact: NDArray[np.int64],
    gap: float = MAX_GAP,
    *,
    relaxed: bool = True,
    max_nodes: int = MAX_NODES,
    search: Callable[..., Counted] = best_counts,
) -> Flow:
    """Solves the integer program.

    Args:
        folded: The problem.
        goal: What is minimised.
        value: The most the goal's value may be.
        routes: Routes of placements up to that value.
        sums: Sums of counts that are decided first.
        cuts: Rows [routes + boundary variables] whose product with the solution must not be negative.
        exact: Hard components whose limits must hold to the last byte, beyond the solver's tolerance.
        gap: Relative gap at which the search may end.
        relaxed: Whether a route costs no more than those it stands for; the bound counts for all of them only then.
        max_nodes: Nodes of the search tree at which the search ends.
        search: What searches it: ``best_counts`` or ``general_counts``.
    """
    meeting, variants = boundaries(folded), routes.variants
    counts = np.array([float(stage.count) for stage in folded.stages])
    num_routes, num_meeting, num_variants = len(routes.stage), len(meeting.upper), len(variants.slot)
    soft, hard, step = goal.soft, goal.hard, goal.step(value)
    own = routes.relaxed if relaxed else routes.vector
    vectors = np.zeros((len(goal.group), num_routes + num_meeting + num_variants))
    vectors[:, :num_routes] = own.T
    vectors[:, num_routes + num_meeting :] = folded.kinds.vector[variants.kind].T
    room = np.where(goal.limit > 0, goal.limit, 1.0)[hard] / SCALE
    limit = goal.limit[hard] * np.where(np.isin(hard, exact), 1 - 2 * FEASIBLE, 1.0)
    chosen = incidence(variants.slot, np.arange(num_variants), (variants.num_slots, num_variants)).toarray()
    used = np.flatnonzero(routes.slots.any(axis=1))
    here = incidence(routes.stage, np.arange(num_routes), (len(counts), num_routes)).toarray()
    summed, rank = _sums(folded, routes, sums, num_meeting)
    slots = np.hstack([routes.slots[used], np.zeros((len(used), num_meeting)), -chosen[used]])
    nodes = np.hstack([_leaving(folded, routes, meeting).toarray(), meeting.balance.toarray()])
    rows: list[tuple[NDArray[np.float64], ArrayLike, ArrayLike]] = [
        (vectors[soft] / step, -np.inf, goal.limit[soft] / step),
        (vectors[hard] / room[:, None], -np.inf, limit / room),
        (slots, 0.0, 0.0),
        (nodes, 0.0, 0.0),
        (here, counts, counts),
        (np.reshape(cuts, (len(cuts), num_routes + num_meeting)), 0.0, np.inf),
        (summed, -np.inf, np.inf),
    ]
    size = vectors.shape[1] + goal.num_groups
    matrix = np.concatenate([np.pad(row, ((0, 0), (0, size - row.shape[1]))) for row, _, _ in rows])
    matrix[: len(soft), vectors.shape[1] :] = -goal.members(soft)
    least, most = (
        np.concatenate([np.broadcast_to(row[side], len(row[0])) for row in rows]) for side in (1, 2)
    )
    longest = np.array([float(len(stage.graph.layers)) for stage in folded.stages])
    worth = value / step * (1 + FEASIBLE)
    bounds = (
        np.concatenate(
            [least, np.zeros(num_routes), meeting.lower, np.zeros(num_variants + goal.num_groups)]
        ),
        np.concatenate(
            [
                most,
                counts[routes.stage],
                meeting.upper,
                np.full(num_variants, float((counts * longest).max())),
                np.full(goal.num_groups, worth),
            ]
        ),
    )
    cost = np.repeat([0.0, 1.0], [vectors.shape[1], goal.num_groups])
    ranks = np.full(size + len(matrix), -1)
    ranks[len(matrix) : len(matrix) + vectors.shape[1]] = 0
    ranks[len(matrix) - len(rank) : len(matrix)] = rank
    found = search(BoundedProgram(cost, matrix), *bounds, ranks, gap=gap, cutoff=worth, max_nodes=max_nodes)
    if found.solution is None:
        return Flow(None, found.bound * step, found.finished)
    rounded = np.rint(found.solution[: vectors.shape[1]]).astype(np.int64)
    on_route, starts, on_variant = np.split(rounded, [num_routes, num_routes + num_meeting])
    return Flow((on_route, starts, on_variant), found.bound * step, found.finished)


def _sums(
    folded: Folded, routes: Routes, sums: CountSums, num_meeting: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns what routes and variants add to sums of counts (see ``count_sums``), and the ranks of these."""
    taken = np.zeros((len(folded.kinds.vector), len(routes.stage)))
    for route, (stage, fixed) in enumerate(zip(routes.stage.tolist(), routes.fixed, strict=True)):
        for kinds, (_, only) in zip(folded.kinds.of[stage], fixed, strict=True):
            if only >= 0:
                taken[kinds[only], route] += 1.0
    rows = np.hstack(
        [
            product(sums.weights, taken),
            np.zeros((len(sums.rank), num_meeting)),
            sums.weights[:, routes.variants.kind],
        ]
    )
    telling = np.flatnonzero(rows.any(axis=1))
    kept = telling[first_rows(rows[telling])]
    return rows[kept], sums.rank[kept]


def _leaving(folded: Folded, routes: Routes, meeting: Boundaries) -> csr_array:
    """Returns [nodes R] how many instances on a route begin at a node less those that end there."""
    number, shape = np.arange(len(routes.stage)), (meeting.num_nodes, len(routes.stage))
    begin, end = _ends(folded, routes, meeting)
    return csr_array(incidence(begin, number, shape) - incidence(end, number, shape))


def _ends(folded: Folded, routes: Routes, meeting: Boundaries) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the node at which each route begins, and the one at which it ends."""
    pairs = zip(routes.stage.tolist(), routes.leave.tolist(), strict=True)
    onward = np.array([folded.stages[stage].onward[leave] for stage, leave in pairs], np.int64)
    first = meeting.first_node[routes.stage]
    return first + routes.entry, first + onward


def route_columns(
    folded: Folded,
    routes: Routes,
    on_route: NDArray[np.int64],
    starts: NDArray[np.int64],
    on_variant: NDArray[np.int64],
) -> list[Counter[Column]] | Detached:
    """Returns for each stage its columns and how many instances make use of each, or what no walk can reach."""
    meeting = boundaries(folded)
    begin, end = _ends(folded, routes, meeting)
    waiting = waiting_picks(routes.variants, on_variant)
    stages: list[Counter[Column]] = []
    for position, stage in enumerate(folded.stages):
        numbers = np.flatnonzero((routes.stage == position) & (on_route > 0))
        first = int(meeting.first[position])
        start = int(np.argmax(starts[first : first + len(stage.graph.entries)]))
        apart = unreached(int(meeting.first_node[position]) + start, begin[numbers], end[numbers])
        if apart:
            return Detached(position, frozenset(apart))
        known: dict[tuple[int, tuple[int, ...]], Column] = {}
        counted: Counter[Column] = Counter()
        for number in numbers.tolist():
            entry = int(routes.entry[number])
            for _ in range(int(on_route[number])):
                picks = tuple(
                    only if only >= 0 else waiting[slot].pop() for slot, only in routes.fixed[number]
                )
                if (entry, picks) not in known:
                    known[entry, picks] = column(position, stage.graph, entry, picks)
                counted[known[entry, picks]] += 1
        stages.append(counted)
    return stages


def detached_row(folded: Folded, routes: Routes, detached: Detached) -> NDArray[np.float64]:
    """Returns a row no walk breaks, and which a solution with detached rounds breaks (see ``reach``)."""
    meeting = boundaries(folded)
    begin, end = _ends(folded, routes, meeting)
    return reach_row(folded, meeting, detached.stage, detached.vertices, begin, end)
