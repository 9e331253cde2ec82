"""Cuts a model into blocks where little is live, and folds repeated blocks into one with a count."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import networkx as nx

from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Op
from partitioner.jaxpr import Var


@dataclass(frozen=True)
class PairedOp:
    """Joins the same op in both phases; they share weights and caches."""

    name: str
    ops: tuple[Op | None, ...]


@dataclass(frozen=True)
class ValueFlow:
    """Names a value that ops of one phase hand on: its producer and consumers as indices of paired ops."""

    phase: int
    var: Var
    producer: int
    consumers: tuple[int, ...]

    @property
    def last(self) -> int:
        """Returns the last consumer."""
        return self.consumers[-1]


@dataclass(frozen=True)
class FoldedRange:
    """Says that paired ops ``start`` to ``start + count * length`` are ``count`` equal blocks of ``length`` ops."""

    start: int
    length: int
    count: int


def pair_ops(graphs: Sequence[OpGraph]) -> tuple[PairedOp, ...]:
    """Returns the ops of all phases, paired by name, in an order that every phase can run in."""
    order = nx.DiGraph()
    for graph in graphs:
        order.add_nodes_from(op.name for op in graph.ops)
        for var, index in graph.producer.items():
            order.add_edges_from(
                (graph.ops[index].name, graph.ops[c].name) for c in graph.consumers.get(var, ())
            )
    position = {op.name: i for graph in reversed(graphs) for i, op in enumerate(graph.ops)}
    position.update({op.name: i for i, op in enumerate(graphs[-1].ops)})
    by_name = [{op.name: op for op in graph.ops} for graph in graphs]
    names = nx.lexicographical_topological_sort(order, key=lambda n: (position[n], n))
    return tuple(PairedOp(n, tuple(ops.get(n) for ops in by_name)) for n in names)


def value_flows(graphs: Sequence[OpGraph], pairs: Sequence[PairedOp]) -> tuple[ValueFlow, ...]:
    """Returns every value that one op makes and others read, ordered by phase, producer and first use."""
    index = {pair.name: i for i, pair in enumerate(pairs)}
    flows: list[ValueFlow] = []
    for phase, graph in enumerate(graphs):
        for var, producer in graph.producer.items():
            readers = sorted({index[graph.ops[c].name] for c in graph.consumers.get(var, ())})
            if readers:
                flows.append(ValueFlow(phase, var, index[graph.ops[producer].name], tuple(readers)))
    return tuple(sorted(flows, key=lambda f: (f.phase, f.producer, f.consumers)))


def cut_points(num_ops: int, flows: Sequence[ValueFlow], num_phases: int) -> tuple[int, ...]:
    """Returns the positions at which at most one value per phase is live, 0 and the end among them."""
    live = [[0] * (num_ops + 1) for _ in range(num_phases)]
    for flow in flows:
        for cut in range(flow.producer + 1, flow.last + 1):
            live[flow.phase][cut] += 1
    return tuple(c for c in range(num_ops + 1) if all(row[c] <= 1 for row in live))


def fold(blocks: Sequence[Hashable]) -> tuple[tuple[int, int, int], ...]:
    """Returns (start, period, count) triples that cover a sequence, repetitions folded, longest first found.

    The repetition that covers most elements is taken (the shortest period among equals), then what lies before and behind it.
    """
    best = (0, 0, 0)
    for period in range(1, len(blocks) // 2 + 1):
        run = 0
        for i in range(len(blocks) - period):
            run = run + 1 if blocks[i] == blocks[i + period] else 0
            count = run // period + 1
            if run >= period and count * period > best[1] * best[2]:
                end = i + period + 1
                best = (end - period - run, period, count)
    start, period, count = best
    if not count:
        return tuple((i, 1, 1) for i in range(len(blocks)))
    end = start + period * count
    before = fold(blocks[:start])
    behind = tuple((s + end, p, c) for s, p, c in fold(blocks[end:]))
    return (*before, (start, period, count), *behind)
