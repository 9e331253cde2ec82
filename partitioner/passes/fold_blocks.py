"""Cuts a model into blocks where little is live, and folds repeated blocks into one with a count."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Op
from partitioner.jaxpr import Var


class PairedOp(NamedTuple):
    """Joins the same op in both phases; they share weights and caches."""

    name: str
    ops: tuple[Op | None, ...]


class ValueFlow(NamedTuple):
    """Names a value that ops of one phase hand on: its producer and consumers as indices of paired ops."""

    phase: int
    var: Var
    producer: int
    consumers: tuple[int, ...]

    @property
    def last(self) -> int:
        """Returns the last consumer."""
        return self.consumers[-1]


def pair_ops(graphs: Sequence[OpGraph]) -> tuple[PairedOp, ...]:
    """Returns the ops of all phases, paired by name, in an order that every phase can run in."""
    position = {op.name: i for graph in reversed(graphs) for i, op in enumerate(graph.ops)}
    position.update({op.name: i for i, op in enumerate(graphs[-1].ops)})
    by_name = [{op.name: op for op in graph.ops} for graph in graphs]
    names = sorted(position, key=lambda n: (position[n], n))
    place = {name: n for n, name in enumerate(names)}
    edges = [
        (graph.ops[producer].name, graph.ops[consumer].name)
        for graph in graphs
        for var, producer in graph.producer.items()
        for consumer in graph.consumers.get(var, ())
    ]
    if any(place[first] > place[second] for first, second in edges):
        order = nx.DiGraph(edges)
        order.add_nodes_from(names)
        names = list(nx.lexicographical_topological_sort(order, key=place.__getitem__))
    return tuple(PairedOp(n, tuple([ops.get(n) for ops in by_name])) for n in names)


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
    change = np.zeros((num_phases, num_ops + 2), np.int64)
    for flow in flows:
        change[flow.phase, flow.producer + 1] += 1
        change[flow.phase, flow.last + 1] -= 1
    live = change.cumsum(axis=1)[:, : num_ops + 1]
    return tuple(int(c) for c in np.flatnonzero((live <= 1).all(axis=0)))


def fold(blocks: Sequence[Hashable]) -> tuple[tuple[int, int, int], ...]:
    """Returns (start, period, count) triples that cover a sequence, repetitions folded, longest first found.

    The repetition that covers most elements is taken (the shortest period among equals), then what lies before and behind it.
    """
    number: dict[Hashable, int] = {}
    return _fold(np.array([number.setdefault(b, len(number)) for b in blocks], np.int64), 0)


def _fold(forms: NDArray[np.int64], offset: int) -> tuple[tuple[int, int, int], ...]:
    """Folds a part of a sequence that begins at ``offset``; each period is one comparison of the part with itself, shifted."""
    size = len(forms)
    best = (0, 0, 0)
    for period in range(1, size // 2 + 1):
        if size - size % period <= best[1] * best[2]:
            continue
        different = np.flatnonzero(forms[:-period] != forms[period:])
        edges = np.concatenate([[-1], different, [size - period]])
        counts = (np.diff(edges) - 1) // period + 1
        longest = int(np.argmax(counts))
        count = int(counts[longest])
        if count > 1 and count * period > best[1] * best[2]:
            best = (int(edges[longest]) + 1, period, count)
    start, period, count = best
    if not count:
        return tuple((offset + i, 1, 1) for i in range(size))
    end = start + period * count
    before = _fold(forms[:start], offset)
    return (*before, (offset + start, period, count), *_fold(forms[end:], offset + end))
