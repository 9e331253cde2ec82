"""Columns that differ from one in a single choice and end alike, so that one instance may be exchanged for another anywhere.

Letters in the shapes: D components of a cost vector, N columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.columns import Column, column
from partitioner.placement.folded import Folded
from partitioner.placement.states import BlockGraph


@dataclass(frozen=True)
class NearColumns:
    """Holds the columns near one.

    Attributes:
        graph: The graph of its block.
        old: The column.
        position: [N] the choice in which each differs.
        pick: [N] its variant.
        change: [N D] what it costs more.
    """

    graph: BlockGraph
    old: Column
    position: NDArray[np.int64]
    pick: NDArray[np.int64]
    change: NDArray[np.float64]

    def take(self, index: NDArray[np.int64]) -> NearColumns:
        """Returns some of them."""
        return NearColumns(self.graph, self.old, self.position[index], self.pick[index], self.change[index])

    def column(self, index: int) -> Column:
        """Returns one of them."""
        picks = list(self.old.picks)
        picks[int(self.position[index])] = int(self.pick[index])
        return column(self.old.stage, self.graph, self.old.entry, tuple(picks))


def near_columns(folded: Folded, old: Column) -> NearColumns:
    """Returns the columns near one, from what its choices cost before and after each."""
    graph = folded.stages[old.stage].graph
    leave, after = graph.leaves, np.zeros((len(graph.leaves), graph.size))
    behind = [(leave, after)]
    for layer, pick in zip(reversed(graph.layers), reversed(old.picks), strict=True):
        way = layer.way[pick]
        target = layer.target[:, way]
        leave, after = leave[target], layer.move[:, way] + layer.variant[pick] + after[target]
        behind.append((leave, after))
    state, before = int(graph.roots[old.entry]), np.zeros(graph.size)
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
    for position, (layer, pick) in enumerate(zip(graph.layers, old.picks, strict=True)):
        leave, after = behind[len(graph.layers) - 1 - position]
        target = layer.target[state, layer.way]
        change = before + layer.move[state, layer.way] + layer.variant + after[target] - old.vector
        picks = np.flatnonzero(leave[target] == old.leave)
        picks = picks[picks != pick]
        found.append((np.full(len(picks), position), picks, change[picks]))
        way = layer.way[pick]
        before = before + layer.move[state, way] + layer.variant[pick]
        state = int(layer.target[state, way])
    return NearColumns(graph, old, *(np.concatenate(parts) for parts in zip(*found, strict=True)))
