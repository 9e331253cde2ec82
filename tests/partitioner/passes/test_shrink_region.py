"""A region rewritten to small sizes is the region that a small step traces to."""

from collections.abc import Iterable

import numpy as np
import pytest

from partitioner.jaxpr import Eqn, Literal, borders, dtype_of, is_literal, shape_of
from partitioner.passes.run_region import RegionRunner
from partitioner.passes.shrink_region import SmallRegion, as_small_region, shrink_region
from tests.partitioner.passes.spellings import HEAD_SIZE, HEADS, SPELLINGS, Spelling
from tests.partitioner.passes.traces import decode_of, region_of, runner_of, show_equations

SHRINKABLE = [n for n in SPELLINGS if n != "closing_over_arrays"]


def shrunk(spelling: Spelling, batch: int, length: int) -> SmallRegion | None:
    phase, split = decode_of(spelling, batch, length)
    return shrink_region(region_of(spelling, batch, length), phase, split.index, 3, 7)


@pytest.mark.parametrize("name", SHRINKABLE)
def test_a_shrunk_region_has_the_equations_of_a_small_trace(name: str) -> None:
    small = shrunk(SPELLINGS[name], 64, 4096)
    assert small is not None
    twin = region_of(SPELLINGS[name], 3, 7)
    assert show_equations(small.region.equations) == show_equations(twin.equations)
    for use, other in ((small.region.key, twin.key), (small.region.value, twin.value)):
        assert (use.name, use.operand) == (other.name, other.operand)
        for part in ("before", "after", "new"):
            assert shape_of(getattr(use, part)) == shape_of(getattr(other, part))
    assert shape_of(small.region.query) == shape_of(twin.query)
    assert shape_of(small.region.output) == shape_of(twin.output)


@pytest.mark.parametrize("name", ["einsum_slots_first", "library_function", "scalar_cursor", "select_update"])
def test_a_shrunk_region_computes_what_a_small_trace_computes(name: str) -> None:
    small = shrunk(SPELLINGS[name], 64, 4096)
    assert small is not None
    region = small.region
    generator = np.random.default_rng(1)
    given = [region.query, region.key.new, region.value.new, region.key.before, region.value.before]
    arrays = [generator.standard_normal(shape_of(v)).astype(np.float32) for v in given]
    lengths = np.full(3, 4)
    runner = RegionRunner(region, small.phase, small.index)
    for got, want in zip(runner(arrays, lengths), runner_of(SPELLINGS[name])(arrays, lengths), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", SHRINKABLE)
def test_a_shrunk_region_needs_nothing_beyond_its_phase(name: str) -> None:
    small = shrunk(SPELLINGS[name], 64, 4096)
    assert small is not None
    region, phase = small.region, small.phase
    assert (phase.batch_size, phase.max_len) == (3, 7)
    given = {region.query, region.key.new, region.value.new, region.key.before, region.value.before}
    read = set(borders([*small.index, *region.equations])) - given
    assert read == {i.var for i in phase.inputs} - given
    assert {64, 4096}.isdisjoint(d for e in region.equations for v in e.outvars for d in shape_of(v))


def literals(equations: Iterable[Eqn]) -> set[int]:
    atoms = [a for e in equations for a in e.invars if is_literal(a) and dtype_of(a).kind == "i"]
    return {int(a.val) for a in atoms if isinstance(a, Literal)}


def test_sizes_that_are_written_as_numbers_are_replaced_too() -> None:
    """A position below zero counts from the end, to which the number of slots is added."""
    spelling = SPELLINGS["scatter_update"]
    small = shrunk(spelling, 64, 4096)
    assert small is not None
    assert 4096 in literals(decode_of(spelling, 64, 4096)[1].index)
    assert {64, 4096}.isdisjoint(literals([*small.index, *small.region.equations]))
    assert 7 in literals(small.index)


@pytest.mark.parametrize(
    ("batch", "length"),
    [(64, 64), (HEADS, 4096), (HEAD_SIZE, 4096), (64, HEAD_SIZE), (64, HEADS), (1, 4096), (4096, 1)],
)
def test_sizes_that_equal_another_are_not_shrunk(batch: int, length: int) -> None:
    assert shrunk(SPELLINGS["einsum_slots_first"], batch, length) is None


@pytest.mark.parametrize(("batch", "length"), [(HEADS, 7), (3, HEAD_SIZE)])
def test_a_region_is_not_shrunk_to_a_size_it_has(batch: int, length: int) -> None:
    spelling = SPELLINGS["einsum_slots_first"]
    phase, split = decode_of(spelling, 64, 4096)
    region = region_of(spelling, 64, 4096)
    assert shrink_region(region, phase, split.index, batch, length) is None


def test_a_small_region_is_taken_as_it_is() -> None:
    spelling = SPELLINGS["einsum_slots_first"]
    phase, split = decode_of(spelling, 2, 64)
    small = as_small_region(region_of(spelling, 2, 64), phase, split.index)
    assert small is not None
    assert small.phase is phase
    assert set(small.index) < set(split.index)


@pytest.mark.parametrize(("batch", "length"), [(64, 4096), (8, 8), (2, 2), (2, HEAD_SIZE)])
def test_a_large_or_ambiguous_region_is_not_taken_as_it_is(batch: int, length: int) -> None:
    spelling = SPELLINGS["einsum_slots_first"]
    phase, split = decode_of(spelling, batch, length)
    assert as_small_region(region_of(spelling, batch, length), phase, split.index) is None
