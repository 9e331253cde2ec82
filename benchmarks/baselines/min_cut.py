"""Placement on two tiers by a minimum cut: exact where there are no capacities and an op runs on one tier in all phases.

Every op is a node; the source's side is the first tier, the sink's side the second. A value costs its move once if any of its
readers is on the other side, which takes one more node per value and direction.
"""

from __future__ import annotations

import networkx as nx

from partitioner.placement.evaluate import Chosen
from partitioner.placement.problem import Block, Choice, Problem

_FIRST, _SECOND = "first", "second"


def min_cut(problem: Problem) -> Chosen:
    """Returns the fastest placement on the first two tiers that puts each op on one of them in all phases.

    Capacities and links are not looked at: whether it fits, and what links add, :func:`breakdown` tells.

    Raises:
        ValueError: If an op has no variant that runs on one of the two tiers alone.
    """
    graph = nx.DiGraph()
    graph.add_nodes_from((_FIRST, _SECOND))
    live: list[object] = [(_FIRST, _SECOND)[problem.entry_tier]] * len(problem.stages[0].block.entries)
    options: list[list[list[list[int | None]]]] = []
    for s, stage in enumerate(problem.stages):
        fastest = [_fastest(choice) for choice in stage.block.choices]
        options.append([])
        for i in range(stage.count):
            for c, (choice, picks) in enumerate(zip(stage.block.choices, fastest, strict=True)):
                _add_op(graph, (s, i, c), choice, picks)
            live = _add_values(graph, stage.block, (s, i), live)
            options[-1].append(fastest)
    _, (first, _) = nx.minimum_cut(graph, _FIRST, _SECOND)

    def pick(s: int, i: int, c: int, picks: list[int | None]) -> int:
        side = 0 if (s, i, c) in first else 1
        found = picks[side]
        assert found is not None, "an edge without capacity keeps an op from a tier it has no variant for"
        return found

    return tuple(
        tuple(tuple(pick(s, i, c, p) for c, p in enumerate(instance)) for i, instance in enumerate(instances))
        for s, instances in enumerate(options)
    )


def _fastest(choice: Choice) -> list[int | None]:
    """Returns for each of the two tiers the fastest variant that runs on it alone."""
    found: list[int | None] = [None, None]
    for tier in (0, 1):
        fitting = [
            (sum(v.seconds), n) for n, v in enumerate(choice.variants) if set(v.tiers) - {None} <= {tier}
        ]
        found[tier] = min(fitting)[1] if fitting else None
    if found == [None, None]:
        raise ValueError(f"{choice.name!r} has no variant on one of the first two tiers alone")
    return found


def _add_op(graph: nx.DiGraph, node: object, choice: Choice, picks: list[int | None]) -> None:
    """Lets an op cost its seconds on either side; an edge without capacity cannot be cut."""
    for tier, (start, end) in enumerate(((node, _SECOND), (_FIRST, node))):
        pick = picks[tier]
        if pick is None:
            graph.add_edge(start, end)
        else:
            graph.add_edge(start, end, capacity=sum(choice.variants[pick].seconds))


def _add_values(
    graph: nx.DiGraph, block: Block, instance: tuple[int, int], live: list[object]
) -> list[object]:
    """Adds what moves of the block's values cost; returns the nodes of what leaves it."""
    exits: list[object] = [None] * len(block.exits)
    for n, flow in enumerate(block.flows):
        source = live[flow.source] if flow.source is not None else (*instance, flow.producer)
        if flow.leaves is not None:
            exits[flow.leaves] = source
        readers = [
            (*instance, c)
            for c in set(flow.consumers)
            if any(v.tiers[flow.phase] is not None for v in block.choices[c].variants)
        ]
        if not readers or len(flow.move_s) < 2:
            continue
        down, up = (*instance, "down", n), (*instance, "up", n)
        graph.add_edge(source, down, capacity=flow.move_s[0][1])
        graph.add_edge(up, source, capacity=flow.move_s[1][0])
        for reader in readers:
            graph.add_edge(down, reader)
            graph.add_edge(reader, up)
    return exits
