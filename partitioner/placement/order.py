"""From instances on arcs to instances in order.

The arcs of a stage make up one connected graph in which as many lead into each vertex as out of it, so there is a walk that
goes along each as often as the solution says (Euler); cut at the nodes it gives the instances. These are then put in an order
in which equal ones follow each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.arcs import Arcs, SlotVariants
from partitioner.placement.balance import boundaries
from partitioner.placement.columns import Column, column
from partitioner.placement.folded import Folded, FoldedStage
from partitioner.placement.turns import in_turns


@dataclass(frozen=True)
class Detached:
    """Says that some instances of a stage form rounds of their own, which no walk from its start can reach.

    Attributes:
        stage: Index of the stage.
        vertices: The vertices of these rounds.
    """

    stage: int
    vertices: frozenset[int]


def stage_columns(
    folded: Folded,
    arcs: Arcs,
    on_arc: NDArray[np.int64],
    starts: NDArray[np.int64],
    on_variant: NDArray[np.int64],
) -> list[Counter[Column]] | Detached:
    """Returns for each stage its columns and how many instances make use of each, or what no walk can reach."""
    meeting = boundaries(folded)
    stages: list[Counter[Column]] = []
    waiting = waiting_picks(arcs.variants, on_variant)
    for position, stage in enumerate(folded.stages):
        first, node = int(meeting.first[position]), int(meeting.first_node[position])
        start = node + int(np.argmax(starts[first : first + len(stage.graph.entries)]))
        numbers = np.flatnonzero((arcs.stage == position) & (on_arc > 0))
        walk = _euler(arcs, {int(n): int(on_arc[n]) for n in numbers}, start)
        if len(walk) < int(on_arc[numbers].sum()):
            reached = {start, *(int(arcs.target[n]) for n in walk)}
            vertices = frozenset(int(v) for v in arcs.source[numbers] if int(v) not in reached)
            return Detached(position, vertices)
        known: dict[tuple[int, tuple[int, ...]], Column] = {}
        counted: Counter[Column] = Counter()
        length = len(stage.graph.layers) + 2
        ways = [
            (
                int(arcs.source[walk[begin]]) - node,
                tuple(int(arcs.slot[n]) for n in walk[begin + 1 : begin + length - 1]),
            )
            for begin in range(0, len(walk), length)
        ]
        for entry, slots in sorted(ways):
            picks = tuple(waiting[slot].pop() for slot in slots)
            if (entry, picks) not in known:
                known[entry, picks] = column(position, stage.graph, entry, picks)
            counted[known[entry, picks]] += 1
        stages.append(counted)
    return stages


def waiting_picks(variants: SlotVariants, on_variant: NDArray[np.int64]) -> dict[int, list[int]]:
    """Returns for each slot the variants its instances take, the first to be taken last."""
    waiting: dict[int, list[int]] = {}
    for n in np.flatnonzero(on_variant > 0)[::-1]:
        waiting.setdefault(int(variants.slot[n]), []).extend([int(variants.pick[n])] * int(on_variant[n]))
    return waiting


def _euler(arcs: Arcs, remaining: dict[int, int], start: int) -> list[int]:
    """Returns the arcs of a walk that goes along every arc it can reach as often as asked (Hierholzer's algorithm)."""
    leaving: dict[int, list[int]] = {}
    for number in sorted(remaining, reverse=True):
        leaving.setdefault(int(arcs.source[number]), []).append(number)
    stack: list[tuple[int, int]] = [(start, -1)]
    walk: list[int] = []
    while stack:
        vertex, number = stack[-1]
        choices = leaving.get(vertex, [])
        if choices:
            taken = choices[-1]
            remaining[taken] -= 1
            if not remaining[taken]:
                choices.pop()
            stack.append((int(arcs.target[taken]), taken))
        else:
            stack.pop()
            if number >= 0:
                walk.append(number)
    return walk[::-1]


def in_order(
    folded: Folded,
    stages: list[Counter[Column]],
    first: int,
    chain: int,
    streams: Sequence[int],
) -> list[list[Column]]:
    """Returns for each stage its columns in the order of its instances.

    Instances of one column follow each other, and columns with most at component ``first`` of the cost vector come first,
    where the boundaries leave a choice. Columns with different loads at ``streams`` come in an order in which these keep pace
    with the seconds at ``chain`` instead (see ``_paced``).
    """
    ordered: list[list[Column]] = []
    node = folded.start
    for stage, counted in zip(folded.stages, stages, strict=True):
        columns = sorted(counted, key=lambda column: (-column.vector[first], column.entry, column.picks))
        loads = {tuple(column.vector[list(streams)]) for column in columns}
        uses = [(column, counted[column]) for column in columns]
        ordered.append(_trail(stage, uses, node, chain, streams if len(loads) > 1 else ()))
        node = int(stage.following[ordered[-1][-1].leave])
    return ordered


def _trail(
    stage: FoldedStage, uses: list[tuple[Column, int]], start: int, chain: int, streams: Sequence[int]
) -> list[Column]:
    """Returns an Euler trail over the nodes, with the columns that stay at a node all at its first visit."""
    loops: dict[int, list[Column]] = {}
    leaving: dict[int, list[Column]] = {}
    for used, count in uses:
        stays = stage.count > 1 and stage.onward[used.leave] == used.entry
        (loops if stays else leaving).setdefault(used.entry, []).extend([used] * count)
    if streams:
        loops = {node: _paced(columns, chain, streams) for node, columns in loops.items()}
    for waiting in leaving.values():
        waiting.reverse()
    stack: list[tuple[int, Column | None]] = [(start, None)]
    moves: list[Column] = []
    while stack:
        node, column = stack[-1]
        if leaving.get(node):
            chosen = leaving[node].pop()
            stack.append((int(stage.onward[chosen.leave]), chosen))
        else:
            stack.pop()
            if column is not None:
                moves.append(column)
    trail = loops.pop(start, [])
    for column in reversed(moves):
        trail.append(column)
        trail.extend(loops.pop(int(stage.onward[column.leave]), []))
    return trail


def _paced(columns: list[Column], chain: int, streams: Sequence[int]) -> list[Column]:
    """Returns the same columns in an order in which streams keep pace with the chain they run under.

    Streams run ahead only as far as there are buffers, so what the busiest of them brings has to be spread over the seconds of
    the chain. The next column is the one after which the two are closest to the proportion that they have in all columns.
    """
    used = Counter(columns)
    load = sum((column.vector[list(streams)] for column in columns), np.zeros(len(streams)))
    busiest = streams[int(np.argmax(load))]
    seconds = sum(float(column.vector[chain]) for column in columns)
    pace = float(load.max()) / seconds if seconds else 0.0
    return in_turns(used, {c: c.vector[[busiest]] - pace * c.vector[[chain]] for c in used})
