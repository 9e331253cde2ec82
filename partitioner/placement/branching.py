"""Coarse branching: the whole numbers that matter most are decided first, by their relaxations alone.

The KV cache of a layer is a large part of a tier, so a mixture that keeps a third of one on the GPU promises far more than any
placement can give. Splitting the problem at how often such a kind of variant is taken, at most n times or more often, lifts the
bound in a few steps; the finer rest is left to the integer program (``arcflow``).
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from partitioner.placement.columns import ColumnPool
from partitioner.placement.folded import Folded
from partitioner.placement.goal import HARD, Goal
from partitioner.placement.highs import SolverError
from partitioner.placement.relaxation import Relaxation, relax

MAX_SPLITS = 15
HEAVY = 0.05
"""A kind is decided first if taking it once is this share of a capacity or of the objective."""


def open_boxes(
    folded: Folded, goal: Goal, unit: float, pool: ColumnPool, root: Relaxation
) -> list[Relaxation]:
    """Returns relaxations whose boxes hold every placement, by ascending bound."""
    weight = _weights(folded, goal, unit)
    waiting = [(root.bound, 0, root)]
    for split in range(MAX_SPLITS):
        relaxation = waiting[0][2]
        fraction = np.abs(relaxation.tally - np.rint(relaxation.tally))
        merit = np.where((weight >= HEAVY) & (fraction > 1e-6), weight * fraction, 0.0)
        if not merit.any():
            break
        kind = int(np.argmax(merit))
        boxes = relaxation.box.split(kind, float(relaxation.tally[kind]))
        try:
            parts = [relax(folded, goal, unit, pool, box) for box in boxes]
        except SolverError:
            break
        heapq.heappop(waiting)
        for number, part in enumerate(parts):
            heapq.heappush(waiting, (max(part.bound, relaxation.bound), 2 * split + number + 1, part))
    return sorted((item[2] for item in waiting), key=lambda relaxation: relaxation.bound)


def _weights(folded: Folded, goal: Goal, unit: float) -> NDArray[np.float64]:
    """Returns [F] the largest share of a capacity or of the objective that taking a feature once makes up."""
    size = np.where(goal.group == HARD, np.abs(goal.limit), unit)
    shares = folded.kinds.vector[:, goal.asked] / np.maximum(size[goal.asked], 1e-300)
    kind = shares.max(axis=1, initial=0.0)
    feature = folded.kinds.feature
    largest = csr_array(feature.multiply(kind[None, :])).max(axis=1).toarray().reshape(-1)
    return largest * (1 + 1e-6 * (feature.sum(axis=1) > 1))
