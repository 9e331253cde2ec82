"""What lies between cuts of a model, with the costs left out: which ops hand which values to which others."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from partitioner.jaxpr import num_bytes
from partitioner.passes.fold_blocks import ValueFlow

MoveForm = tuple[int, int, bool]
"""All that the cost of moving a value depends on: its bytes, its phase, and whether it carries latency and launch."""


class FlowShape(NamedTuple):
    """Says where a value of a block comes from and where it goes.

    Attributes:
        move: What the cost of moving it depends on.
        producer: Its producer among the block's ops; None for a value that enters.
        source: For a value that enters, which of these it is.
        consumers: Those of the block's ops that read it.
        leaves: Which of the values that leave the block it is; None for one that does not.
    """

    move: MoveForm
    producer: int | None
    source: int | None
    consumers: tuple[int, ...]
    leaves: int | None


class BlockShape(NamedTuple):
    """Lists the values of a block, and the phases of those that enter and leave."""

    flows: tuple[FlowShape, ...]
    entries: tuple[int, ...]
    exits: tuple[int, ...]


class BlockShapes:
    """Tells the shapes of ranges of paired ops that begin and end at cut points.

    Values are looked up by their producer and by the cuts they cross, so that all blocks together take one walk over the model.
    """

    def __init__(self, flows: Sequence[ValueFlow], cuts: Sequence[int]) -> None:
        self._flows = flows
        self._made: dict[int, list[int]] = {}
        self._crossing: dict[int, list[int]] = {cut: [] for cut in cuts}
        for number, flow in enumerate(flows):
            self._made.setdefault(flow.producer, []).append(number)
            for cut in cuts[bisect_right(cuts, flow.producer) : bisect_right(cuts, flow.last)]:
                self._crossing[cut].append(number)
        carriers = _carriers(flows)
        self._moves: list[MoveForm] = [
            (num_bytes(f.var), f.phase, n in carriers) for n, f in enumerate(flows)
        ]
        self.spans = tuple(itertools.pairwise(cuts))
        numbers: dict[Hashable, int] = {}
        shapes = (self.of(start, end) for start, end in self.spans)
        self.numbers = tuple(numbers.setdefault(shape, len(numbers)) for shape in shapes)

    def of(self, start: int, end: int) -> BlockShape:
        """Returns the shape of ops ``start`` to ``end``."""
        entering, leaving = self._crossing[start], self._crossing[end]
        made = [n for op in range(start, end) for n in self._made.get(op, ())]
        return BlockShape(
            tuple(self._flow(n, start, end, entering, leaving) for n in sorted([*entering, *made])),
            tuple(self._flows[n].phase for n in entering),
            tuple(self._flows[n].phase for n in leaving),
        )

    def _flow(
        self, number: int, start: int, end: int, entering: Sequence[int], leaving: Sequence[int]
    ) -> FlowShape:
        flow = self._flows[number]
        readers = flow.consumers[bisect_left(flow.consumers, start) : bisect_left(flow.consumers, end)]
        inside = flow.producer >= start
        return FlowShape(
            self._moves[number],
            flow.producer - start if inside else None,
            None if inside else entering.index(number),
            tuple(c - start for c in readers),
            leaving.index(number) if flow.last >= end else None,
        )


def _carriers(flows: Sequence[ValueFlow]) -> frozenset[int]:
    """Returns the flows that carry latency and launch: the one into each op that is made last.

    What an op waits for is the value made last, so a change of device shows there; others came before or travel with it.
    """
    last: dict[tuple[int, int], int] = {}
    for n, flow in enumerate(flows):
        for consumer in flow.consumers:
            known = last.get((flow.phase, consumer))
            if known is None or flows[known].producer <= flow.producer:
                last[flow.phase, consumer] = n
    return frozenset(last.values())
