"""Cheapest placements under given prices: of one block between any two boundaries, and of the whole model.

A *price* per component of the cost vector turns vectors into numbers, and the graph of a block into one with arc lengths; then
a dynamic program over the layers does the rest. Letters as in ``states``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.folded import Folded
from partitioner.placement.states import BlockGraph, Layer
from partitioner.placement.unthreaded import times

Picks = tuple[int, ...]


@dataclass(frozen=True)
class PricedLayer:
    """Holds the prices of one layer.

    Attributes:
        layer: The layer.
        length: [S W] the price of each arc with its cheapest variant.
        variant: [V] the price of each variant, moves left aside.
        least: [W] that of the cheapest variant of each way.
    """

    layer: Layer
    length: NDArray[np.float64]
    variant: NDArray[np.float64]
    least: NDArray[np.float64]

    @cached_property
    def extra(self) -> NDArray[np.float64]:
        """Returns [V] by how much each variant is dearer than the cheapest of its way."""
        return self.variant - self.least[self.layer.way]

    def pick(self, way: int) -> int:
        """Returns the cheapest variant of a way, the first of equally cheap ones."""
        order, starts = self.layer.by_way
        own = order[starts[way] : starts[way + 1] if way + 1 < len(starts) else None]
        return int(own[self.variant[own].argmin()])


@dataclass(frozen=True)
class CheapestPaths:
    """Holds the cheapest ways through a block.

    Attributes:
        graph: The block's graph.
        layers: The prices of each layer.
        to_exit: For each layer [S X] the least price from a state to an exit; one more than layers, the last at the end.
    """

    graph: BlockGraph
    layers: tuple[PricedLayer, ...]
    to_exit: tuple[NDArray[np.float64], ...]

    @property
    def prices(self) -> NDArray[np.float64]:
        """Returns [E X] the least price from each entry to each exit, infinite where there is no way."""
        return self.to_exit[0][self.graph.roots]

    def picks(self, entry: int, leave: int) -> Picks:
        """Returns the variants of the cheapest way, the first of equally cheap ones."""
        state = int(self.graph.roots[entry])
        picks: list[int] = []
        for layer, priced, after in zip(self.graph.layers, self.layers, self.to_exit[1:], strict=True):
            way = int((priced.length[state] + after[layer.target[state], leave]).argmin())
            picks.append(priced.pick(way))
            state = int(layer.target[state, way])
        return tuple(picks)


def cheapest_paths(graph: BlockGraph, layers: tuple[PricedLayer, ...]) -> CheapestPaths:
    """Returns the cheapest ways through a block whose layers have some prices."""
    end = np.full((len(graph.leaves), len(graph.exits)), np.inf)
    end[np.arange(len(graph.leaves)), graph.leaves] = 0.0
    to_exit = [end]
    for priced in reversed(layers):
        onward = priced.length[:, :, None] + to_exit[-1][priced.layer.target]
        to_exit.append(np.minimum.reduce(onward, axis=1))
    return CheapestPaths(graph, layers, tuple(reversed(to_exit)))


@dataclass(frozen=True)
class CheapestModel:
    """Holds the cheapest placement of the whole model, and the price of leaving it.

    Attributes:
        folded: The model.
        price: Its price.
        prices: For each stage [E X] the least price of an instance from entry to exit.
        remaining: For each stage and instance [X] the least price of what comes behind it.
    """

    folded: Folded
    price: float
    prices: tuple[NDArray[np.float64], ...]
    remaining: tuple[tuple[NDArray[np.float64], ...], ...]

    @cached_property
    def ways(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Returns for each stage and instance the (entry, exit) it takes."""
        node = self.folded.start
        ways: list[tuple[tuple[int, int], ...]] = []
        for stage, price, after in zip(self.folded.stages, self.prices, self.remaining, strict=True):
            taken: list[tuple[int, int]] = []
            for instance in range(stage.count):
                leave = int(np.argmin(price[node] + after[instance]))
                taken.append((node, leave))
                node = int((stage.onward if instance < stage.count - 1 else stage.following)[leave])
            ways.append(tuple(taken))
        return tuple(ways)

    @cached_property
    def around(self) -> tuple[NDArray[np.float64], ...]:
        """Returns for each stage [E X] the least price of everything else when one instance of it goes from entry to exit."""
        before = map(np.array, _reached(self.folded, self.prices))
        behind = map(np.array, self.remaining)
        return tuple((b[:, :, None] + r[:, None, :]).min(axis=0) for b, r in zip(before, behind, strict=True))


def cheapest_model(
    folded: Folded, paths: tuple[CheapestPaths, ...], surcharges: Sequence[NDArray[np.float64]] | None = None
) -> CheapestModel:
    """Returns the cheapest placement of the model.

    Args:
        folded: The model.
        paths: The cheapest ways through each stage's block.
        surcharges: For each stage [E X] what an instance from entry to exit costs besides; nothing by default.
    """
    prices = tuple(path.prices for path in paths)
    if surcharges is not None:
        prices = tuple(price + more for price, more in zip(prices, surcharges, strict=True))
    left = np.zeros(len(folded.stages[-1].graph.exits))
    remaining: list[tuple[NDArray[np.float64], ...]] = []
    entering = np.zeros(0)
    for position in reversed(range(len(folded.stages))):
        stage, price = folded.stages[position], prices[position]
        after = [left]
        repeated = price[stage.onward] if stage.count > 1 else price
        for _ in range(stage.count - 1):
            after.append(np.minimum.reduce(repeated + after[-1], axis=1))
        entering = np.minimum.reduce(price + after[-1], axis=1)
        remaining.append(tuple(reversed(after)))
        if position:
            left = entering[folded.stages[position - 1].following]
    return CheapestModel(folded, float(entering[folded.start]), prices, tuple(reversed(remaining)))


def _reached(folded: Folded, prices: Sequence[NDArray[np.float64]]) -> list[list[NDArray[np.float64]]]:
    """Returns for each stage and instance [E] the least price of what comes before it."""
    node, value = np.array([folded.start]), np.zeros(1)
    reached: list[list[NDArray[np.float64]]] = []
    for stage, price in zip(folded.stages, prices, strict=True):
        reached.append([])
        for instance in range(stage.count):
            before = np.full(len(stage.graph.entries), np.inf)
            before[node] = value
            reached[-1].append(before)
            value = np.minimum.reduce(before[:, None] + price, axis=0)
            node = stage.onward if instance < stage.count - 1 else stage.following
    return reached


def stage_paths(
    folded: Folded, price: NDArray[np.float64], feature_price: NDArray[np.float64]
) -> tuple[CheapestPaths, ...]:
    """Returns the cheapest ways through each stage's block at a price [D] and a price [F] of features."""
    return _paths(folded, price, feature_price @ folded.kinds.feature, folded.kinds.in_a_row)


def paths_of_choices(
    folded: Folded, price: NDArray[np.float64], choice_price: NDArray[np.float64]
) -> tuple[CheapestPaths, ...]:
    """Returns the cheapest ways through each stage's block at a price [D] and a surcharge [J] on kinds of one choice."""
    return _paths(folded, price, choice_price, folded.kinds.apart_in_a_row)


def _paths(
    folded: Folded, price: NDArray[np.float64], surcharge: NDArray[np.float64], number: NDArray[np.int64]
) -> tuple[CheapestPaths, ...]:
    """Returns the cheapest ways at a price [D] and a surcharge on variants by their numbers, which are those of all layers."""
    stacked = folded.stacked
    variant = times(stacked.variant, price) + surcharge[number]
    least = np.minimum.reduceat(variant[stacked.order], stacked.starts)
    length = times(stacked.move, price[: stacked.move.shape[1]]) + least[stacked.way]
    found: list[CheapestPaths] = []
    pieces = iter(stacked.pieces)
    for stage in folded.stages:
        layers = tuple(
            PricedLayer(
                layer,
                length[piece.arcs].reshape(layer.target.shape),
                variant[piece.variants],
                least[piece.ways],
            )
            for layer, piece in zip(stage.graph.layers, pieces, strict=False)
        )
        found.append(cheapest_paths(stage.graph, layers))
    return tuple(found)
