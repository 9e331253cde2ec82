"""What a placement costs, counted straight from the problem's definition and independent of how it was found.

Sums are correctly rounded (``math.fsum``), so the order of blocks and choices cannot change a result, and sums of whole bytes
are exact.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from partitioner.placement.problem import Block, Problem

Chosen = tuple[tuple[tuple[int, ...], ...], ...]
"""For each stage, each instance, each choice of the block: the variant's index."""


@dataclass(frozen=True)
class Breakdown:
    """Holds the parts of the objective.

    Attributes:
        chain_s: For each phase the seconds of ops and moves one after the other.
        busy_s: For each resource its load in seconds.
        memory_bytes: For each tier the resident bytes, and behind these the further sums that are limited.
        phase_s: For each phase its time: the longest of its chain and its resources' loads.
    """

    chain_s: tuple[float, ...]
    busy_s: tuple[float, ...]
    memory_bytes: tuple[float, ...]
    phase_s: tuple[float, ...]

    @property
    def objective_s(self) -> float:
        """Returns the seconds of all phases together."""
        return math.fsum(self.phase_s)

    def shortfall(self, capacities: tuple[float, ...]) -> tuple[float, ...]:
        """Returns for each tier the bytes by which it is too small, and by how much further sums are above their limits."""
        pairs = zip(self.memory_bytes, capacities, strict=True)
        return tuple(max(0.0, used - capacity) for used, capacity in pairs)


def evaluate(problem: Problem, chosen: Chosen) -> float:
    """Returns the objective of a placement in seconds; capacities are not looked at.

    Raises:
        ValueError: ``chosen`` does not have the problem's shape.
    """
    return breakdown(problem, chosen).objective_s


def breakdown(problem: Problem, chosen: Chosen) -> Breakdown:
    """Returns chain, load and memory of a placement.

    Raises:
        ValueError: ``chosen`` does not have the problem's shape.
    """
    _check_shape(problem, chosen)
    chain: list[list[float]] = [[] for _ in problem.phases]
    busy: list[list[float]] = [[] for _ in problem.resources]
    memory: list[list[float]] = [[] for _ in problem.capacities]
    live = (problem.entry_tier,) * len(problem.stages[0].block.entries)
    for stage, instances in zip(problem.stages, chosen, strict=True):
        times: Counter[tuple[int, int]] = Counter()  # how often a choice takes a variant
        walked: dict[tuple[object, ...], tuple[list[tuple[int, float]], tuple[int, ...]]] = {}
        for picks in instances:
            times.update(enumerate(picks))
            if (picks, live) not in walked:
                walked[picks, live] = _moves(stage.block, picks, live)
            moves, live = walked[picks, live]
            for phase, seconds in moves:
                chain[phase].append(seconds)
        for (choice, pick), count in times.items():
            variant = stage.block.choices[choice].variants[pick]
            for terms, seconds in zip(chain, variant.seconds, strict=True):
                terms.extend([seconds] * count)
            for terms, size in zip(memory, variant.memory, strict=False):
                terms.extend([size] * count)
            for resource, seconds in variant.busy:
                busy[resource].extend([seconds] * count)
    chain_s = tuple(math.fsum(terms) for terms in chain)
    busy_s = tuple(math.fsum(terms) for terms in busy)
    loads = [[chain_s[phase]] for phase in range(len(chain_s))]
    for (_, phase), seconds in zip(problem.resources, busy_s, strict=True):
        loads[phase].append(seconds)
    memory_bytes = tuple(math.fsum(terms) for terms in memory)
    return Breakdown(chain_s, busy_s, memory_bytes, tuple(max(load) for load in loads))


def _moves(
    block: Block, picks: tuple[int, ...], entries: tuple[int, ...]
) -> tuple[list[tuple[int, float]], tuple[int, ...]]:
    """Returns (phase, seconds) of each move inside one block, and the tiers where its exits were produced."""
    moves: list[tuple[int, float]] = []
    exits = [0] * len(block.exits)
    for flow in block.flows:
        if flow.source is not None:
            src = entries[flow.source]
        else:
            assert flow.producer is not None, "a flow has a producer or a source"
            src = _tier(block, picks, flow.producer, flow.phase)
            assert src is not None, "a producer runs in the phase of its flow"
        consuming = {_tier(block, picks, consumer, flow.phase) for consumer in flow.consumers}
        moves.extend(
            (flow.phase, flow.move_s[src][dst]) for dst in consuming if dst is not None and dst != src
        )
        if flow.leaves is not None:
            exits[flow.leaves] = src
    return moves, tuple(exits)


def _tier(block: Block, picks: tuple[int, ...], choice: int, phase: int) -> int | None:
    return block.choices[choice].variants[picks[choice]].tiers[phase]


def _check_shape(problem: Problem, chosen: Chosen) -> None:
    if len(chosen) != len(problem.stages):
        raise ValueError(f"expected choices for {len(problem.stages)} stages, got {len(chosen)}")
    for stage, instances in zip(problem.stages, chosen, strict=True):
        block = stage.block
        if len(instances) != stage.count:
            raise ValueError(
                f"block {block.name!r} is repeated {stage.count} times, got {len(instances)} instances"
            )
        for picks in dict.fromkeys(instances):
            if len(picks) != len(block.choices):
                raise ValueError(
                    f"block {block.name!r} has {len(block.choices)} choices, got {len(picks)} picks"
                )
            for choice, pick in zip(block.choices, picks, strict=True):
                if not 0 <= pick < len(choice.variants):
                    raise ValueError(
                        f"choice {choice.name!r} of block {block.name!r} has variants "
                        f"0 to {len(choice.variants) - 1}, got {pick}"
                    )
