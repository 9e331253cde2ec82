"""The integer program: how many instances go along each arc of the blocks' graphs.

Every walk through a graph is a placement of a block and costs add up along it, so whole numbers of instances on arcs, as many
into each state as out of it, are whole placements (flow decomposition): there is no need to list the ways through a block. How
often each kind of variant is taken is a variable of its own, since branching on these few numbers is what proves optimality.

Only arcs that a better placement could make use of are kept: with the prices of a relaxation, the cheapest placement along an
arc must stay below the best known objective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from partitioner.placement.balance import boundaries, incidence
from partitioner.placement.capacity import capacity_rows
from partitioner.placement.folded import Folded
from partitioner.placement.goal import Goal
from partitioner.placement.highs import INFEASIBLE, OPTIMAL, integer_program
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.tally import Box


@dataclass(frozen=True)
class Arcs:
    """Holds arcs of the stages' graphs; a stage's graph is closed by arcs from nodes to states and from states to nodes.

    Attributes:
        stage: Of each arc the stage.
        source: The vertex it comes from, numbered over all stages: first the nodes of all stages, then the states.
        target: The vertex it leads to.
        pick: The variant it stands for, or -1 for arcs from and to nodes.
        kind: The kind of that variant, or -1.
        move: [arcs D] the cost of its moves.
        num_vertices: Number of vertices.
    """

    stage: NDArray[np.int64]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    pick: NDArray[np.int64]
    kind: NDArray[np.int64]
    move: NDArray[np.float64]
    num_vertices: int

    @property
    def begins(self) -> NDArray[np.bool_]:
        """Returns which arcs lead from a node into a block."""
        return (self.pick < 0) & (self.source < self.target)


@dataclass(frozen=True)
class Flow:
    """Holds a solution of the integer program.

    Attributes:
        solution: Instances on each arc, and the boundary variables; None where no solution was found.
        bound: Lower bound on the goal's value over these arcs; infinite where there is no solution up to the value asked for.
        finished: Whether the bound is the optimum.
    """

    solution: tuple[NDArray[np.int64], NDArray[np.int64]] | None
    bound: float
    finished: bool


def kept_arcs(folded: Folded, goal: Goal, relaxations: list[Relaxation], value: float) -> Arcs:
    """Returns the arcs of placements that may be as good as a value: alone, and by some of the relaxations."""
    most = goal.most_on_one(value)
    meeting = boundaries(folded)
    first = int(meeting.first_node[-1]) + folded.stages[-1].num_nodes
    parts: list[tuple[NDArray[np.int64], ...]] = []
    moves: list[NDArray[np.float64]] = []

    def add(
        stage: int, source: NDArray[np.int64], target: NDArray[np.int64], *variant: NDArray[np.int64]
    ) -> None:
        none = np.full(len(source), -1)
        parts.append((np.full(len(source), stage), source, target, *(variant or (none, none))))
        if not variant:
            moves.append(np.zeros((len(source), len(folded.most))))

    for position, stage in enumerate(folded.stages):
        graph, node = stage.graph, int(meeting.first_node[position])
        masks = [_within(relaxation, position, value) for relaxation in relaxations]
        add(position, node + np.arange(len(graph.entries)), first + graph.roots)
        for number, layer in enumerate(graph.layers):
            small = (layer.vector <= most).all(axis=2)
            state, pick = np.nonzero(small & np.any([mask[number] for mask in masks], axis=0))
            kind = folded.kinds.of[position][number][pick]
            following = first + len(layer.target)
            add(position, first + state, following + layer.target[state, pick], pick, kind)
            move = layer.vector[state, pick] - folded.kinds.vector[kind]
            moves.append(np.where(move > 1e-12 * layer.vector[state, pick], move, 0.0))
            first = following
        add(position, first + np.arange(len(graph.leaves)), node + stage.onward[graph.leaves])
        first += len(graph.leaves)
    stages, source, target, pick, kind = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Arcs(stages, source, target, pick, kind, np.concatenate(moves), first)


def _within(relaxation: Relaxation, position: int, value: float) -> list[NDArray[np.bool_]]:
    """Returns for each layer of a stage's graph [S V] whether the cheapest placement along an arc stays within a value."""
    path, around = relaxation.paths[position], relaxation.model.around[position]
    graph = path.graph
    price = relaxation.model.price
    budget = value - relaxation.bound + price + 1e-9 * (abs(value) + abs(price))
    num_entries = len(graph.entries)
    reached = np.full((num_entries, len(path.to_exit[0])), np.inf)
    reached[np.arange(num_entries), graph.roots] = 0.0
    masks: list[NDArray[np.bool_]] = []
    for layer, length, to_exit in zip(graph.layers, path.lengths, path.to_exit[1:], strict=True):
        ahead = (to_exit[None, :, :] + around[:, None, :]).min(axis=2)
        after = reached[:, :, None] + length
        masks.append((after + ahead[:, layer.target]).min(axis=0) <= budget)
        reached = np.full((num_entries, len(to_exit)), np.inf)
        for entry in range(num_entries):
            np.minimum.at(reached[entry], layer.target, after[entry])
    return masks


def solve_flow(
    folded: Folded,
    goal: Goal,
    value: float,
    arcs: Arcs,
    box: Box,
    cuts: list[NDArray[np.float64]],
    exact: NDArray[np.int64],
) -> Flow:
    """Solves the integer program.

    Args:
        folded: The problem.
        goal: What is minimised.
        value: The most the goal's value may be.
        arcs: Arcs of placements up to that value.
        box: How often kinds may be taken.
        cuts: Rows [arcs + boundary variables] whose product with the solution must not be negative.
        exact: Hard components whose limits must hold to the last byte, beyond the solver's tolerance.
    """
    meeting = boundaries(folded)
    kinds, counts = folded.kinds, np.array([float(stage.count) for stage in folded.stages])
    num_arcs, num_meeting, num_kinds = len(arcs.source), len(meeting.upper), len(kinds.vector)
    soft, hard, step = goal.soft, goal.hard, goal.step(value)
    taken, begun, number = np.flatnonzero(arcs.kind >= 0), np.flatnonzero(arcs.begins), np.arange(num_arcs)
    tallies = incidence(arcs.kind[taken], taken, (num_kinds, num_arcs))
    vectors = kinds.vector.T * np.isin(np.arange(num_kinds), arcs.kind)
    sizes, carries, capacity = capacity_rows(vectors[hard], goal.limit[hard], np.isin(hard, exact))
    cut = csr_array(np.reshape(cuts, (len(cuts), num_arcs + num_meeting)))
    instances = incidence(arcs.stage[begun], begun, (len(counts), num_arcs))
    ends = (arcs.num_vertices, num_arcs)
    leaving = incidence(arcs.source, number, ends) - incidence(arcs.target, number, ends)
    rows = [
        (
            [arcs.move[:, soft].T / step, None, vectors[soft] / step, None, -goal.members(soft)],
            -np.inf,
            goal.limit[soft] / step,
        ),
        ([None, None, None, None, np.ones((1, goal.num_groups))], -np.inf, (1 + 1e-9) * value / step),
        ([None, None, sizes, carries, None], -np.inf, capacity),
        ([tallies, None, -np.eye(num_kinds), None, None], 0.0, 0.0),
        ([leaving[: meeting.num_nodes], meeting.balance, None, None, None], 0.0, 0.0),
        ([leaving[meeting.num_nodes :], None, None, None, None], 0.0, 0.0),
        ([instances, None, None, None, None], counts, counts),
        ([None, None, kinds.feature[num_kinds:], None, None], box.lower[num_kinds:], box.upper[num_kinds:]),
        ([cut[:, :num_arcs], cut[:, num_arcs:], None, None, None], 0.0, np.inf),
    ]
    rest = carries.shape[1] + goal.num_groups
    is_time = np.repeat([0.0, 1.0], [num_arcs + num_meeting + num_kinds + carries.shape[1], goal.num_groups])
    lower = [np.zeros(num_arcs), meeting.lower, box.lower[:num_kinds], np.zeros(rest)]
    upper = [counts[arcs.stage], meeting.upper, box.upper[:num_kinds], np.full(rest, np.inf)]
    result = integer_program(is_time, 1.0 - is_time, (np.concatenate(lower), np.concatenate(upper)), rows)
    if result.status == INFEASIBLE:
        return Flow(None, np.inf, True)
    bound = -np.inf if result.mip_dual_bound is None else float(result.mip_dual_bound) * step
    if result.x is None:
        return Flow(None, bound, False)
    rounded = np.rint(result.x[: num_arcs + num_meeting]).astype(np.int64)
    return Flow((rounded[:num_arcs], rounded[num_arcs:]), bound, result.status == OPTIMAL)
