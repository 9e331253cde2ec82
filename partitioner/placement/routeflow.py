"""The integer program over routes: how many instances take each, and how many of these take each variant.

It says the same as the one over arcs (``arcflow``) for problems with few routes and many arcs, and is a fraction of its size.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, eye_array

from partitioner.placement.arcflow import Flow, flow_of
from partitioner.placement.balance import Boundaries, boundaries, incidence
from partitioner.placement.capacity import capacity_rows
from partitioner.placement.columns import Column, column
from partitioner.placement.folded import Folded
from partitioner.placement.goal import Goal
from partitioner.placement.highs import MAX_GAP, MAX_NODES, integer_program
from partitioner.placement.order import Detached, waiting_picks
from partitioner.placement.routes import Routes
from partitioner.placement.units import MANY, unit_rows


def solve_routes(
    folded: Folded,
    goal: Goal,
    value: float,
    routes: Routes,
    cuts: list[NDArray[np.float64]],
    exact: NDArray[np.int64],
    gap: float = MAX_GAP,
    *,
    relaxed: bool = True,
    max_nodes: int = MAX_NODES,
) -> Flow:
    """Solves the integer program.

    Args:
        folded: The problem.
        goal: What is minimised.
        value: The most the goal's value may be.
        routes: Routes of placements up to that value.
        cuts: Rows [routes + boundary variables] whose product with the solution must not be negative.
        exact: Hard components whose limits must hold to the last byte, beyond the solver's tolerance.
        gap: Relative gap at which the search may end.
        relaxed: Whether a route costs no more than those it stands for; the bound counts for all of them only then.
        max_nodes: Nodes of the search tree at which the search ends.
    """
    meeting, variants = boundaries(folded), routes.variants
    counts = np.array([float(stage.count) for stage in folded.stages])
    num_routes, num_meeting, num_variants = len(routes.stage), len(meeting.upper), len(variants.slot)
    soft, hard, step = goal.soft, goal.hard, goal.step(value)
    own = routes.relaxed if relaxed else routes.vector
    vectors = np.concatenate([own.T, folded.kinds.vector[variants.kind].T], axis=1)
    sizes, carries, capacity = capacity_rows(vectors[hard], goal.limit[hard], np.isin(hard, exact))
    units, sizes, unit_size = unit_rows(_many(routes, num_routes), vectors[hard], sizes)
    cut = np.reshape(cuts, (len(cuts), num_routes + num_meeting))
    both = (slice(None, num_routes), slice(num_routes, None))
    chosen = incidence(variants.slot, np.arange(num_variants), (variants.num_slots, num_variants))
    used = np.flatnonzero(routes.slots.any(axis=1))
    here = incidence(routes.stage, np.arange(num_routes), (len(counts), num_routes))
    parts = [[rows[:, part] for part in both] for rows in (vectors[soft] / step, sizes, units)]
    rows = [
        (
            [parts[0][0], None, parts[0][1], None, None, -goal.members(soft)],
            -np.inf,
            goal.limit[soft] / step,
        ),
        ([None] * 5 + [np.ones((1, goal.num_groups))], -np.inf, (1 + 1e-9) * value / step),
        ([parts[1][0], None, parts[1][1], unit_size, carries, None], -np.inf, capacity),
        ([parts[2][0], None, parts[2][1], -eye_array(len(hard), format="csr"), None, None], 0.0, 0.0),
        ([csr_array(routes.slots[used]), None, -chosen[used], None, None, None], 0.0, 0.0),
        ([_leaving(folded, routes, meeting), meeting.balance, None, None, None, None], 0.0, 0.0),
        ([here, None, None, None, None, None], counts, counts),
        ([cut[:, :num_routes], cut[:, num_routes:], None, None, None, None], 0.0, np.inf),
    ]
    rest = len(hard) + carries.shape[1] + goal.num_groups
    num_choices = np.array([float(len(stage.graph.layers)) for stage in folded.stages])
    whole = num_routes + num_meeting + num_variants + rest - goal.num_groups
    is_time = np.repeat([0.0, 1.0], [whole, goal.num_groups])
    lower = np.concatenate([np.zeros(num_routes), meeting.lower, np.zeros(num_variants + rest)])
    upper = np.concatenate(
        [
            counts[routes.stage],
            meeting.upper,
            np.full(num_variants, float((counts * num_choices).max())),
            np.full(rest, np.inf),
        ]
    )
    result = integer_program(
        is_time, 1.0 - is_time, (lower, upper), rows, gap, doubt=False, max_nodes=max_nodes
    )
    return flow_of(result, step, (num_routes, num_meeting, num_variants))


def _many(routes: Routes, first: int) -> list[NDArray[np.int64]]:
    """Returns the columns of the variants of each slot that has many."""
    slot = routes.variants.slot
    numbers, count = np.unique(slot, return_counts=True)
    return [first + np.flatnonzero(slot == number) for number in numbers[count >= MANY]]


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
        apart = _unreached(int(meeting.first_node[position]) + start, begin[numbers], end[numbers])
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


def _unreached(start: int, begin: NDArray[np.int64], end: NDArray[np.int64]) -> set[int]:
    """Returns the nodes at which routes begin that no walk along them from a start comes to."""
    reached = {start}
    while True:
        more = {int(e) for b, e in zip(begin, end, strict=True) if int(b) in reached} - reached
        if not more:
            return {int(b) for b in begin} - reached
        reached |= more


def reach_row(folded: Folded, routes: Routes, detached: Detached) -> NDArray[np.float64]:
    """Returns a row no walk breaks: instances begin at some nodes only if the stage does, or a route leads there."""
    meeting = boundaries(folded)
    stage = folded.stages[detached.stage]
    begin, end = _ends(folded, routes, meeting)
    inside = np.isin(np.arange(meeting.num_nodes), list(detached.vertices))
    row = np.zeros(len(begin) + len(meeting.upper))
    row[: len(begin)] = stage.count * (inside[end] & ~inside[begin])
    row[: len(begin)] -= inside[begin]
    first = len(begin) + int(meeting.first[detached.stage])
    node, num_entries = int(meeting.first_node[detached.stage]), len(stage.graph.entries)
    row[first : first + num_entries] = stage.count * inside[node : node + num_entries]
    return row
