"""A solved placement with the same sums and fewer streams: one large weight is streamed rather than four small ones.

Sums leave open which weights stay at home. Each stream waits for a buffer and is waited for, so the schedule does better with
few of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.components import first_tier_component, variant_vectors
from partitioner.placement.evaluate import Chosen, breakdown
from partitioner.placement.highs import SolverError, integer_program
from partitioner.placement.paced_order import busiest_streams
from partitioner.placement.problem import Block, Problem
from partitioner.placement.variant_list import Way

FEW_VARIANTS = 50
"""Choices with more variants stay as they are: shares of attentions, which stream nothing."""
SMALL = 1e-9
"""Relative amount by which sums of seconds may seem larger: they are added up in another order."""
MAX_NODES = 200
"""Nodes of the search tree; at the limit what was found counts."""


class Group(NamedTuple):
    """Names the instances of a stage that run on the same tiers.

    Attributes:
        stage: The stage.
        members: The instances.
        ways: Where each choice runs.
    """

    stage: int
    members: tuple[int, ...]
    ways: tuple[Way, ...]


class _Hand(NamedTuple):
    """Holds what the instances of a group may have of one choice.

    Attributes:
        group: The group.
        choice: The choice.
        offered: Its variants that run where they run.
        vectors: ``[offered, D]``: their cost vectors.
        now: ``[offered]``: how many instances have each.
    """

    group: Group
    choice: int
    offered: tuple[int, ...]
    vectors: NDArray[np.float64]
    now: NDArray[np.float64]


def groups(problem: Problem, chosen: Chosen) -> Iterator[Group]:
    """Yields the instances of each stage that run on the same tiers."""
    for stage, (known, instances) in enumerate(zip(problem.stages, chosen, strict=True)):
        together: dict[tuple[Way, ...], list[int]] = {}
        for member, picks in enumerate(instances):
            together.setdefault(_ways(known.block, picks), []).append(member)
        yield from (Group(stage, tuple(members), ways) for ways, members in together.items())


def fewest_streams(problem: Problem, chosen: Chosen) -> Chosen | None:
    """Returns a placement with no larger sums and fewer streams, or None where there is none.

    Every instance stays on its tiers, so that moves are the same. The busiest stream of each phase counts.
    """
    hands = list(_hands(problem, chosen))
    streams = [len(problem.phases) + n for n in busiest_streams(problem, breakdown(problem, chosen).busy_s)]
    if not hands or not streams:
        return None
    vectors = np.concatenate([hand.vectors for hand in hands])
    now = np.concatenate([hand.now for hand in hands])
    cost = (vectors[:, streams] > 0.0).sum(axis=1).astype(np.float64)
    seconds = np.arange(vectors.shape[1]) < first_tier_component(problem)
    counts = _fewest(vectors, now, cost, np.where(seconds, SMALL, 0.0), [len(hand.offered) for hand in hands])
    if counts is None or cost @ counts >= cost @ now - 0.5:
        return None
    instances = [[list(picks) for picks in stage] for stage in chosen]
    first = 0
    for hand in hands:
        own = counts[first : first + len(hand.offered)]
        first += len(hand.offered)
        picks = [n for n, count in zip(hand.offered, own.tolist(), strict=True) for _ in range(count)]
        for member, pick in zip(hand.group.members, picks, strict=True):
            instances[hand.group.stage][member][hand.choice] = pick
    return tuple(tuple(tuple(picks) for picks in stage) for stage in instances)


def _fewest(
    vectors: NDArray[np.float64],
    now: NDArray[np.float64],
    cost: NDArray[np.float64],
    room: NDArray[np.float64],
    sizes: Sequence[int],
) -> NDArray[np.int64] | None:
    """Returns how many instances are to have each variant, with no larger sums but for room [D]; None where none is found."""
    sums = now @ vectors
    scale = np.where(sums > 0.0, sums, 1.0)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    belongs = (owner == np.arange(len(sizes))[:, None]).astype(np.float64)
    members = belongs @ now
    try:
        result = integer_program(
            cost,
            np.ones(len(cost)),
            (np.zeros(len(cost)), members[owner]),
            [([vectors.T / scale[:, None]], -np.inf, sums / scale), ([belongs], members, members)],
            max_nodes=MAX_NODES,
        )
    except SolverError:
        return None
    if result.x is None:
        return None
    counts = np.rint(result.x)
    exact = np.array_equal(belongs @ counts, members)
    fits = (counts @ vectors <= sums * (1 + room)).all()
    return counts.astype(np.int64) if exact and fits else None


def _hands(problem: Problem, chosen: Chosen) -> Iterator[_Hand]:
    """Yields what may be dealt out anew."""
    for group in groups(problem, chosen):
        block = problem.stages[group.stage].block
        for number, (choice, way) in enumerate(zip(block.choices, group.ways, strict=True)):
            offered = tuple(n for n, ran in enumerate(choice.ran) if ran == way)
            if 1 < len(offered) <= FEW_VARIANTS:
                held = [chosen[group.stage][member][number] for member in group.members]
                now = np.array([float(held.count(n)) for n in offered])
                yield _Hand(group, number, offered, variant_vectors(problem, choice)[list(offered)], now)


def _ways(block: Block, picks: Sequence[int]) -> tuple[Way, ...]:
    return tuple([choice.ran[pick] for choice, pick in zip(block.choices, picks, strict=True)])
