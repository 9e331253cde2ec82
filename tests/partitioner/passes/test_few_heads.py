"""One head stands for all where equations treat them alike, and for none where they tell them apart."""

import numpy as np
import pytest

from partitioner.jaxpr import shape_of
from partitioner.passes.few_heads import few_heads
from partitioner.passes.run_weights import WeightsPart, WeightsRunner, weights_part
from tests.partitioner.passes.attribute_spellings import ATTRIBUTE_SPELLINGS
from tests.partitioner.passes.near_misses import NEAR_MISSES
from tests.partitioner.passes.spellings import SPELLINGS, Spelling
from tests.partitioner.passes.traces import decode_of, region_of

ALIKE = {
    **{name: SPELLINGS[name] for name in ("einsum_slots_first", "grouped_by_reshape", "additive_mask")},
    **{name: ATTRIBUTE_SPELLINGS[name] for name in ("capped_window", "fixed_bias")},
}
BY_HEAD = {name: ATTRIBUTE_SPELLINGS[name] for name in ("bias_by_head", "bias_with_mask", "bias_in_groups")}


def part_of(spelling: Spelling) -> WeightsPart:
    phase, split = decode_of(spelling, 5, 64)
    return weights_part(region_of(spelling, 5, 64), phase, split.index)


@pytest.mark.parametrize("name", ALIKE)
@pytest.mark.parametrize("position", [0, 31, 63])
def test_one_head_weighs_as_every_head_does(name: str, position: int) -> None:
    whole = part_of(ALIKE[name])
    part = few_heads(whole)
    assert sorted(n for n in shape_of(part.product) if n > 1) == [5, 64]
    products = np.random.default_rng(0).standard_normal(64)
    few, every = (WeightsRunner(p)(products, position) for p in (part, whole))
    assert len(every) == len(few) * 6
    np.testing.assert_allclose(np.repeat(few, 6, axis=0), every, rtol=1e-6)  # sums may go in another order


@pytest.mark.parametrize("name", BY_HEAD)
def test_heads_with_slopes_of_their_own_are_kept(name: str) -> None:
    part = part_of(BY_HEAD[name])
    assert few_heads(part) is part


def test_heads_that_are_summed_over_are_kept() -> None:
    part = part_of(NEAR_MISSES["softmax_over_heads"])
    assert few_heads(part) is part
