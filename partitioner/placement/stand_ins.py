"""Which ways of a choice another way can stand in for, and what that costs at most.

A block has many ways that are hardly different: a prefill's small products on the host instead of the GPU, with the weights in
the same place. For each variant of such a way there is one of a cheaper way that costs no more in anything, moves left aside.
The largest difference in cost between the two, over all variants, tells when a route with the cheaper way does for one with the
other.

Letters in the shapes: W ways, D components of a cost vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.states import Layer
from partitioner.placement.unthreaded import times


@dataclass(frozen=True)
class Options:
    """Holds what is left of a choice.

    Attributes:
        slot: [W] the slot of each way, -1 for ways without variants.
        only: [W] the variant of a way that has one alone, else -1: there the choice is not open.
        stand_in: [W] the way that may stand in for each, itself where there is none.
        shift: [W D] what the way that stands in costs more at most; of choices that are not open, all they cost is counted.
    """

    slot: NDArray[np.int64]
    only: NDArray[np.int64]
    stand_in: NDArray[np.int64]
    shift: NDArray[np.float64]

    @property
    def is_open(self) -> NDArray[np.bool_]:
        """Returns [W] the ways with several variants."""
        return (self.slot >= 0) & (self.only < 0)


def options_of(
    layer: Layer,
    pick: NDArray[np.int64],
    first_slot: int,
    price: NDArray[np.float64],
    few: NDArray[np.float64],
    size: NDArray[np.float64],
) -> Options:
    """Returns what is left of a choice.

    Args:
        layer: The choice.
        pick: The variants that are left.
        first_slot: The slot of the first way.
        price: [D] prices, by which the cheapest way is told.
        few: [D] what counts as nothing.
        size: [D] what counts as much, and infinite for what is not asked for.
    """
    num_ways = layer.target.shape[1]
    count = np.bincount(layer.way[pick], minlength=num_ways)
    only = np.full(num_ways, -1)
    only[layer.way[pick]] = pick
    only[count != 1] = -1
    slot = np.where(count > 0, first_slot + np.arange(num_ways), -1)
    stand_in, shift = np.arange(num_ways), np.zeros((num_ways, layer.variant.shape[1]))
    if not len(pick):
        return Options(slot, only, stand_in, shift)
    dear = times(layer.variant, price)
    ways = sorted(
        np.flatnonzero(count).tolist(), key=lambda way: float(dear[pick[layer.way[pick] == way]].min())
    )
    bases: list[int] = []
    for way in ways:
        own = layer.variant[pick[layer.way[pick] == way]]
        for base in bases:
            offered = layer.variant[pick[layer.way[pick] == base]]
            more = offered[None] - own[:, None]
            fits = (more <= few).all(axis=2)
            if (count[way] == 1 and count[base] == 1) or not np.any(fits, axis=1).all():
                continue
            nearest = np.where(fits, times(np.maximum(more, 0.0), 1.0 / size), np.inf).argmin(axis=1)
            taken = offered[nearest] if count[base] > 1 else np.zeros(own.shape)
            stand_in[way] = base
            shift[way] = (taken - (own if count[way] > 1 else 0.0)).max(axis=0)
            break
        else:
            bases.append(way)
    return Options(slot, only, stand_in, shift)
