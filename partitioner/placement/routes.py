"""Lists the ways through the blocks that a better placement may take, those that others make needless left out.

A *route* says on which tiers each op of a block runs, from entry to exit. Where a choice has one variant left on these tiers
the route has taken it already, and its cost is part of the route's; the choices that are open are *slots*, and alike choices
(the four square weights of a layer) share them: which of them takes which variant is all the same.

Most routes differ from a better one in some small op on another tier, which saves the bytes of its small weights and costs
moves. They would be hundreds; so of routes with the same slots one stands for those that cost as much or more in all but a few
bytes of memory, and for the sake of the bound these bytes are given to it (``relaxed``).

Letters in the shapes: R routes, D components of a cost vector, S slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.arcs import SlotVariants, thinned, within
from partitioner.placement.columns import Column
from partitioner.placement.folded import Folded
from partitioner.placement.goal import HARD, UNASKED, Goal
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.stand_ins import Options, options_of

MAX_ROUTES = 6000
"""So many routes, and beginnings of routes, are followed."""


@dataclass(frozen=True)
class Routes:
    """Holds the routes of all stages.

    Attributes:
        stage: [R] the stage of each.
        entry: [R] index among the entries of the stage's graph.
        leave: [R] index among its exits.
        arcs: For each stage [routes layers 2] the state and the way of each layer.
        fixed: For each route the slot of each choice, and the variant where the choice is not open, else -1.
        slots: [S R] how many choices of a route each slot is open for.
        vector: [R D] what a route costs, open choices left aside.
        relaxed: [R D] likewise, but at most the cost of those it stands for.
        variants: The variants to choose from in each slot.
    """

    stage: NDArray[np.int64]
    entry: NDArray[np.int64]
    leave: NDArray[np.int64]
    arcs: tuple[NDArray[np.int64], ...]
    fixed: tuple[tuple[tuple[int, int], ...], ...]
    slots: NDArray[np.float64]
    vector: NDArray[np.float64]
    relaxed: NDArray[np.float64]
    variants: SlotVariants

    @property
    def size(self) -> int:
        """Returns the number of routes and variants."""
        return len(self.stage) + len(self.variants.slot)

    def drift(self, folded: Folded) -> NDArray[np.float64]:
        """Returns [D] what the placements they stand for may cost less at most, all instances together."""
        less = self.vector - self.relaxed
        each = [less[self.stage == n].max(axis=0, initial=0.0) for n in range(len(folded.stages))]
        return np.sum([stage.count * own for stage, own in zip(folded.stages, each, strict=True)], axis=0)


@dataclass(frozen=True)
class _Labels:
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

    def take(self, index: NDArray[np.int64]) -> _Labels:
        """Returns some of them."""
        return _Labels(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def kept_routes(
    folded: Folded,
    goal: Goal,
    relaxation: Relaxation,
    value: float,
    *,
    thin: bool = False,
    little: float = 0.0,
    along: Sequence[Column] | None = None,
) -> Routes | None:
    """Returns the routes of placements that may be as good as a value, or None where they are too many.

    Args:
        folded: The problem.
        goal: What is minimised.
        relaxation: The solved relaxation.
        value: The value.
        thin: Keep few of many variants in a slot (see ``thinned``).
        little: Share of the value, and of capacities, that does not matter.
        along: Columns, if only arcs are to be followed that some of them take.
    """
    most, price = goal.most_on_one(value), relaxation.price
    num_instances = sum(stage.count for stage in folded.stages)
    size = np.maximum(np.where(goal.group == HARD, np.abs(goal.limit), value), 1e-300)
    size[goal.group == UNASKED] = np.inf
    few = np.full(len(size), np.inf)
    few[goal.asked] = little * size[goal.asked] / num_instances
    options: list[list[Options]] = []
    chosen: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    num_slots = 0
    for position, stage in enumerate(folded.stages):
        alike: dict[tuple[bytes, bytes], tuple[list[int], list[NDArray[np.int64]]]] = {}
        masks = within(relaxation, position, value)
        for number, layer in enumerate(stage.graph.layers):
            extra = masks[number][1]
            pick = np.flatnonzero((layer.variant <= most).all(axis=1) & (extra <= 0))
            form = (folded.kinds.of[position][number].tobytes(), layer.way.tobytes())
            numbers, picks = alike.setdefault(form, ([], []))
            numbers.append(number)
            picks.append(thinned(layer, pick, extra) if thin else pick)
        own: dict[int, Options] = {}
        for numbers, picks in alike.values():
            layer, kinds = stage.graph.layers[numbers[0]], folded.kinds.of[position][numbers[0]]
            pick = np.unique(np.concatenate(picks))
            option = options_of(layer, pick, num_slots, price, few, size)
            several = pick[option.is_open[layer.way[pick]]]
            chosen.append((num_slots + layer.way[several], several, kinds[several]))
            num_slots += layer.target.shape[1]
            own |= dict.fromkeys(numbers, option)
        options.append([own[number] for number in range(len(stage.graph.layers))])
    found: list[tuple[int, _Labels, NDArray[np.int64]]] = []
    for position, stage in enumerate(folded.stages):
        passed = None if along is None else _passed(folded, position, along)
        labels = _stage_routes(
            folded, relaxation, position, value, most, options[position], num_slots, few, passed
        )
        if labels is None:
            return None
        found.append((position, labels, stage.graph.leaves[labels.state]))
    if sum(len(labels.state) for _, labels, _ in found) > MAX_ROUTES:
        return None
    fixed = tuple(
        tuple(
            (int(option.slot[way]), int(option.only[way]))
            for option, way in zip(options[position], ways, strict=True)
        )
        for position, labels, _ in found
        for ways in labels.arcs[:, :, 1].tolist()
    )
    empty = np.zeros(0, np.int64)
    slot, pick, kind = (np.concatenate([empty, *column]) for column in zip(*chosen, strict=True))
    return Routes(
        np.concatenate([np.full(len(labels.state), position) for position, labels, _ in found]),
        np.concatenate([labels.entry for _, labels, _ in found]),
        np.concatenate([leave for _, _, leave in found]),
        tuple(labels.arcs for _, labels, _ in found),
        fixed,
        np.concatenate([labels.slots for _, labels, _ in found]).T.astype(np.float64),
        np.concatenate([labels.vector for _, labels, _ in found]),
        np.concatenate([labels.relaxed if little else labels.vector for _, labels, _ in found]),
        SlotVariants(slot, pick, kind, num_slots),
    )


def _stage_routes(
    folded: Folded,
    relaxation: Relaxation,
    position: int,
    value: float,
    most: NDArray[np.float64],
    options: list[Options],
    num_slots: int,
    few: NDArray[np.float64],
    passed: list[NDArray[np.bool_]] | None,
) -> _Labels | None:
    """Returns the routes of a stage, or None where they are too many."""
    path, around = relaxation.paths[position], relaxation.model.around[position]
    graph, price = path.graph, relaxation.model.price
    budget = value - relaxation.bound + price + 1e-9 * (abs(value) + abs(price))
    num_entries, size = len(graph.entries), len(folded.most)
    entries = np.arange(num_entries)
    none, nothing = np.zeros((num_entries, num_slots), np.int16), np.zeros((num_entries, size))
    labels = _Labels(
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
            _Labels(
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


def _undominated(labels: _Labels, few: NDArray[np.float64]) -> _Labels:
    """Returns labels none of which costs as much as another in the same place with the same slots, or ones that stand in."""
    place = np.concatenate([labels.entry[:, None], labels.state[:, None], labels.key], axis=1)
    _, group = np.unique(place, axis=0, return_inverse=True)
    order = np.lexsort((labels.length, group))
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    cost, least = labels.vector - labels.shift, labels.relaxed - labels.shift
    kept: list[int] = []
    for own in np.split(order, starts[1:]):
        better: list[int] = []
        for label in own.tolist():
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
