"""What prices prove about placements: a lower bound, and by how much ways through the blocks are above it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.cheapest import CheapestModel, CheapestPaths

Through = tuple[NDArray[np.float64], NDArray[np.float64]]
"""What the cheapest placement along each arc [S W] costs, and for each variant [V] along the best of its arcs."""


@dataclass(frozen=True)
class Proof:
    """Holds prices and what they prove.

    Attributes:
        bound: Lower bound on the goal's value.
        price: [D] the prices of limits.
        paths: The cheapest ways through each stage's block at these prices.
        model: The cheapest placement of the model at these prices.
    """

    bound: float
    price: NDArray[np.float64]
    paths: tuple[CheapestPaths, ...]
    model: CheapestModel

    @cached_property
    def through(self) -> tuple[tuple[Through, ...], ...]:
        """Returns for each stage and layer the prices of the cheapest placements through arcs."""
        return tuple(map(_through, self.paths, self.model.around))


def _through(path: CheapestPaths, around: NDArray[np.float64]) -> tuple[Through, ...]:
    """Returns those of a stage at the least price [E X] of everything else."""
    graph, num_entries = path.graph, len(path.graph.entries)
    reached = np.full((num_entries, len(path.to_exit[0])), np.inf)
    reached[np.arange(num_entries), graph.roots] = 0.0
    found: list[Through] = []
    for layer, priced, to_exit in zip(graph.layers, path.layers, path.to_exit[1:], strict=True):
        ahead = (to_exit[None, :, :] + around[:, None, :]).min(axis=2)
        after = reached[:, :, None] + priced.length
        arcs = (after + ahead[:, layer.target]).min(axis=0)
        found.append((arcs, arcs.min(axis=0)[layer.way]))
        reached = np.full((num_entries, len(to_exit)), np.inf)
        for entry in range(num_entries):
            np.minimum.at(reached[entry], layer.target, after[entry])
    return tuple(found)
