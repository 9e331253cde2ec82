"""The integer program: how many instances go along each arc of the blocks' graphs.

Every walk through a graph is a placement of a block and costs add up along it, so whole numbers of instances on arcs, as many
into each state as out of it, are whole placements (flow decomposition): there is no need to list the ways through a block. How
often each kind of variant is taken is a variable of its own, since branching on these few numbers is what proves optimality.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, eye_array

from partitioner.placement.arcs import Arcs
from partitioner.placement.balance import boundaries, incidence
from partitioner.placement.capacity import capacity_rows
from partitioner.placement.count_sums import CountSums
from partitioner.placement.distinct_rows import first_rows
from partitioner.placement.folded import Folded
from partitioner.placement.goal import Goal
from partitioner.placement.highs import INFEASIBLE, MAX_GAP, MAX_NODES, OPTIMAL, integer_program
from partitioner.placement.tally import Box
from partitioner.placement.units import families, unit_rows


@dataclass(frozen=True)
class Flow:
    """Holds a solution of the integer program.

    Attributes:
        solution: Instances on each arc or route, boundary variables, and instances of each variant; None where none was found.
        bound: Lower bound on the goal's value over these; infinite where there is no solution up to the value asked for.
        finished: Whether the bound is the optimum.
    """

    solution: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None
    bound: float
    finished: bool


def solve_flow(
    folded: Folded,
    goal: Goal,
    value: float,
    arcs: Arcs,
    box: Box,
    cuts: list[NDArray[np.float64]],
    exact: NDArray[np.int64],
    gap: float = MAX_GAP,
    *,
    doubt: bool = True,
    max_nodes: int = MAX_NODES,
    sums: CountSums | None = None,
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
        gap: Relative gap at which the search may end.
        doubt: Whether to make sure where there seems to be no solution.
        max_nodes: Nodes of the search tree at which the search ends.
        sums: Sums of counts that are branched on, too; without any, how often each kind is taken is the largest.
    """
    meeting = boundaries(folded)
    kinds, counts = folded.kinds, np.array([float(stage.count) for stage in folded.stages])
    num_arcs, num_meeting, num_kinds = len(arcs.source), len(meeting.upper), len(kinds.vector)
    variants, num_variants = arcs.variants, len(arcs.variants.slot)
    soft, hard, step = goal.soft, goal.hard, goal.step(value)
    taken, begun, number = np.flatnonzero(arcs.slot >= 0), np.flatnonzero(arcs.begins), np.arange(num_arcs)
    option = np.arange(num_variants)
    along = incidence(arcs.slot[taken], taken, (variants.num_slots, num_arcs))
    chosen = incidence(variants.slot, option, (variants.num_slots, num_variants))
    tallies = incidence(variants.kind, option, (num_kinds, num_variants))
    vectors = kinds.vector.T * np.isin(np.arange(num_kinds), variants.kind)
    sizes, carries, capacity = capacity_rows(vectors[hard], goal.limit[hard], np.isin(hard, exact))
    counted = [family[np.isin(family, variants.kind)] for family in families(kinds)]
    units, sizes, unit_size = unit_rows(counted, vectors[hard], sizes)
    cut = csr_array(np.reshape(cuts, (len(cuts), num_arcs + num_meeting)))
    instances = incidence(arcs.stage[begun], begun, (len(counts), num_arcs))
    ends = (arcs.num_vertices, num_arcs)
    leaving = incidence(arcs.source, number, ends) - incidence(arcs.target, number, ends)
    rows = [
        (
            [arcs.move[:, soft].T / step, None, None, vectors[soft] / step, None, None, -goal.members(soft)],
            -np.inf,
            goal.limit[soft] / step,
        ),
        ([None] * 6 + [np.ones((1, goal.num_groups))], -np.inf, (1 + 1e-9) * value / step),
        ([None, None, None, sizes, unit_size, carries, None], -np.inf, capacity),
        ([None, None, None, units, -eye_array(len(hard), format="csr"), None, None], 0.0, 0.0),
        ([along, None, -chosen, None, None, None, None], 0.0, 0.0),
        ([None, None, tallies, -eye_array(num_kinds, format="csr"), None, None, None], 0.0, 0.0),
        ([leaving[: meeting.num_nodes], meeting.balance, None, None, None, None, None], 0.0, 0.0),
        ([leaving[meeting.num_nodes :], None, None, None, None, None, None], 0.0, 0.0),
        ([instances, None, None, None, None, None, None], counts, counts),
        (
            [None, None, None, kinds.feature[num_kinds:], None, None, None],
            box.lower[num_kinds:],
            box.upper[num_kinds:],
        ),
        ([cut[:, :num_arcs], cut[:, num_arcs:], None, None, None, None, None], 0.0, np.inf),
    ]
    rest = len(hard) + carries.shape[1] + goal.num_groups
    whole = num_arcs + num_meeting + num_variants + num_kinds + len(hard) + carries.shape[1]
    is_time = np.repeat([0.0, 1.0], [whole, goal.num_groups])
    lower = [np.zeros(num_arcs), meeting.lower, np.zeros(num_variants), box.lower[:num_kinds], np.zeros(rest)]
    upper = [
        counts[arcs.stage],
        meeting.upper,
        np.full(num_variants, np.inf),
        box.upper[:num_kinds],
        np.full(rest, np.inf),
    ]
    bounds = (np.concatenate(lower), np.concatenate(upper))
    result = integer_program(
        is_time,
        1.0 - is_time,
        bounds,
        rows,
        gap,
        doubt=doubt,
        max_nodes=max_nodes,
        heuristics=sums is not None,
        sums=None
        if sums is None
        else _summed(sums, variants.kind, num_arcs + num_meeting + num_variants, rest),
    )
    if result.status == INFEASIBLE:
        return Flow(None, np.inf, True)
    bound = -np.inf if result.mip_dual_bound is None else float(result.mip_dual_bound) * step
    if result.x is None:
        return Flow(None, bound, False)
    rounded = np.rint(result.x[: num_arcs + num_meeting + num_variants]).astype(np.int64)
    on_arc, starts, on_variant = np.split(rounded, [num_arcs, num_arcs + num_meeting])
    return Flow((on_arc, starts, on_variant), bound, result.status == OPTIMAL)


def _summed(sums: CountSums, kinds: NDArray[np.int64], before: int, behind: int) -> csr_array:
    """Returns what the variables add to the sums that some of these kinds add to; how often these are taken lies in between."""
    present = np.zeros(sums.weights.shape[1])
    present[kinds] = 1.0
    adds = sums.weights * present
    adds = adds[[n for n in first_rows(adds) if adds[n].any()]]
    return csr_array(np.pad(adds, ((0, 0), (before, behind))))
