"""Whole numbers by a general solver: for programs over routes in which sums of counts decide little.

Where the best is a mixture of a dozen layers that all differ, no sum of counts tells one mixture from another, and a tree that
branches on sums (``count_search``) comes to its limit far from the bound. HiGHS' cuts close such programs in tenths of a
second; where sums do decide, it takes some twenty times as long as that tree.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.bounded_simplex import BoundedProgram, Floats
from partitioner.placement.count_search import Counted
from partitioner.placement.highs import INFEASIBLE, OPTIMAL, integer_program


def general_counts(
    program: BoundedProgram,
    lower: Floats,
    upper: Floats,
    rank: NDArray[np.int64],
    *,
    gap: float,
    cutoff: float,
    max_nodes: int,
    summed: bool = False,
) -> Counted:
    """Returns the cheapest solution in whole numbers; the other arguments are those of ``best_counts``.

    Args:
        summed: Whether sums are variables, too, that are branched on and cut off. What comes to no end in 15,000 nodes may take
            ten then, but a node costs some ten times as much.
    """
    num_rows = program.num_rows
    telling = np.isfinite(lower[:num_rows]) | np.isfinite(upper[:num_rows])
    rows = [([program.matrix[telling]], lower[:num_rows][telling], upper[:num_rows][telling])]
    result = integer_program(
        program.cost,
        (rank[num_rows:] >= 0).astype(float),
        (lower[num_rows:], upper[num_rows:]),
        rows,
        gap,
        doubt=False,
        max_nodes=max_nodes,
        heuristics=True,
        sums=program.matrix[~telling & (rank[:num_rows] >= 0)] if summed else None,
    )
    if result.status == INFEASIBLE:
        return Counted(None, np.inf, True, 0)
    bound = -np.inf if result.mip_dual_bound is None else float(result.mip_dual_bound)
    if result.x is not None and result.fun > cutoff:
        return Counted(None, bound, result.status == OPTIMAL, int(result.mip_node_count or 0))
    return Counted(result.x, bound, result.status == OPTIMAL, int(result.mip_node_count or 0))
