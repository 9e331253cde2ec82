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
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.arcs import SlotVariants, thinned, within
from partitioner.placement.columns import Column
from partitioner.placement.folded import Folded
from partitioner.placement.goal import HARD, UNASKED, Goal
from partitioner.placement.proof import Proof
from partitioner.placement.route_labels import MAX_ROUTES, Labels, stage_routes
from partitioner.placement.stand_ins import Options, options_of


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


def kept_routes(
    folded: Folded,
    goal: Goal,
    proof: Proof,
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
        proof: What the prices of a relaxation prove.
        value: The value.
        thin: Keep few of many variants in a slot (see ``thinned``).
        little: Share of the value, and of capacities, that does not matter.
        along: Columns, if only arcs are to be followed that some of them take.
    """
    most, price = goal.most_on_one(value), proof.price
    size = np.maximum(np.where(goal.group == HARD, np.abs(goal.limit), value), 1e-300)
    size[goal.group == UNASKED] = np.inf
    few = np.full(len(size), np.inf)
    few[goal.asked] = little * size[goal.asked] / folded.num_instances
    options: list[list[Options]] = []
    chosen: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    num_slots = 0
    for position, stage in enumerate(folded.stages):
        alike: dict[tuple[bytes, bytes], tuple[list[int], list[NDArray[np.int64]]]] = {}
        masks = within(proof, position, value)
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
    found: list[tuple[int, Labels, NDArray[np.int64]]] = []
    for position, stage in enumerate(folded.stages):
        labels = stage_routes(folded, proof, position, value, most, options[position], num_slots, few, along)
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
