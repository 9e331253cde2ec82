"""Another order of the same picks: nothing but moves may change, and streams are spread over the chain."""

from collections import Counter
from itertools import accumulate, chain

import numpy as np
import pytest

from partitioner.placement.evaluate import breakdown
from partitioner.placement.paced_order import paced_order
from partitioner.placement.problem import Block, Choice, Flow, Problem, Stage
from partitioner.placement.variant_list import Variant
from tests.partitioner.placement.problems import random_problem

MOVE_S = 0.01


def two_tiers(num_streamed: int, num_held: int) -> Problem:
    """Returns alike layers that either run at once and stream 2 s on the GPU, or run 3 s on the host."""
    streams = Variant((0,), (1.0,), (0.0, 0.0), ((0, 2.0),))
    stays = Variant((1,), (3.0,), (0.0, 1.0))
    flow = Flow(0, None, 0, (0,), None, ((0.0, MOVE_S), (MOVE_S, 0.0)))
    leaves = Flow(0, 0, None, (), 0, ((0.0, MOVE_S), (MOVE_S, 0.0)))
    block = Block("layer", (Choice("op", (streams, stays)),), (flow, leaves), (0,), (0,))
    layers = Stage(block, num_streamed + num_held)
    return Problem(("gpu", "host"), (1.0, float(num_held)), ("decode",), (("link", 0),), (layers,))


@pytest.mark.parametrize(("num_streamed", "num_held"), [(5, 5), (8, 4), (3, 9), (11, 1)])
def test_layers_of_different_tiers_take_turns(num_streamed: int, num_held: int) -> None:
    problem = two_tiers(num_streamed, num_held)
    apart = (((0,),) * num_streamed + ((1,),) * num_held,)
    found = paced_order(problem, apart)
    assert found is not None
    picks = list(chain.from_iterable(found[0]))
    assert Counter(picks) == {0: num_streamed, 1: num_held}
    passed, streamed = accumulate((1.0, 3.0)[p] for p in picks), accumulate((2.0, 0.0)[p] for p in picks)
    pace = 2.0 * num_streamed / (num_streamed + 3.0 * num_held)
    most = max(2.0 - pace, 3.0 * pace)
    assert all(abs(s - pace * t) <= most for t, s in zip(passed, streamed, strict=True))
    turns = sum(a != b for a, b in zip([0, *picks], picks, strict=False))
    assert breakdown(problem, found).chain_s[0] == pytest.approx(num_streamed + 3 * num_held + MOVE_S * turns)


def test_an_order_that_keeps_pace_stays() -> None:
    problem = two_tiers(3, 3)
    found = paced_order(problem, (((0,),) * 3 + ((1,),) * 3,))
    assert found is not None
    assert paced_order(problem, found) is None


def test_without_streams_there_is_no_other_order() -> None:
    problem = two_tiers(2, 2)
    assert paced_order(problem, (((1,),) * 4,)) is None


def test_nothing_but_moves_changes() -> None:
    """Whatever is chosen, bytes and loads stay, and what cannot be spread better is left alone."""
    others = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        problem = random_problem(seed)
        chosen = tuple(
            tuple(
                tuple(int(rng.integers(len(c.variants))) for c in stage.block.choices)
                for _ in range(stage.count)
            )
            for stage in problem.stages
        )
        found = paced_order(problem, chosen)
        if found is None:
            continue
        others += 1
        assert [Counter(stage) for stage in found] == [Counter(stage) for stage in chosen]
        before, after = breakdown(problem, chosen), breakdown(problem, found)
        assert (after.memory_bytes, after.busy_s) == (before.memory_bytes, before.busy_s)
        assert paced_order(problem, found) is None
    assert others >= 40
