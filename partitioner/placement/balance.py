"""How stages meet: variables for the node at which each stage begins and the model ends, and what they add to each node.

A stage's instances form one walk over its nodes: at every node as many instances begin as end, but for the start and the end of
the stage. Boundary variables say where these are: one per entry of each stage, then one per exit of the last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from partitioner.placement.folded import Folded


@dataclass(frozen=True)
class Boundaries:
    """Holds the boundary variables of a problem.

    Attributes:
        first: For each stage, and then for the end, the index of its first variable.
        upper: One where a stage may begin at that node, else zero.
        lower: One for the start of the model.
        balance: [all nodes of all stages, variables] what they add to instances that begin minus instances that end.
        first_node: For each stage the row of its first node.
        num_nodes: Number of rows.
    """

    first: NDArray[np.int64]
    upper: NDArray[np.float64]
    lower: NDArray[np.float64]
    balance: csr_array
    first_node: NDArray[np.int64]
    num_nodes: int


def boundaries(folded: Folded) -> Boundaries:
    """Returns the boundary variables of a problem."""
    stages = folded.stages
    sizes = [*(len(stage.graph.entries) for stage in stages), len(stages[-1].graph.exits)]
    first = np.cumsum([0, *sizes])
    first_node = np.cumsum([0, *(stage.num_nodes for stage in stages)])
    upper, lower = np.zeros(first[-1]), np.zeros(first[-1])
    upper[folded.start] = lower[folded.start] = 1.0
    rows, columns, values = [], [], []
    for position, stage in enumerate(stages):
        entries = np.arange(len(stage.graph.entries))
        upper[first[position + 1] + stage.following] = 1.0
        rows += [first_node[position] + entries, first_node[position] + stage.onward]
        columns += [first[position] + entries, first[position + 1] + stage.following]
        values += [-np.ones(len(entries)), np.ones(len(stage.onward))]
    index = (np.concatenate(rows), np.concatenate(columns))
    balance = csr_array((np.concatenate(values), index), shape=(first_node[-1], first[-1]))
    return Boundaries(first[:-1], upper, lower, balance, first_node[:-1], int(first_node[-1]))


def incidence(rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]) -> csr_array:
    """Returns the matrix with a one at each (row, column)."""
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
