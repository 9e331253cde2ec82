"""Follows the routes of one stage from its entries, layer by layer, and leaves out those that others stand for.

What is carried along are *labels*, the beginnings of routes (label correcting, as in shortest paths under several costs).

Letters in the shapes: D components of a cost vector, S slots, W ways.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.columns import Column
from partitioner.placement.distinct_rows import row_numbers
from partitioner.placement.folded import Folded
from partitioner.placement.proof import Proof
from partitioner.placement.stand_ins import Options

MAX_ROUTES = 6000
"""So many routes, and beginnings of routes, are followed."""


@dataclass(frozen=True)
class Labels:
    """Holds beginnings of routes, of one stage.

    Attributes:
        entry: Of each the entry.
        state: The state reached.
        length: Its price.
        arcs: [labels layers 2] the states passed and the ways taken.
        slots: [labels S] how many choices are open in each slot.
        key: [labels S] likewise with the slots of ways that may stand in for those taken.
        other: [labels S] how many choices went other ways than those which may stand in for them.
        vector: [labels D] its cost.
        relaxed: [labels D] at most the cost of those it stands for.
        shift: [labels D] what it costs more at most if it goes the ways that may stand in.
    """

    entry: NDArray[np.int64]
    state: NDArray[np.int64]
    length: NDArray[np.float64]
    arcs: NDArray[np.int64]
    slots: NDArray[np.int16]
    key: NDArray[np.int16]
    other: NDArray[np.int16]
    vector: NDArray[np.float64]
    relaxed: NDArray[np.float64]
    shift: NDArray[np.float64]

    def take(self, index: NDArray[np.int64]) -> Labels:
        """Returns some of them."""
        return Labels(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def stage_routes(
    folded: Folded,
    proof: Proof,
    position: int,
    value: float,
    most: NDArray[np.float64],
    options: list[Options],
    num_slots: int,
    few: NDArray[np.float64],
    along: Sequence[Column] | None,
) -> Labels | None:
    """Returns the routes of a stage, or None where they are too many.

    Args:
        folded: The problem.
        proof: What the prices of a relaxation prove.
        position: The stage.
        value: What placements along the routes may be worth at most.
        most: [D] what one of their ops may cost at most.
        options: What is left of each choice.
        num_slots: Slots of all stages.
        few: [D] what counts as nothing.
        along: Columns, if only arcs are to be followed that some of them take.
    """
    passed = None if along is None else _passed(folded, position, along)
    path, around = proof.paths[position], proof.model.around[position]
    graph, price = path.graph, proof.model.price
    budget = value - proof.bound + price + 1e-9 * (abs(value) + abs(price))
    num_entries, size = len(graph.entries), len(folded.most)
    entries = np.arange(num_entries)
    none, nothing = np.zeros((num_entries, num_slots), np.int16), np.zeros((num_entries, size))
    labels = Labels(
        entries,
        graph.roots[entries],
        np.zeros(num_entries),
        np.zeros((num_entries, 0, 2), np.int64),
        none,
        none,
        none,
        nothing,
        nothing,
        nothing,
    )
    for number, (layer, priced, to_exit, option) in enumerate(
        zip(graph.layers, path.layers, path.to_exit[1:], options, strict=True)
    ):
        ahead = (to_exit[None, :, :] + around[:, None, :]).min(axis=2)
        target = layer.target[labels.state]
        length = labels.length[:, None] + priced.length[labels.state]
        small = (layer.move[labels.state] <= most).all(axis=2)
        near = length + ahead[labels.entry[:, None], target] <= budget
        if passed is not None:
            near &= passed[number][labels.state]
        label, way = np.nonzero(near & small & (option.slot >= 0)[None, :])
        if len(label) > 4 * MAX_ROUTES:
            return None
        grown = labels.take(label)
        only = option.only[way]
        cost = layer.move[grown.state, way] + np.where(only[:, None] >= 0, layer.variant[only], 0.0)
        instead = option.stand_in[way]
        labels = _undominated(
            Labels(
                grown.entry,
                target[label, way],
                length[label, way],
                np.concatenate([grown.arcs, np.stack([grown.state, way], axis=1)[:, None]], axis=1),
                _counted(grown.slots, option.slot[way], only < 0),
                _counted(grown.key, option.slot[instead], option.is_open[instead]),
                _counted(grown.other, option.slot[way], instead != way),
                grown.vector + cost,
                grown.relaxed + cost,
                grown.shift + option.shift[way],
            ),
            few,
        )
        if len(labels.state) > MAX_ROUTES:
            return None
    return labels


def _passed(folded: Folded, position: int, columns: Sequence[Column]) -> list[NDArray[np.bool_]]:
    """Returns for each layer of a stage [S W] which arcs some columns take."""
    graph = folded.stages[position].graph
    passed = [np.zeros(layer.target.shape, bool) for layer in graph.layers]
    for used in columns:
        if used.stage != position:
            continue
        state = int(graph.roots[used.entry])
        for layer, pick, taken in zip(graph.layers, used.picks, passed, strict=True):
            way = int(layer.way[pick])
            taken[state, way] = True
            state = int(layer.target[state, way])
    return passed


def _counted(
    counts: NDArray[np.int16], slot: NDArray[np.int64], where: NDArray[np.bool_]
) -> NDArray[np.int16]:
    """Returns [labels S] counts with one more in the slot of each label, for some of them."""
    more = counts.copy()
    some = np.flatnonzero(where)
    more[some, slot[some]] += 1
    return more


def _undominated(labels: Labels, few: NDArray[np.float64]) -> Labels:
    """Returns labels none of which costs as much as another in the same place with the same slots, or ones that stand in."""
    place = np.concatenate([labels.entry[:, None], labels.state[:, None], labels.key], axis=1)
    group = row_numbers(place)
    order = np.lexsort((labels.length, group))
    starts = [*np.flatnonzero(np.diff(group[order], prepend=-1)).tolist(), len(order)]
    ordered = order.tolist()
    cost, least = labels.vector - labels.shift, labels.relaxed - labels.shift
    kept: list[int] = []
    for start, stop in itertools.pairwise(starts):
        better = ordered[start : start + 1]
        for label in ordered[start + 1 : stop]:
            over = (cost[better] > cost[label] + few).any(axis=1)
            over |= (labels.other[better] > labels.other[label]).any(axis=1)
            if over.all():
                better.append(label)
            else:
                stands = better[int(np.argmin(over))]
                least[stands] = np.minimum(least[stands], least[label])
        kept += better
    index = np.array(sorted(kept), np.int64)
    return replace(labels.take(index), relaxed=(least + labels.shift)[index])
