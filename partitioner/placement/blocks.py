"""Makes blocks out of ranges of paired ops: their shapes with the costs of one mode."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from partitioner.costing import Costing
from partitioner.emulation_costs import crossing_s
from partitioner.placement.block_shapes import BlockShapes, MoveForm
from partitioner.placement.problem import Block, Choice, Flow
from partitioner.tier_links import TIERS


class BlockMaker:
    """Makes blocks out of ranges of paired ops that begin and end at cut points.

    Args:
        shapes: The shapes of all ranges.
        choices: Of the ops, named with the numbers of their layers left out; the same for ops that are alike.
        costing: Answers what things cost.
        steps: Executions of each phase over the whole generation.
    """

    def __init__(
        self,
        shapes: BlockShapes,
        choices: Sequence[Choice],
        costing: Costing,
        steps: Sequence[float],
    ) -> None:
        self._shapes, self._choices = shapes, choices
        self._costing, self._steps = costing, steps
        self._moves: dict[MoveForm, tuple[tuple[float, ...], ...]] = {}

    def forms(self) -> list[Hashable]:
        """Returns what tells the blocks between neighbouring cuts from others: equal forms, equal blocks."""
        ops = _numbered(self._choices)
        spans = zip(self._shapes.spans, self._shapes.numbers, strict=True)
        return [(number, *ops[start:end]) for (start, end), number in spans]

    def block(self, start: int, end: int) -> Block:
        """Returns the block of ops ``start`` to ``end``."""
        shape = self._shapes.of(start, end)
        return Block(
            name=self._choices[start].name,
            choices=tuple(self._choices[start:end]),
            flows=tuple(
                Flow(
                    f.move[1],
                    f.producer,
                    f.source,
                    f.consumers,
                    f.leaves,
                    self._move_s(f.move),
                    self._launch_s(f.move),
                )
                for f in shape.flows
            ),
            entries=shape.entries,
            exits=shape.exits,
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
                if carries and phase == len(self._steps) - 1:  # the decode
                    fixed += crossing_s(costing, a, b)
                return steps * (costing.links.transfer_s(size, a, b) + fixed)

            self._moves[form] = tuple(tuple(seconds(s, d) for d in range(3)) for s in range(3))
        return self._moves[form]


def _numbered(choices: Sequence[Choice]) -> list[int]:
    """Returns a number for each op, equal exactly for equal choices; the same ones are not compared."""
    known: dict[int, int] = {}
    alike: dict[str, list[tuple[Choice, int]]] = {}
    numbers: list[int] = []
    for choice in choices:
        number = known.get(id(choice))
        if number is None:
            others = alike.setdefault(choice.name, [])
            number = next((n for same, n in others if same == choice), len(known))
            known[id(choice)] = number
            others.append((choice, number))
        numbers.append(number)
    return numbers
