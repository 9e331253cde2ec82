"""Greedy placement: each op in order, on the variant after which it ends soonest, as far as memory is left."""

from __future__ import annotations

from partitioner.placement.evaluate import Chosen
from partitioner.placement.problem import Block, Problem
from partitioner.placement.variant_list import Variant


def greedy(problem: Problem) -> Chosen | None:
    """Returns the greedy placement, or None where it comes to an op for which no memory is left.

    It looks at the chain alone: seconds of the op and of bringing its operands, not at the load of links.
    """
    left = list(problem.capacities)
    live = (problem.entry_tier,) * len(problem.stages[0].block.entries)
    chosen: list[tuple[tuple[int, ...], ...]] = []
    for stage in problem.stages:
        instances: list[tuple[int, ...]] = []
        for _ in range(stage.count):
            walk = _BlockWalk(stage.block, live, left)
            if not walk.run():
                return None
            instances.append(tuple(walk.picks))
            live = walk.exits()
        chosen.append(tuple(instances))
    return tuple(chosen)


class _BlockWalk:
    """Places the ops of one block; keeps where its values are."""

    def __init__(self, block: Block, entries: tuple[int, ...], left: list[float]) -> None:
        self.picks: list[int] = []
        self._block, self._left = block, left
        self._source = [None if f.source is None else entries[f.source] for f in block.flows]
        self._moved: set[tuple[int, int]] = set()

    def run(self) -> bool:
        """Places all ops; returns whether there was memory for each."""
        for number, choice in enumerate(self._block.choices):
            fitting = [
                (self._seconds(number, variant), pick)
                for pick, variant in enumerate(choice.variants)
                if all(size <= room for size, room in zip(variant.memory, self._left, strict=True))
            ]
            if not fitting:
                return False
            self._take(number, min(fitting)[1])
        return True

    def exits(self) -> tuple[int, ...]:
        """Returns the tiers on which what leaves the block was made."""
        found = {f.leaves: src for f, src in zip(self._block.flows, self._source, strict=True)}
        return tuple(found[i] or 0 for i in range(len(self._block.exits)))

    def _seconds(self, number: int, variant: Variant) -> float:
        moves = (self._block.flows[n].move_s[src][dst] for n, src, dst in self._moves(number, variant))
        return sum(variant.seconds) + sum(moves)

    def _take(self, number: int, pick: int) -> None:
        variant = self._block.choices[number].variants[pick]
        self._moved.update((n, dst) for n, _, dst in self._moves(number, variant))
        self.picks.append(pick)
        for tier, size in enumerate(variant.memory):
            self._left[tier] -= size
        for n, flow in enumerate(self._block.flows):
            if flow.producer == number:
                self._source[n] = variant.tiers[flow.phase]

    def _moves(self, number: int, variant: Variant) -> list[tuple[int, int, int]]:
        """Returns (flow, source, target) of what has to be brought for an op."""
        found: list[tuple[int, int, int]] = []
        for n, flow in enumerate(self._block.flows):
            src, dst = self._source[n], variant.tiers[flow.phase]
            if number not in flow.consumers or src is None or dst is None or dst == src:
                continue
            if (n, dst) not in self._moved:
                found.append((n, src, dst))
        return found
