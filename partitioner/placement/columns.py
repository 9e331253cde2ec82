"""Columns of the master problem: one way to place one block, of which any number of instances may make use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.cheapest import CheapestModel, CheapestPaths, Picks
from partitioner.placement.states import BlockGraph

ColumnKey = tuple[int, int, Picks]


@dataclass(frozen=True, eq=False)
class Column:
    """Holds a pattern: a block's variants, between an entry and an exit, with their cost.

    Attributes:
        stage: Index of the stage.
        entry: Index among the entries of the block's graph.
        leave: Index among its exits.
        picks: The variant of each choice.
        vector: [D] cost vector.
    """

    stage: int
    entry: int
    leave: int
    picks: Picks
    vector: NDArray[np.float64]

    @property
    def key(self) -> ColumnKey:
        """Returns what tells it from others: stage, entry and picks."""
        return self.stage, self.entry, self.picks


def column(stage: int, graph: BlockGraph, entry: int, picks: Picks) -> Column:
    """Returns the column of some picks, following them through the graph."""
    state, vector = int(graph.roots[entry]), np.zeros(graph.size)
    for layer, pick in zip(graph.layers, picks, strict=True):
        way = layer.way[pick]
        vector += layer.move[state, way] + layer.variant[pick]
        state = int(layer.target[state, way])
    return Column(stage, entry, int(graph.leaves[state]), picks, vector)


def model_columns(paths: tuple[CheapestPaths, ...], model: CheapestModel) -> list[Counter[Column]]:
    """Returns the columns of a placement of the whole model, and how many instances make use of each."""
    return [
        Counter(
            {
                column(stage, path.graph, entry, path.picks(entry, leave)): count
                for (entry, leave), count in sorted(Counter(ways).items())
            }
        )
        for stage, (path, ways) in enumerate(zip(paths, model.ways, strict=True))
    ]


class ColumnPool:
    """Collects columns, each once, in the order of their arrival."""

    def __init__(self) -> None:
        self._columns: dict[ColumnKey, Column] = {}

    def __iter__(self) -> Iterator[Column]:
        return iter(self._columns.values())

    def __len__(self) -> int:
        return len(self._columns)

    def add(self, new: Iterable[Column]) -> int:
        """Adds columns and returns how many were new."""
        before = len(self._columns)
        for item in new:
            self._columns.setdefault(item.key, item)
        return len(self._columns) - before
