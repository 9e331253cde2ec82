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
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, hstack

from partitioner.placement.balance import boundaries
from partitioner.placement.folded import Folded
from partitioner.placement.goal import SCALE, Goal
from partitioner.placement.master import MasterError
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
        on_arc: Instances on each arc, None where no solution was found or arcs need not be whole.
        starts: The boundary variables, None where no solution was found.
        tally: [F] how often each feature is taken, None where no solution was found.
        bound: Lower bound on the goal's value over these arcs; infinite where there is no solution at all.
        finished: Whether the bound is the optimum.
    """

    on_arc: NDArray[np.int64] | None
    starts: NDArray[np.int64] | None
    tally: NDArray[np.float64] | None
    bound: float
    finished: bool


def kept_arcs(folded: Folded, relaxations: list[Relaxation], value: float) -> Arcs:
    """Returns the arcs of placements that may be better than a value, by some of the relaxations."""
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
            state, pick = np.nonzero(np.any([mask[number] for mask in masks], axis=0))
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
    budget = np.finfo(float).max
    if np.isfinite(value):
        budget = (
            value
            - relaxation.bound
            + relaxation.model.price
            + 1e-9 * (abs(value) + abs(relaxation.model.price))
        )
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
    unit: float,
    arcs: Arcs,
    box: Box,
    cuts: list[NDArray[np.float64]],
    tightened: NDArray[np.float64],
    max_nodes: int,
    max_gap: float,
    whole: bool = True,
) -> Flow:
    """Solves the integer program.

    Args:
        folded: The problem.
        goal: What is minimised.
        unit: The size of the objective, roughly.
        arcs: The arcs.
        box: How often kinds may be taken.
        cuts: Rows [arcs + boundary variables] whose product with the solution must not be negative.
        tightened: [D] by how much limits are lowered.
        max_nodes: Nodes of the search tree after which the best so far is returned.
        max_gap: Relative gap at which the search may end.
        whole: Whether instances on arcs must be whole numbers, or only how often each kind is taken.

    Raises:
        MasterError: The solver failed.
    """
    meeting = boundaries(folded)
    kinds, asked = folded.kinds, goal.asked
    num_arcs, num_meeting, num_kinds = len(arcs.source), len(meeting.upper), len(kinds.vector)
    scale = goal.row_scale(folded.most, unit)
    groups = -(goal.group[asked][:, None] == np.arange(goal.num_groups)).astype(float)
    limits = hstack(
        [
            csr_array((arcs.move / scale)[:, asked].T),
            csr_array((len(asked), num_meeting)),
            csr_array((kinds.vector / scale)[:, asked].T),
            csr_array(groups),
        ]
    )
    taken = np.flatnonzero(arcs.kind >= 0)
    tallies = csr_array(
        (np.ones(len(taken)), (arcs.kind[taken], taken)), shape=(num_kinds, num_arcs + num_meeting)
    )
    begun = np.flatnonzero(arcs.begins)
    num_stages = len(folded.stages)
    instances = csr_array((np.ones(len(begun)), (arcs.stage[begun], begun)), shape=(num_stages, num_arcs))
    rest = num_kinds + goal.num_groups
    constraints = [
        _rows(limits, -np.inf, ((goal.limit - tightened) / scale)[asked]),
        _rows(hstack([tallies, -csr_array(np.eye(num_kinds, rest))]), 0.0, 0.0),
        _rows(hstack([_conservation(arcs, meeting.balance), csr_array((arcs.num_vertices, rest))]), 0.0, 0.0),
    ]
    counts = np.array([float(stage.count) for stage in folded.stages])
    constraints.append(
        _rows(hstack([instances, csr_array((num_stages, num_meeting + rest))]), counts, counts)
    )
    sums = kinds.feature[num_kinds:]
    if len(sums):
        before, after = (
            csr_array((len(sums), num_arcs + num_meeting)),
            csr_array((len(sums), goal.num_groups)),
        )
        summed = hstack([before, csr_array(sums), after])
        constraints.append(_rows(summed, box.lower[num_kinds:], box.upper[num_kinds:]))
    if cuts:
        constraints.append(
            _rows(hstack([csr_array(np.stack(cuts)), csr_array((len(cuts), rest))]), 0.0, np.inf)
        )
    size = num_arcs + num_meeting + rest
    cost, integral = np.zeros(size), np.ones(size)
    cost[size - goal.num_groups :] = 1.0
    integral[size - goal.num_groups :] = 0.0
    if not whole:
        integral[:num_arcs] = 0.0
    times = np.full(goal.num_groups, np.inf)
    result = milp(
        cost,
        integrality=integral,
        bounds=_bounds(
            np.concatenate(
                [np.zeros(num_arcs), meeting.lower, box.lower[:num_kinds], np.zeros(goal.num_groups)]
            ),
            np.concatenate([counts[arcs.stage], meeting.upper, box.upper[:num_kinds], times]),
        ),
        constraints=constraints,
        options={"mip_rel_gap": max_gap, "node_limit": max_nodes},
    )
    if result.status == 2:
        return Flow(None, None, None, np.inf, True)
    bound = -np.inf if result.mip_dual_bound is None else float(result.mip_dual_bound) * unit / SCALE
    if result.x is None:
        if result.status not in (1, 4):
            raise MasterError(f"the integer program ended with status {result.status}: {result.message}")
        return Flow(None, None, None, bound, False)
    taken_kinds = np.rint(result.x[num_arcs + num_meeting : num_arcs + num_meeting + num_kinds])
    rounded = np.rint(result.x[: num_arcs + num_meeting]).astype(np.int64)
    on_arc = rounded[:num_arcs] if whole else None
    return Flow(on_arc, rounded[num_arcs:], kinds.feature @ taken_kinds, bound, result.status == 0)


def _conservation(arcs: Arcs, balance: csr_array) -> csr_array:
    """Returns for each vertex the arcs out of it minus those into it, and at nodes the boundary variables."""
    number = np.arange(len(arcs.source))
    ends = np.concatenate([arcs.source, arcs.target])
    signs = np.repeat([1.0, -1.0], len(number))
    flow = csr_array((signs, (ends, np.tile(number, 2))), shape=(arcs.num_vertices, len(number)))
    meeting = csr_array(
        (
            balance.data,
            balance.indices,
            np.pad(balance.indptr, (0, arcs.num_vertices - balance.shape[0]), mode="edge"),
        ),
        shape=(arcs.num_vertices, balance.shape[1]),
    )
    return hstack([flow, meeting])


def _rows(matrix: csr_array, lower: object, upper: object) -> LinearConstraint:
    return LinearConstraint(matrix, lower, upper)  # pyright: ignore[reportArgumentType]


def _bounds(lower: object, upper: object) -> Bounds:
    return Bounds(lower, upper)  # pyright: ignore[reportArgumentType]
