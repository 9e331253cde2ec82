"""Layers that are more alike: nothing that is summed up may grow, and what can be made alike is."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from partitioner.placement.evaluate import Chosen, breakdown
from partitioner.placement.evened import evened
from partitioner.placement.fewest_streams import fewest_streams
from partitioner.placement.problem import Block, Choice, Problem, Stage
from partitioner.placement.variant_list import Variant
from tests.partitioner.placement.problems import random_problem, split_problem

SIZES = (1.0, 1.0, 1.0, 1.0, 4.0)


def weight(size: float) -> Choice:
    """Returns a weight that stays on the GPU or is streamed, in a second for each unit."""
    home = Variant((0,), (0.1,), (size, 0.0))
    away = Variant((0,), (0.1,), (0.0, size), ((0, size),))
    return Choice(f"weight of {size:g}", (home, away))


def shared(units: int) -> Choice:
    """Returns an attention that two tiers share, the second at half the pace of the first; they take their parts in turn."""
    splits = (
        Variant((0,), (float(n + 2 * (units - n)),), (float(n), float(units - n))) for n in range(units + 1)
    )
    return Choice("attention", tuple(splits))


def layers(*choices: Choice, count: int) -> Problem:
    block = Block("layer", choices, (), (), ())
    return Problem(("gpu", "host"), (1e3, 1e3), ("decode",), (("link", 0),), (Stage(block, count),))


def random_picks(problem: Problem, seed: int) -> Chosen:
    rng = np.random.default_rng(seed)
    return tuple(
        tuple(
            tuple(int(rng.integers(len(c.variants))) for c in stage.block.choices) for _ in range(stage.count)
        )
        for stage in problem.stages
    )


def ahead(problem: Problem, chosen: Chosen) -> list[float]:
    """Returns what each layer streams, less what the chain has room for at the mean pace."""
    parts = breakdown(problem, chosen)
    pace = parts.busy_s[0] / parts.chain_s[0]
    one = replace(problem, stages=tuple(replace(stage, count=1) for stage in problem.stages))
    layer = [breakdown(one, ((picks,),)) for picks in chosen[0]]
    return [own.busy_s[0] - pace * own.chain_s[0] for own in layer]


def test_one_large_stream_takes_the_place_of_four_small_ones() -> None:
    problem = layers(*map(weight, SIZES), count=4)
    small = ((1, 1, 1, 1, 0),) * 4
    found = fewest_streams(problem, (small,))
    assert found is not None
    assert sum(map(sum, found[0])) == 4
    assert breakdown(problem, found) == breakdown(problem, (small,))
    assert fewest_streams(problem, found) is None


def test_what_cannot_be_exchanged_stays() -> None:
    problem = layers(weight(3.0), weight(2.0), count=2)
    assert fewest_streams(problem, (((1, 0), (0, 0)),)) is None
    nothing = ((0, 0), (0, 0))
    assert fewest_streams(problem, (nothing,)) is None
    assert evened(problem, (nothing,)) is None


def test_streams_are_dealt_out_beside_long_chains() -> None:
    """Of two long layers and two short ones the short ones stream."""
    ends = Choice("attention", (shared(6).variants[0], shared(6).variants[6]))
    problem = layers(ends, weight(1.0), count=4)
    chosen = (((0, 0), (0, 0), (1, 1), (1, 1)),)
    found = evened(problem, chosen)
    assert found is not None
    assert Counter(found[0]) == {(0, 1): 2, (1, 0): 2}
    assert breakdown(problem, found) == breakdown(problem, chosen)


def test_unequal_shares_trade_units() -> None:
    problem = layers(shared(6), weight(1.0), count=4)
    chosen: Chosen = (((0, 1), (6, 1), (6, 1), (0, 1)),)
    found = evened(problem, chosen)
    assert found is not None
    assert {picks[0] for picks in found[0]} == {3}
    assert breakdown(problem, found) == breakdown(problem, chosen)


def test_a_trade_does_not_lengthen_the_chain() -> None:
    """Halves of two splits together take longer here than the splits themselves, so there is no trade."""
    longer = (Variant((0,), (4.0 if n == 1 else 1.0 + 2 * n,), (float(n), 2.0 - n)) for n in range(3))
    streamed = Choice("streamed", (weight(1.0).variants[1],))
    problem = layers(Choice("attention", tuple(longer)), streamed, count=2)
    assert evened(problem, (((0, 0), (2, 0)),)) is None


@pytest.mark.parametrize("make", [random_problem, split_problem])
def test_sums_hardly_grow_whatever_is_chosen(make: Callable[[int], Problem]) -> None:
    others = nearer = 0
    for seed in range(150):
        problem = make(seed)
        chosen = random_picks(problem, seed)
        for change in (fewest_streams, evened):
            found = change(problem, chosen)
            if found is None:
                continue
            others += 1
            before, after = breakdown(problem, chosen), breakdown(problem, found)
            room = 1 + 1e-5 * 30
            assert all(a <= b for a, b in zip(after.memory_bytes, before.memory_bytes, strict=True))
            assert all(a <= b * room for a, b in zip(after.busy_s, before.busy_s, strict=True))
            for new, old, stage in zip(found, chosen, problem.stages, strict=True):
                tiers = [
                    Counter(
                        tuple(c.ran[p] for c, p in zip(stage.block.choices, picks, strict=True))
                        for picks in each
                    )
                    for each in (new, old)
                ]
                assert tiers[0] == tiers[1]
            if change is evened and len(problem.resources) == 1 and len(problem.stages) == 1:
                nearer += np.square(ahead(problem, found)).sum() <= np.square(
                    ahead(problem, chosen)
                ).sum() * (1 + 1e-9)
    assert others >= 12
    assert make is random_problem or nearer >= 5
