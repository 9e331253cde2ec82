"""Makes blocks out of ranges of paired ops, and tells which ranges are alike without making them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Sequence

from partitioner.costing import Costing
from partitioner.jaxpr import num_bytes
from partitioner.passes.fold_blocks import ValueFlow
from partitioner.placement.problem import Block, Choice, Flow, Variant
from partitioner.tier_links import TIERS

MoveForm = tuple[int, int, bool]
"""All that the cost of moving a value depends on: its bytes, its phase, and whether it carries latency and launch."""


class BlockMaker:
    """Makes blocks out of ranges of paired ops that begin and end at cut points.

    Values are looked up by their producer and by the cuts they cross, so that all blocks together take one walk over the model.
    """

    def __init__(
        self,
        flows: Sequence[ValueFlow],
        cuts: Sequence[int],
        choices: Sequence[Choice],
        costing: Costing,
        steps: Sequence[float],
    ) -> None:
        self._flows, self._choices, self._costing, self._steps = flows, choices, costing, steps
        self._forms = _numbered(choices)
        self._made: dict[int, list[int]] = {}
        self._crossing: dict[int, list[int]] = {cut: [] for cut in cuts}
        for number, flow in enumerate(flows):
            self._made.setdefault(flow.producer, []).append(number)
            for cut in cuts[bisect_right(cuts, flow.producer) : bisect_right(cuts, flow.last)]:
                self._crossing[cut].append(number)
        carriers = _carriers(flows)
        self._move_forms: list[MoveForm] = [
            (num_bytes(f.var), f.phase, n in carriers) for n, f in enumerate(flows)
        ]
        self._moves: dict[MoveForm, tuple[tuple[float, ...], ...]] = {}

    def form(self, start: int, end: int) -> Hashable:
        """Returns what tells the block of ops ``start`` to ``end`` from others: equal forms, equal blocks."""
        entering, leaving = self._crossing[start], self._crossing[end]
        flows = tuple(
            (self._move_forms[n], self._ends(n, start, end, entering, leaving))
            for n in self._within(start, end)
        )
        return (tuple(self._forms[start:end]), flows, len(entering), len(leaving))

    def block(self, start: int, end: int) -> Block:
        """Returns the block of ops ``start`` to ``end``."""
        entering, leaving = self._crossing[start], self._crossing[end]
        flows: list[Flow] = []
        for n in self._within(start, end):
            producer, source, consumers, leaves = self._ends(n, start, end, entering, leaving)
            phase = self._flows[n].phase
            form = self._move_forms[n]
            ends = (producer, source, consumers, leaves)
            flows.append(Flow(phase, *ends, self._move_s(form), self._launch_s(form)))
        return Block(
            name=self._choices[start].name,
            choices=tuple(self._choices[start:end]),
            flows=tuple(flows),
            entries=tuple(self._flows[n].phase for n in entering),
            exits=tuple(self._flows[n].phase for n in leaving),
        )

    def _within(self, start: int, end: int) -> list[int]:
        made = [n for op in range(start, end) for n in self._made.get(op, ())]
        return sorted([*self._crossing[start], *made])

    def _ends(
        self, number: int, start: int, end: int, entering: Sequence[int], leaving: Sequence[int]
    ) -> tuple[int | None, int | None, tuple[int, ...], int | None]:
        """Returns producer, source, consumers and exit of a value, in a block's numbers."""
        flow = self._flows[number]
        readers = flow.consumers[bisect_left(flow.consumers, start) : bisect_left(flow.consumers, end)]
        inside = flow.producer >= start
        return (
            flow.producer - start if inside else None,
            None if inside else entering.index(number),
            tuple(c - start for c in readers),
            leaving.index(number) if flow.last >= end else None,
        )

    def _launch_s(self, form: MoveForm) -> tuple[float, ...]:
        """Returns for each tier what launching it costs where a value is what it waits for."""
        _, phase, carries = form
        return tuple(self._steps[phase] * self._costing.launch_s(t) for t in TIERS) if carries else ()

    def _move_s(self, form: MoveForm) -> tuple[tuple[float, ...], ...]:
        if form not in self._moves:
            size, phase, carries = form
            costing, steps = self._costing, self._steps[phase]
            has = [bool(costing.hw.gpus), True, bool(costing.links.drives)]

            def seconds(src: int, dst: int) -> float:
                if src == dst or not (has[src] and has[dst]):
                    return 0.0
                a, b = TIERS[src], TIERS[dst]
                fixed = costing.links.latency_s(a, b) + costing.launch_s(b) if carries else 0.0
                return steps * (costing.links.transfer_s(size, a, b) + fixed)

            self._moves[form] = tuple(tuple(seconds(s, d) for d in range(3)) for s in range(3))
        return self._moves[form]


def _numbered(choices: Sequence[Choice]) -> list[tuple[str, int]]:
    """Returns (name, number) of each choice, equal variants with equal numbers; what alike ops share is hashed once."""
    of_tuple: dict[int, int] = {}
    of_value: dict[tuple[Variant, ...], int] = {}
    forms: list[tuple[str, int]] = []
    for choice in choices:
        known = of_tuple.get(id(choice.variants))
        if known is None:
            known = of_tuple[id(choice.variants)] = of_value.setdefault(choice.variants, len(of_value))
        forms.append((choice.name, known))
    return forms


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
