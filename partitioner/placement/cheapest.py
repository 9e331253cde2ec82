"""Cheapest placements under given prices: of one block between any two boundaries, and of the whole model.

A *price* per component of the cost vector turns vectors into numbers, and the graph of a block into one with arc lengths; then
a dynamic program over the layers does the rest. Letters as in ``states``.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        length: [S W] the price of each arc with its cheapest variant.
        pick: [W] the cheapest variant of each way, the first of equally cheap ones.
        extra: [V] by how much each variant is dearer than the cheapest of its way.
    """

    length: NDArray[np.float64]
    pick: NDArray[np.int64]
    extra: NDArray[np.float64]


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
            way = int(np.argmin(priced.length[state] + after[layer.target[state], leave]))
            picks.append(int(priced.pick[way]))
            state = int(layer.target[state, way])
        return tuple(picks)


def cheapest_paths(
    graph: BlockGraph, price: NDArray[np.float64], surcharges: list[NDArray[np.float64]]
) -> CheapestPaths:
    """Returns the cheapest ways through a block at a price [D], and for each choice a surcharge [V] on its variants."""
    end = np.full((len(graph.leaves), len(graph.exits)), np.inf)
    end[np.arange(len(graph.leaves)), graph.leaves] = 0.0
    to_exit, layers = [end], []
    for layer, surcharge in zip(reversed(graph.layers), reversed(surcharges), strict=True):
        priced = _priced(layer, price, surcharge)
        layers.append(priced)
        to_exit.append((priced.length[:, :, None] + to_exit[-1][layer.target]).min(axis=1))
    return CheapestPaths(graph, tuple(reversed(layers)), tuple(reversed(to_exit)))


def _priced(layer: Layer, price: NDArray[np.float64], surcharge: NDArray[np.float64]) -> PricedLayer:
    length = times(layer.variant, price) + surcharge
    order, starts = layer.by_way
    least = np.minimum.reduceat(length[order], starts)
    above = length - least[layer.way]
    cheapest = order[above[order] == 0]
    pick = cheapest[np.flatnonzero(np.diff(layer.way[cheapest], prepend=-1))]
    return PricedLayer(times(layer.move, price) + least, pick, above)


@dataclass(frozen=True)
class CheapestModel:
    """Holds the cheapest placement of the whole model, and the price of leaving it.

    Attributes:
        price: Its price.
        ways: For each stage and instance the (entry, exit) it takes.
        around: For each stage [E X] the least price of everything else when one instance of the stage goes from entry to exit.
    """

    price: float
    ways: tuple[tuple[tuple[int, int], ...], ...]
    around: tuple[NDArray[np.float64], ...]


def cheapest_model(folded: Folded, paths: tuple[CheapestPaths, ...]) -> CheapestModel:
    """Returns the cheapest placement of the model, given the cheapest ways through each stage's block."""
    prices = [path.prices for path in paths]
    reached = _reached(folded, prices)
    left = np.zeros(len(folded.stages[-1].graph.exits))
    remaining: list[list[NDArray[np.float64]]] = []
    around: list[NDArray[np.float64]] = []
    total = 0.0
    for position in reversed(range(len(folded.stages))):
        stage, price = folded.stages[position], prices[position]
        after = [left]
        entering = np.zeros(0)
        for instance in reversed(range(stage.count)):
            entering = (price + after[-1]).min(axis=1)
            if instance:
                after.append(entering[stage.onward])
        before, behind = np.array(reached[position]), np.array(after[::-1])
        around.append((before[:, :, None] + behind[:, None, :]).min(axis=0))
        remaining.append(after[::-1])
        if position:
            left = entering[folded.stages[position - 1].following]
        else:
            total = float(entering[folded.start])
    ways = _ways(folded, prices, remaining[::-1])
    return CheapestModel(total, ways, tuple(around[::-1]))


def _reached(folded: Folded, prices: list[NDArray[np.float64]]) -> list[list[NDArray[np.float64]]]:
    """Returns for each stage and instance [E] the least price of what comes before it."""
    node, value = np.array([folded.start]), np.zeros(1)
    reached: list[list[NDArray[np.float64]]] = []
    for stage, price in zip(folded.stages, prices, strict=True):
        reached.append([])
        for instance in range(stage.count):
            before = np.full(len(stage.graph.entries), np.inf)
            before[node] = value
            reached[-1].append(before)
            value = (before[:, None] + price).min(axis=0)
            node = stage.onward if instance < stage.count - 1 else stage.following
    return reached


def _ways(
    folded: Folded, prices: list[NDArray[np.float64]], remaining: list[list[NDArray[np.float64]]]
) -> tuple[tuple[tuple[int, int], ...], ...]:
    node = folded.start
    ways: list[tuple[tuple[int, int], ...]] = []
    for stage, price, after in zip(folded.stages, prices, remaining, strict=True):
        taken: list[tuple[int, int]] = []
        for instance in range(stage.count):
            leave = int(np.argmin(price[node] + after[instance]))
            taken.append((node, leave))
            node = int((stage.onward if instance < stage.count - 1 else stage.following)[leave])
        ways.append(tuple(taken))
    return tuple(ways)


def stage_paths(
    folded: Folded, price: NDArray[np.float64], feature_price: NDArray[np.float64]
) -> tuple[CheapestPaths, ...]:
    """Returns the cheapest ways through each stage's block at a price [D] and a price [F] of features."""
    return paths_of_kinds(folded, price, feature_price @ folded.kinds.feature)


def paths_of_kinds(
    folded: Folded, price: NDArray[np.float64], kind_price: NDArray[np.float64]
) -> tuple[CheapestPaths, ...]:
    """Returns the cheapest ways through each stage's block at a price [D] and a surcharge [K] on kinds."""
    return tuple(
        cheapest_paths(stage.graph, price, [kind_price[of] for of in kinds])
        for stage, kinds in zip(folded.stages, folded.kinds.of, strict=True)
    )
