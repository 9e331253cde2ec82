"""A region is narrowed to few KV heads only where one of them cannot be told from another."""

import numpy as np
import pytest

from partitioner.jaxpr import shape_of
from partitioner.passes.infer_layout import infer_layout
from partitioner.passes.narrow_region import narrow_region, widened
from partitioner.passes.run_region import RegionRunner
from partitioner.passes.shrink_region import SmallRegion
from tests.partitioner.passes.attribute_spellings import ATTRIBUTE_SPELLINGS
from tests.partitioner.passes.near_misses import NEAR_MISSES
from tests.partitioner.passes.spellings import HEADS, SPELLINGS, Spelling
from tests.partitioner.passes.traces import decode_of, region_of

NARROW = ("scalar_cursor", "scatter_update", "select_update")


def small_of(spelling: Spelling) -> SmallRegion:
    phase, split = decode_of(spelling, 5, 13)
    return SmallRegion(region_of(spelling, 5, 13), phase, split.index)


@pytest.mark.parametrize("name", NARROW)
def test_few_heads_have_the_layout_of_all_and_make_what_these_make(name: str) -> None:
    small = small_of(SPELLINGS[name])
    narrow = narrow_region(small)
    assert narrow is not None
    assert narrow.kv_heads == HEADS
    many, few = (RegionRunner(s.region, s.phase, s.index) for s in (small, narrow))
    assert widened(infer_layout(few), HEADS) == infer_layout(many)
    given = [small.region.query, small.region.key.new, small.region.value.new]
    given += [small.region.key.before, small.region.value.before]
    generator = np.random.default_rng(0)
    arrays = [generator.standard_normal(shape_of(v), np.float32) for v in given]
    lengths = np.full(5, 4)
    num_heads = infer_layout(few).num_kv_heads

    def of_few(array: np.ndarray) -> np.ndarray:
        return np.take(array, range(num_heads), axis=array.shape.index(HEADS))

    for whole, part in zip(many(arrays, lengths), few(list(map(of_few, arrays)), lengths), strict=True):
        np.testing.assert_allclose(part, of_few(whole), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "spelling",
    [
        ATTRIBUTE_SPELLINGS["bias_by_head"],
        ATTRIBUTE_SPELLINGS["bias_with_mask"],
        NEAR_MISSES["softmax_over_heads"],
        NEAR_MISSES["values_summed_over_heads"],
        SPELLINGS["grouped_by_reshape"],
        SPELLINGS["einsum_slots_first"],
    ],
    ids=lambda spelling: spelling.attend.__name__,
)
def test_heads_that_differ_or_meet_or_are_few_or_counted_are_kept(spelling: Spelling) -> None:
    assert narrow_region(small_of(spelling)) is None
