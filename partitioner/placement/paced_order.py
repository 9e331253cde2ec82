"""A solved placement in another order: instances of a block take their turns so that streams keep pace with the chain.

The account does not mind where in the model a layer stands that streams its weights, the schedule does: streams run ahead only
as far as there are buffers. A search puts equal layers together, since each change of tier moves activations. Where that leaves
a link idle while layers that need no stream run, more moves are the smaller evil.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.evaluate import Chosen, breakdown
from partitioner.placement.problem import Block, Problem
from partitioner.placement.turns import in_turns

Picks = tuple[int, ...]


def paced_order(problem: Problem, chosen: Chosen) -> Chosen | None:
    """Returns the same picks of every stage in an order that spreads what streams bring, or None where it is the same order.

    Only the busiest stream of each phase counts, and only phases that have one. Capacities are kept, since memory does not
    depend on the order; the objective may grow by moves.
    """
    streams = busiest_streams(problem, breakdown(problem, chosen).busy_s)
    if not streams:
        return None
    ordered = tuple(
        tuple(in_turns(Counter(sorted(instances)), _paces(problem, stage.block, instances, streams)))
        for stage, instances in zip(problem.stages, chosen, strict=True)
    )
    return None if ordered == chosen else ordered


def busiest_streams(problem: Problem, busy_s: Sequence[float]) -> list[int]:
    """Returns for each phase that has streams the one with most to bring."""
    busiest: dict[int, int] = {}
    for number in sorted(range(len(busy_s)), key=lambda n: busy_s[n]):
        if busy_s[number] > 0.0:
            busiest[problem.resources[number][1]] = number
    return list(busiest.values())


def _paces(
    problem: Problem, block: Block, instances: Sequence[Picks], streams: Sequence[int]
) -> dict[Picks, NDArray[np.float64]]:
    """Returns for each instance's picks [S] the seconds by which each stream gets ahead of its share of the chain."""
    loads = {picks: _loads(problem, block, picks, streams) for picks in sorted(set(instances))}
    stream_s, chain_s = np.sum([loads[picks] for picks in sorted(instances)], axis=0)
    pace = np.divide(stream_s, chain_s, out=np.zeros(len(streams)), where=chain_s > 0.0)
    return {picks: load - pace * chain for picks, (load, chain) in loads.items()}


def _loads(problem: Problem, block: Block, picks: Picks, streams: Sequence[int]) -> NDArray[np.float64]:
    """Returns [2 S]: for each stream the seconds of one instance on it, and on the chain that it runs under."""
    loads = np.zeros((2, len(streams)))
    for choice, pick in zip(block.choices, picks, strict=True):
        variant = choice.variants[pick]
        busy = dict(variant.busy)
        for position, stream in enumerate(streams):
            loads[0, position] += busy.get(stream, 0.0)
            loads[1, position] += variant.seconds[problem.resources[stream][1]]
    return loads
