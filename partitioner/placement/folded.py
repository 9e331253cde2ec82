"""A problem with repeated blocks kept once: a layered graph per stage, and the boundaries between stages.

Everything here is independent of how often a block is repeated. The boundaries at which instances of a stage meet are its
*nodes*: a repeated block leads from node to node of one set, and the placements of a stage are walks over it.

At every node as many instances begin as end, but for the start and the end of the stage. Boundary variables say where these
are: one per entry of each stage, then one per exit of the last.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from partitioner.placement.components import first_tier_component
from partitioner.placement.problem import Problem
from partitioner.placement.stacked_layers import StackedLayers
from partitioner.placement.states import BlockGraph, Boundary, block_graph, reachable_exits
from partitioner.placement.tally import Kinds, kinds_of


@dataclass(frozen=True)
class FoldedStage:
    """Holds a stage's graph and how often it is repeated.

    Attributes:
        graph: The block's graph.
        count: Repetitions.
        onward: [X] the node of each exit; the nodes of the entries are 0 to E - 1, and exits have nodes of their own where
            the block is not repeated.
        following: [X] for each exit its node as an entry of the next stage (its own index in the last stage).
    """

    graph: BlockGraph
    count: int
    onward: NDArray[np.int64]
    following: NDArray[np.int64]

    @property
    def num_nodes(self) -> int:
        """Returns the number of nodes."""
        num_entries = len(self.graph.entries)
        return num_entries if self.count > 1 else num_entries + len(self.graph.exits)


@dataclass(frozen=True)
class Boundaries:
    """Holds the boundary variables of a problem.

    Attributes:
        first: For each stage, and then for the end, the index of its first variable.
        upper: One where a stage may begin at that node, else zero.
        lower: One for the start of the model.
        balance: [all nodes of all stages, variables] what they add to instances that begin minus instances that end.
        first_node: For each stage the row of its first node.
        num_nodes: Number of rows.
    """

    first: NDArray[np.int64]
    upper: NDArray[np.float64]
    lower: NDArray[np.float64]
    balance: csr_array
    first_node: NDArray[np.int64]
    num_nodes: int


@dataclass(frozen=True)
class Folded:
    """Holds the stages of a problem.

    Attributes:
        stages: The stages in order.
        start: The node of the first stage where the model begins.
        most: [D] a vector that no placement exceeds.
        kinds: The kinds of variants.
        first_tier: Index among the D of the bytes on the first tier.
        num_tiers: How many tiers there are.
    """

    stages: tuple[FoldedStage, ...]
    start: int
    most: NDArray[np.float64]
    kinds: Kinds
    first_tier: int
    num_tiers: int

    @property
    def num_arcs(self) -> int:
        """Returns the number of arcs in all graphs."""
        return sum(stage.graph.num_arcs for stage in self.stages)

    @property
    def num_instances(self) -> int:
        """Returns the number of blocks, repeated ones counted as often as they are."""
        return sum(stage.count for stage in self.stages)

    @cached_property
    def stacked(self) -> StackedLayers:
        """Returns the layers of all stages in one."""
        layers = [layer for stage in self.stages for layer in stage.graph.layers]
        return StackedLayers.of(layers, self.kinds.tiers.shape[1])

    @cached_property
    def boundaries(self) -> Boundaries:
        """Returns the boundary variables of the problem."""
        stages = self.stages
        sizes = [*(len(stage.graph.entries) for stage in stages), len(stages[-1].graph.exits)]
        first = np.cumsum([0, *sizes])
        first_node = np.cumsum([0, *(stage.num_nodes for stage in stages)])
        upper, lower = np.zeros(first[-1]), np.zeros(first[-1])
        upper[self.start] = lower[self.start] = 1.0
        rows, columns, values = [], [], []
        for position, stage in enumerate(stages):
            entries = np.arange(len(stage.graph.entries))
            upper[first[position + 1] + stage.following] = 1.0
            rows += [first_node[position] + entries, first_node[position] + stage.onward]
            columns += [first[position] + entries, first[position + 1] + stage.following]
            values += [-np.ones(len(entries)), np.ones(len(stage.onward))]
        index = (np.concatenate(rows), np.concatenate(columns))
        balance = csr_array((np.concatenate(values), index), shape=(first_node[-1], first[-1]))
        return Boundaries(first[:-1], upper, lower, balance, first_node[:-1], int(first_node[-1]))


def fold(problem: Problem) -> Folded:
    """Builds the graphs of all stages; equal blocks with equal entries share one.

    Raises:
        TooManyStatesError: A block has too many states.
    """
    entries: tuple[Boundary, ...] = ((problem.entry_tier,) * len(problem.stages[0].block.entries),)
    graphs: list[BlockGraph] = []
    known: dict[Hashable, BlockGraph] = {}
    for stage in problem.stages:
        exits = reachable_exits(stage.block, entries)
        while stage.count > 1 and not set(exits) <= set(entries):
            entries = tuple(sorted({*entries, *exits}))
            exits = reachable_exits(stage.block, entries)
        block = stage.block
        key = (*map(id, block.choices), block.flows, block.entries, block.exits, entries)
        if key not in known:
            known[key] = block_graph(problem, block, entries)
        graphs.append(known[key])
        entries = graphs[-1].exits
    stages: list[FoldedStage] = []
    for position, (stage, graph) in enumerate(zip(problem.stages, graphs, strict=True)):
        last = position == len(graphs) - 1
        after = graph.exits if last else graphs[position + 1].entries
        own = np.arange(len(graph.exits)) + len(graph.entries)
        onward = _indices(graph.exits, graph.entries) if stage.count > 1 else own
        stages.append(FoldedStage(graph, stage.count, onward, _indices(graph.exits, after)))
    start = graphs[0].entries.index((problem.entry_tier,) * len(problem.stages[0].block.entries))
    most = sum((_most(stage) for stage in stages), np.zeros(stages[0].graph.size))
    kinds = kinds_of(problem, [[layer.variant for layer in graph.layers] for graph in graphs])
    return Folded(tuple(stages), start, most, kinds, first_tier_component(problem), len(problem.tiers))


def _most(stage: FoldedStage) -> NDArray[np.float64]:
    largest = [layer.move.max(axis=(0, 1)) + layer.variant.max(axis=0) for layer in stage.graph.layers]
    return stage.count * (1 + 1e-9) * sum(largest, np.zeros(stage.graph.size))


def _indices(boundaries: tuple[Boundary, ...], among: tuple[Boundary, ...]) -> NDArray[np.int64]:
    index = {boundary: number for number, boundary in enumerate(among)}
    return np.array([index[boundary] for boundary in boundaries], np.int64)
