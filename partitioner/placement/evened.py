"""A solved placement with equal sums whose layers are more alike: each streams about as much as runs beside its streams.

The account adds up all layers, so it does not mind whether one attention is nearly all the GPU's and another nearly all the
drives', nor which layer's weights are streamed; the schedule does, since streams run ahead only as far as there are buffers. Of
instances that run on the same tiers, two trade what they have of one choice where the sums stay (one split for another nearer
to the mean), and what all have of that choice is then dealt out anew beside what they have of the others. Before that, streams
are made few (see ``fewest_streams``).

Letters in the shapes: V variants, D components of a cost vector (``components``).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.components import first_tier_component, variant_vectors
from partitioner.placement.distinct_rows import row_bytes
from partitioner.placement.evaluate import Chosen, breakdown
from partitioner.placement.fewest_streams import fewest_streams, groups
from partitioner.placement.paced_order import Picks, busiest_streams
from partitioner.placement.problem import Block, Choice, Problem

Floats = NDArray[np.float64]

MOST_TRADES = 30
"""Kinds of trades of one choice."""
SMALL = 1e-5
"""Relative amount by which a trade may add to a sum of seconds: units are whole, so halves of two splits are not equal."""
WORTH = 1e-6
"""Part of the largest unevenness by which a trade makes variants more alike at least."""


class _Trade(NamedTuple):
    """Gives two variants of a choice for two others; the gain is what the squares of distances from the mean lose."""

    gain: float
    given: tuple[int, int]
    taken: tuple[int, int]


class _Measure(NamedTuple):
    """Names the components of cost vectors that layers are to have alike, and where bytes begin."""

    chain: int
    load: int
    first_byte: int


def evened(problem: Problem, chosen: Chosen) -> Chosen | None:
    """Returns a placement whose layers are more alike, or None where nothing can be evened out.

    No tier keeps more bytes, and sums of seconds hardly grow. The busiest stream of the last phase that has one counts.
    """
    streams = busiest_streams(problem, breakdown(problem, chosen).busy_s)
    if not streams:
        return None
    stream = max(streams, key=lambda number: problem.resources[number][1])
    load = len(problem.phases) + stream
    measure = _Measure(problem.resources[stream][1], load, first_tier_component(problem))
    start = fewest_streams(problem, chosen) or chosen
    instances = [list(stage) for stage in start]
    for group in groups(problem, start):
        held = [start[group.stage][member] for member in group.members]
        dealt = _dealt(problem, problem.stages[group.stage].block, held, measure)
        for member, picks in zip(group.members, dealt, strict=True):
            instances[group.stage][member] = picks
    alike = all(Counter(new) == Counter(old) for new, old in zip(instances, chosen, strict=True))
    return None if alike else tuple(map(tuple, instances))


def _dealt(problem: Problem, block: Block, instances: Sequence[Picks], measure: _Measure) -> list[Picks]:
    """Returns picks for as many instances, dealt out so that each one's stream is about what its chain has room for."""
    vectors = [variant_vectors(problem, choice) for choice in block.choices]
    hands = [
        _traded(choice, own, hand, measure)
        for choice, own, hand in zip(block.choices, vectors, zip(*instances, strict=True), strict=True)
    ]
    held = [own[list(hand)] for own, hand in zip(vectors, hands, strict=True)]
    total = np.sum([own.sum(axis=0) for own in held], axis=0)
    pace = total[measure.load] / total[measure.chain] if total[measure.chain] else 0.0
    ahead = [own[:, measure.load] - pace * own[:, measure.chain] for own in held]
    dealt = np.zeros((len(instances), len(hands)), np.int64)
    sums = np.zeros(len(instances))
    for number in sorted(range(len(hands)), key=lambda n: -float(np.ptp(ahead[n]))):
        places, order = np.argsort(-sums, kind="stable"), np.argsort(ahead[number], kind="stable")
        dealt[places, number] = np.array(hands[number])[order]
        sums[places] += ahead[number][order]
    return [tuple(row) for row in dealt.tolist()]


def _traded(choice: Choice, vectors: Floats, hand: tuple[int, ...], measure: _Measure) -> tuple[int, ...]:
    """Returns variants of one choice with the same bytes, whose seconds in the chain are closer to each other."""
    if len(set(hand)) < 2:
        return hand
    way = choice.ran[hand[0]]
    offered = [n for n, ran in enumerate(choice.ran) if ran == way]
    own, sums = vectors[offered], vectors[list(hand)].sum(axis=0)
    uneven = (own[:, measure.chain] - sums[measure.chain] / len(hand)) ** 2
    place = {n: at for at, n in enumerate(offered)}
    counted = Counter(place[pick] for pick in hand)
    for _ in range(MOST_TRADES):
        trades = _trades(own, SMALL * sums, sorted(counted), uneven, measure.first_byte)
        best = max(trades, key=lambda trade: trade.gain, default=None)
        if best is None:
            break
        times = min(counted[n] for n in best.given)
        counted.subtract(dict.fromkeys(best.given, times))
        for n in best.taken:
            counted[n] += times
        counted = +counted
    return tuple(offered[n] for n in sorted(counted) for _ in range(counted[n]))


def _trades(
    own: Floats, room: Floats, used: Sequence[int], uneven: Floats, first_byte: int
) -> Iterator[_Trade]:
    """Yields for each two variants in use the best trade, if one is worth it.

    Args:
        own: [V D] the vectors of the variants.
        room: [D] how much more of each component two variants may have than the two they are taken for, bytes left aside.
        used: Variants in use.
        uneven: [V] what each variant counts.
        first_byte: The component at which bytes begin.
    """
    memory = np.rint(own[:, first_byte:]) + 0.0
    index = {row: n for n, row in reversed(list(enumerate(row_bytes(memory))))}
    room = np.where(np.arange(len(room)) < first_byte, room, 0.0)
    for first, second in itertools.combinations(used, 2):
        rest = row_bytes(memory[first] + memory[second] - memory)
        partner = np.array([index.get(row, -1) for row in rest], np.int64)
        taken = np.flatnonzero(partner >= 0)
        fits = (own[taken] + own[partner[taken]] <= own[first] + own[second] + room).all(axis=1)
        taken = taken[fits]
        gain = uneven[first] + uneven[second] - uneven[taken] - uneven[partner[taken]]
        if len(gain) and gain.max() > WORTH * uneven.max():
            best = int(gain.argmax())
            pair = int(taken[best]), int(partner[taken[best]])
            yield _Trade(float(gain[best]), (first, second), pair)
