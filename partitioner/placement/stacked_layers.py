"""All layers of all stages one below the other, so that some prices take two products and not two for each layer.

Letters as in ``states``; sums are over all layers. P phases are the first components, and moves have no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.states import Layer


class Piece(NamedTuple):
    """Holds where the variants, the ways and the arcs of one layer are among those of all."""

    variants: slice
    ways: slice
    arcs: slice


class StackedLayers(NamedTuple):
    """Holds what prices are applied to.

    Attributes:
        variant: [sum of V, D] cost of each variant.
        move: [sum of S W, P] cost of the moves along each arc.
        order: [sum of V] the variants by layer and way.
        starts: [sum of W] where each way begins in that order.
        way: [sum of S W] the way of each arc.
        pieces: One per layer.
    """

    variant: NDArray[np.float64]
    move: NDArray[np.float64]
    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    way: NDArray[np.int64]
    pieces: tuple[Piece, ...]

    @classmethod
    def of(cls, layers: Sequence[Layer], num_phases: int) -> StackedLayers:
        """Stacks some layers."""
        moves, orders, starts, ways = ([] for _ in range(4))
        pieces: list[Piece] = []
        variants = first_way = arcs = 0
        for layer in layers:
            num_states, num_ways = layer.target.shape
            order, start = layer.by_way
            orders.append(variants + order)
            starts.append(variants + start)
            ways.append(np.tile(np.arange(first_way, first_way + num_ways), num_states))
            moves.append(layer.move[:, :, :num_phases].reshape(-1, num_phases))
            ends = variants + len(layer.way), first_way + num_ways, arcs + num_states * num_ways
            pieces.append(Piece(slice(variants, ends[0]), slice(first_way, ends[1]), slice(arcs, ends[2])))
            variants, first_way, arcs = ends
        return cls(
            np.concatenate([layer.variant for layer in layers]),
            np.concatenate(moves),
            np.concatenate(orders),
            np.concatenate(starts),
            np.concatenate(ways),
            tuple(pieces),
        )
