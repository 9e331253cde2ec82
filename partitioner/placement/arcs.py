"""The arcs of the blocks' graphs that a better placement could make use of, and the variants along them.

With the prices of a relaxation, the cheapest placement along an arc must stay below the best known objective.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.balance import boundaries
from partitioner.placement.folded import Folded
from partitioner.placement.goal import Goal
from partitioner.placement.proof import Proof
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.states import Layer

FEW_VARIANTS = 12
"""Slots with at most this many variants are never thinned."""


@dataclass(frozen=True)
class Arcs:
    """Holds arcs of the stages' graphs; a stage's graph is closed by arcs from nodes to states and from states to nodes.

    A *slot* is one way of one choice of a stage: its arcs lead from different states, and each instance that goes along one of
    them takes one of the slot's variants.

    Attributes:
        stage: Of each arc the stage.
        source: The vertex it comes from, numbered over all stages: first the nodes of all stages, then the states.
        target: The vertex it leads to.
        slot: Its slot, or -1 for arcs from and to nodes.
        move: [arcs D] the cost of its moves.
        num_vertices: Number of vertices.
        variants: The variants to choose from.
        drift: [D] what placements along arcs that were left out for others may cost less than along these.
    """

    stage: NDArray[np.int64]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    slot: NDArray[np.int64]
    move: NDArray[np.float64]
    num_vertices: int
    variants: SlotVariants
    drift: NDArray[np.float64]

    @property
    def begins(self) -> NDArray[np.bool_]:
        """Returns which arcs lead from a node into a block."""
        return (self.slot < 0) & (self.source < self.target)

    @property
    def size(self) -> int:
        """Returns the number of arcs that stand for a way, and of variants."""
        return int((self.slot >= 0).sum()) + len(self.variants.slot)


@dataclass(frozen=True)
class SlotVariants:
    """Holds the variants of all slots.

    Attributes:
        slot: Of each variant the slot.
        pick: Its index in its choice.
        kind: Its kind.
        num_slots: Number of slots.
    """

    slot: NDArray[np.int64]
    pick: NDArray[np.int64]
    kind: NDArray[np.int64]
    num_slots: int


def kept_arcs(
    folded: Folded,
    goal: Goal,
    relaxations: list[Relaxation],
    value: float,
    *,
    thin: bool = False,
    along: Sequence[NDArray[np.int64]] | None = None,
    drift: NDArray[np.float64] | float = 0.0,
) -> Arcs:
    """Returns the arcs of placements that may be as good as a value: alone, and by some of the relaxations.

    Args:
        folded: The problem.
        goal: What is minimised.
        relaxations: Solved relaxations.
        value: The value.
        thin: Keep few of many variants in a slot (see ``thinned``).
        along: For each stage [routes layers 2] states and ways, if no others are to be kept.
        drift: See ``Arcs``.
    """
    most = goal.most_on_one(value)
    meeting = boundaries(folded)
    first = int(meeting.first_node[-1]) + folded.stages[-1].num_nodes
    parts: list[tuple[NDArray[np.int64], ...]] = []
    moves: list[NDArray[np.float64]] = []
    options: list[tuple[NDArray[np.int64], ...]] = []
    num_slots = 0

    def add(stage: int, source: NDArray[np.int64], target: NDArray[np.int64]) -> None:
        parts.append((np.full(len(source), stage), source, target, np.full(len(source), -1)))
        moves.append(np.zeros((len(source), len(folded.most))))

    for position, stage in enumerate(folded.stages):
        graph, node = stage.graph, int(meeting.first_node[position])
        masks = [within(relaxation, position, value) for relaxation in relaxations]
        add(position, node + np.arange(len(graph.entries)), first + graph.roots)
        for number, layer in enumerate(graph.layers):
            on_arc, extra = (np.min([mask[number][i] for mask in masks], axis=0) for i in (0, 1))
            small = (layer.move <= most).all(axis=2)
            pick = np.flatnonzero((layer.variant <= most).all(axis=1) & (extra <= 0))
            if thin:
                pick = thinned(layer, pick, extra)
            has_variant = np.isin(np.arange(layer.target.shape[1]), layer.way[pick])
            allowed = small & (on_arc <= 0) & has_variant
            if along is not None:
                passed = np.zeros(allowed.shape, bool)
                passed[along[position][:, number, 0], along[position][:, number, 1]] = True
                allowed &= passed
            state, way = np.nonzero(allowed)
            following = first + len(layer.target)
            target = following + layer.target[state, way]
            parts.append((np.full(len(state), position), first + state, target, num_slots + way))
            moves.append(layer.move[state, way])
            options.append((num_slots + layer.way[pick], pick, folded.kinds.of[position][number][pick]))
            num_slots += layer.target.shape[1]
            first = following
        add(position, first + np.arange(len(graph.leaves)), node + stage.onward[graph.leaves])
        first += len(graph.leaves)
    stages, source, target, slot = (np.concatenate(column) for column in zip(*parts, strict=True))
    empty = np.zeros(0, np.int64)
    chosen = [np.concatenate([empty, *column]) for column in zip(*options, strict=True)] or [empty] * 3
    variants = SlotVariants(chosen[0], chosen[1], chosen[2], num_slots)
    return Arcs(
        stages,
        source,
        target,
        slot,
        np.concatenate(moves),
        first,
        variants,
        drift + np.zeros(len(folded.most)),
    )


def thinned(layer: Layer, picks: NDArray[np.int64], extra: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns a few of many variants: for each way, component and number there the nearest to the bound, first and last.

    Where an attention is split, hundreds of splits are equally good to a mixture. Those kept make every amount of any tier's
    memory possible, beside every extreme of the others.
    """
    kept: set[int] = set()
    for way in np.unique(layer.way[picks]):
        own = picks[layer.way[picks] == way]
        if len(own) <= FEW_VARIANTS:
            kept.update(own.tolist())
            continue
        order = own[
            np.argsort(np.round(extra[own] / max(1e-300, -float(extra[own].min())), 6), kind="stable")
        ]
        for column in layer.variant.T:
            for turn in (order, _last_first(order, extra)):
                _, first = np.unique(column[turn], return_index=True)
                kept.update(turn[first].tolist())
    return np.array(sorted(kept), np.int64)


def _last_first(order: NDArray[np.int64], extra: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns variants by their distance from the bound, the last of equally distant ones first."""
    backwards = order[::-1]
    return backwards[
        np.argsort(np.round(extra[backwards] / max(1e-300, -float(extra[order].min())), 6), kind="stable")
    ]


def within(
    proof: Proof, position: int, value: float
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Returns for each layer of a stage's graph by how much the cheapest placement along arcs exceeds a value.

    Two arrays: for arcs [S W], and for variants [V] along the best of their arcs.
    """
    price = proof.model.price
    budget = value - proof.bound + price + 1e-9 * (abs(value) + abs(price))
    return [
        (arcs - budget, best - budget + priced.extra)
        for (arcs, best), priced in zip(proof.through[position], proof.paths[position].layers, strict=True)
    ]
