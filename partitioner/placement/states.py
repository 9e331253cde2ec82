"""A block as a layered graph: every path from left to right is one way to place the block, and costs add up along it.

A *state* says of each live value what still matters (see ``flow_status``); deciding a choice leads from each state, by each
variant, to one state of the next layer. So the placements of a block are paths, and neither moves nor capacities need a
product over all choices.

Where a variant leads depends on the tiers it runs on alone. Variants of one choice with equal tiers are one *way*; the hundreds
of splits of an attention are one arc per state, with a list of variants beside it.

Letters in the shapes below: S states, V variants, W ways, D components of a cost vector (``components``), E entries, X exits. A
*boundary* is the tuple of tiers on which the values live between two blocks were produced.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.components import variant_vectors, vector_size
from partitioner.placement.flow_status import FlowStatuses, flow_statuses
from partitioner.placement.problem import Block, Choice, Problem

Boundary = tuple[int, ...]

MAX_ARCS = 400_000
"""Blocks with more arcs in one layer than this (wide ones, with many values live at once) are not made into graphs."""

DENSE = 8
"""Rows are told apart by a table where there are at most so many codes for each, else by sorting them."""


class TooManyStatesError(Exception):
    """Says that a block has too many states for the folded method."""


@dataclass(frozen=True)
class Layer:
    """Holds one choice in every state.

    Attributes:
        way: [V] the way of each variant.
        variant: [V D] cost of each variant, moves left aside.
        target: [S W] the state of the next layer.
        move: [S W D] cost of the moves that a way asks for.
    """

    way: NDArray[np.int64]
    variant: NDArray[np.float64]
    target: NDArray[np.int64]
    move: NDArray[np.float64]

    @property
    def num_arcs(self) -> int:
        """Returns the number of arcs, and of variants to choose from along them."""
        return self.target.size + len(self.way)

    @cached_property
    def by_way(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the variants by way, and where each way begins among them."""
        order = np.argsort(self.way, kind="stable")
        return order, np.flatnonzero(np.diff(self.way[order], prepend=-1))


@dataclass(frozen=True)
class BlockGraph:
    """Holds the layered graph of a block.

    Attributes:
        entries: The boundaries with which the block may begin.
        exits: The boundaries with which it may end.
        roots: [E] state of the first layer of each entry.
        layers: One per choice.
        leaves: The exit of each state after the last choice.
        size: D, the number of components.
    """

    entries: tuple[Boundary, ...]
    exits: tuple[Boundary, ...]
    roots: NDArray[np.int64]
    layers: tuple[Layer, ...]
    leaves: NDArray[np.int64]
    size: int

    @property
    def num_arcs(self) -> int:
        """Returns the number of arcs and variants in all layers."""
        return sum(layer.num_arcs for layer in self.layers)


def reachable_exits(block: Block, entries: tuple[Boundary, ...]) -> tuple[Boundary, ...]:
    """Returns the boundaries with which a block may end, sorted."""
    leaving = sorted((f for f in block.flows if f.leaves is not None), key=lambda f: f.leaves or 0)
    producers = sorted({f.producer for f in leaving if f.producer is not None})
    ways = [sorted(block.choices[p].ways, key=str) for p in producers]
    exits: set[Boundary] = set()
    for entry in entries:
        for tiers in itertools.product(*ways):
            placed = dict(zip(producers, tiers, strict=True))
            exits.add(
                tuple(
                    entry[f.source] if f.source is not None else placed[f.producer or 0][f.phase] or 0
                    for f in leaving
                )
            )
    return tuple(sorted(exits))


def block_graph(problem: Problem, block: Block, entries: tuple[Boundary, ...]) -> BlockGraph:
    """Builds the layered graph of a block.

    Raises:
        TooManyStatesError: A layer has more than ``MAX_ARCS`` arcs.
    """
    values = [flow_statuses(block, flow, len(problem.tiers)) for flow in block.flows]
    live = [value for value in values if value.flow.producer is None and value.outlives(-1)]
    sources = [[entry[value.flow.source or 0] for value in live] for entry in entries]
    begin = np.array(
        [[int(value.initial[t]) for value, t in zip(live, row, strict=True)] for row in sources], np.int64
    ).reshape(len(entries), len(live))
    states, roots = _distinct(begin)
    layers: list[Layer] = []
    for position, choice in enumerate(block.choices):
        if len(states) * len(choice.ways) > MAX_ARCS:
            raise TooManyStatesError(f"block {block.name!r} has over {MAX_ARCS} arcs at {choice.name!r}")
        born = [value for value in values if value.flow.producer == position]
        layer, states, live = _expand(problem, choice, position, states, live, born)
        layers.append(layer)
    exits, leaves = _distinct(_leaving(live, states))
    boundaries = tuple(tuple(int(t) for t in row) for row in exits)
    return BlockGraph(entries, boundaries, roots, tuple(layers), leaves, vector_size(problem))


def _leaving(live: list[FlowStatuses], states: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns for each state [S] the producers' tiers of the values that leave, in the order of the exits."""
    columns = {
        v.flow.leaves: v.producers[states[:, c]] for c, v in enumerate(live) if v.flow.leaves is not None
    }
    empty = np.zeros((len(states), 0), np.int64)
    return np.stack([columns[leaves] for leaves in sorted(columns)], axis=1) if columns else empty


def _expand(
    problem: Problem,
    choice: Choice,
    position: int,
    states: NDArray[np.int64],
    live: list[FlowStatuses],
    born: list[FlowStatuses],
) -> tuple[Layer, NDArray[np.int64], list[FlowStatuses]]:
    """Decides one choice in every state: returns its layer, the next states and the values they are about."""
    ways = choice.ways
    number = {tiers: n for n, tiers in enumerate(ways)}
    num_states, num_ways = len(states), len(ways)
    vectors = variant_vectors(problem, choice)
    move = np.zeros((num_states, num_ways, vectors.shape[1]))
    columns: list[NDArray[np.int64]] = []
    staying: list[FlowStatuses] = []
    for column, value in enumerate(live):
        step = value.steps[position - value.birth]
        ran = [way[value.flow.phase] for way in ways]
        tiers = np.array([len(problem.tiers) if tier is None else tier for tier in ran])
        move[:, :, value.flow.phase] += step.paid_s[states[:, column]][:, tiers]
        if value.outlives(position):
            staying.append(value)
            columns.append(step.following[states[:, column]][:, tiers].ravel())
    for value in born:
        if not value.outlives(position):
            continue
        placed = np.array([way[value.flow.phase] or 0 for way in ways])
        staying.append(value)
        columns.append(np.tile(value.initial[placed], num_states))
    rows = np.stack(columns, axis=1) if columns else np.zeros((num_states * num_ways, 0), np.int64)
    following, target = _distinct(rows)
    way = np.array([number[tiers] for tiers in choice.ran], np.int64)
    return Layer(way, vectors, target.reshape(num_states, num_ways), move), following, staying


def _distinct(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the distinct rows, sorted, and for each row its index among them."""
    code = np.zeros(len(rows), np.int64)
    for column in rows.T:
        radix = int(column.max(initial=0)) + 1
        if radix > 1 and int(code.max(initial=0)) > np.iinfo(np.int64).max // (2 * radix):
            code = np.unique(code, return_inverse=True)[1].reshape(-1)
        code = code * radix + column
    num_codes = int(code.max(initial=-1)) + 1
    if num_codes > DENSE * len(code):
        _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
        return rows[first], inverse.reshape(-1)
    first = np.full(num_codes, -1)
    first[code[::-1]] = np.arange(len(code))[::-1]
    used = first >= 0
    return rows[first[used]], (used.cumsum() - 1)[code]
