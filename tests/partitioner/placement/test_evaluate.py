"""The cost of a placement, on a problem that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from partitioner.placement.evaluate import Chosen, breakdown, evaluate
from partitioner.placement.problem import Solution
from partitioner.placement.variant_list import Variant
from tests.partitioner.placement.by_hand import BUSY, HEAVY, LAYER, MOVES, TWO_LAYERS

FIRST, THEN = (0, 1), (1, 0)
"""A layer with its heavy op on the GPU and its busy op on the host, and one the other way round."""


def test_moves_are_paid_where_a_value_is_consumed_on_another_tier() -> None:
    parts = breakdown(TWO_LAYERS, ((FIRST, THEN),))
    assert parts.chain_s == ((1 + 0.5 + 2) + (3 + 0.25 + 1),)
    assert parts.busy_s == (5.0,)
    assert parts.memory_bytes == (4.0, 4.0)
    assert parts.phase_s == parts.chain_s


def test_a_block_begins_where_the_one_before_it_ended() -> None:
    assert evaluate(TWO_LAYERS, ((THEN, FIRST),)) == (0.5 + 3 + 0.25 + 1) + (1 + 0.5 + 2)


def test_a_busy_link_takes_longer_than_the_chain() -> None:
    parts = breakdown(TWO_LAYERS, (((0, 0), (0, 0)),))
    assert parts.chain_s == (4.0,)
    assert parts.objective_s == 10.0


def test_what_exceeds_the_capacities_falls_short() -> None:
    parts = breakdown(TWO_LAYERS, (((0, 0), (0, 0)),))
    assert parts.shortfall(TWO_LAYERS.capacities) == (4.0, 0.0)


def test_several_consumers_on_a_tier_share_one_move() -> None:
    value = replace(LAYER.flows[0], consumers=(0, 1))
    block = replace(LAYER, flows=(value, *LAYER.flows[1:]))
    both_on_the_host = (((1, 1),),)
    stage = replace(TWO_LAYERS.stages[0], block=block, count=1)
    assert evaluate(replace(TWO_LAYERS, stages=(stage,)), both_on_the_host) == MOVES[0][1] + 3 + 2


def test_an_op_that_does_not_occur_in_a_phase_consumes_nothing() -> None:
    idle = replace(BUSY, variants=(Variant((None,), (0.0,), (0.0, 0.0)),))
    block = replace(LAYER, choices=(HEAVY, idle, BUSY), flows=(LAYER.flows[0], LAYER.flows[1]), exits=())
    stage = replace(TWO_LAYERS.stages[0], block=block, count=1)
    assert evaluate(replace(TWO_LAYERS, stages=(stage,)), (((0, 0, 1),),)) == 1 + 2


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ((), "expected choices for 1 stages, got 0"),
        (((FIRST,),), "block 'layer' is repeated 2 times, got 1 instances"),
        (((FIRST, (0,)),), "block 'layer' has 2 choices, got 1 picks"),
        (((FIRST, (0, 2)),), "choice 'busy' of block 'layer' has variants 0 to 1, got 2"),
        (((FIRST, (-1, 0)),), "choice 'heavy' of block 'layer' has variants 0 to 1, got -1"),
    ],
)
def test_a_placement_of_another_shape_is_refused(chosen: Chosen, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(TWO_LAYERS, chosen)


def test_the_gap_is_relative_to_the_objective() -> None:
    assert Solution((), 4.0, 3.0, "").gap == 0.25
    assert Solution((), 4.0, 5.0, "").gap == 0.0
    assert Solution((), 0.0, 0.0, "").gap == 0.0


@pytest.mark.parametrize("number", [-1.0, float("nan"), float("inf")])
def test_a_variant_takes_finite_seconds_and_bytes(number: float) -> None:
    with pytest.raises(ValueError, match="must be finite and not negative"):
        Variant((0,), (number,), (0.0,))
    with pytest.raises(ValueError, match="must be finite and not negative"):
        Variant((0,), (0.0,), (number,))
    with pytest.raises(ValueError, match="must be finite and not negative"):
        Variant((0,), (0.0,), (0.0,), ((0, number),))


def test_a_variant_has_one_time_for_each_phase() -> None:
    with pytest.raises(ValueError, match="one tier and one time per phase"):
        Variant((0, 0), (1.0,), (0.0,))
