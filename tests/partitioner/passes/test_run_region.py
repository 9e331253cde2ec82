"""A region runs on small arrays, with index inputs as a decode step has them."""

import numpy as np
import pytest

from partitioner.frontend import trace_phase
from partitioner.jaxpr import shape_of
from partitioner.passes.run_region import contraction_operand, index_inputs
from tests.partitioner.passes.spellings import SPELLINGS
from tests.partitioner.passes.traces import runner_of
from tests.partitioner.small_models import plain_function


def test_index_inputs_are_those_of_a_step_that_appends_behind_the_given_lengths() -> None:
    phase = trace_phase(plain_function(), "decode", batch_size=3, chunk=1, max_len=5)
    given = index_inputs(phase, np.array([0, 2, 4]))
    shown = {i.name: np.asarray(given[i.var]).tolist() for i in phase.inputs if i.var in given}
    assert shown == {
        "tokens": [[0], [0], [0]],
        "positions": [[0], [2], [4]],
        "mask": [
            [True, False, False, False, False],
            [True, True, True, False, False],
            [True, True, True, True, True],
        ],
        "logits_at": [0, 0, 0],
    }


def test_a_cursor_counts_the_tokens_cached() -> None:
    phase = runner_of(SPELLINGS["scalar_cursor"]).phase
    given = index_inputs(phase, np.full(3, 4))
    cursor = next(i for i in phase.inputs if i.role == "cursor")
    assert int(given[cursor.var]) == 4


def test_constants_have_their_values() -> None:
    phase = runner_of(SPELLINGS["closing_over_arrays"]).phase
    given = index_inputs(phase, np.zeros(3, np.int64))
    table = next(i for i in phase.inputs if i.role == "const")
    np.testing.assert_array_equal(given[table.var], np.tril(np.ones((64, 64), bool)))


@pytest.mark.parametrize("name", ["einsum_slots_first", "matmul_heads_first", "library_function"])
def test_a_region_appends_and_attends_in_its_own_axes(name: str) -> None:
    runner = runner_of(SPELLINGS[name])
    region = runner.region
    given = [region.query, region.key.new, region.value.new, region.key.before, region.value.before]
    arrays = [np.full(shape_of(v), n, np.float32) for n, v in enumerate(given)]
    lengths = np.array([0, 3, 6])
    output, keys, values = runner(arrays, lengths)
    slots = 2 if name == "matmul_heads_first" else 1
    for row, length in enumerate(lengths):
        assert (np.take(keys[row], length, slots - 1) == 1).all()
        assert (np.take(values[row], length, slots - 1) == 2).all()
        others = [s for s in range(7) if s != length]
        assert (np.take(keys[row], others, slots - 1) == 3).all()
        assert (np.take(values[row], others, slots - 1) == 4).all()
    # old values are 4 and the new one is 2: with q = 0 row 0 sees the new one alone, row 1 three old ones too
    assert (output[0] == 2).all()
    np.testing.assert_allclose(output[1], 3.5, rtol=1e-3)
    assert {a.dtype for a in (output, keys, values)} == {np.dtype("float32")}


def test_the_operand_of_a_contraction_is_the_cache_as_viewed() -> None:
    use = runner_of(SPELLINGS["grouped_by_repeat"]).region.key
    cache = np.arange(3 * 7 * 2 * 8, dtype=np.float32).reshape(3, 7, 2, 8) % 128
    np.testing.assert_array_equal(contraction_operand(use, cache), np.repeat(cache, 3, axis=2))


def test_a_cache_that_is_only_converted_is_its_own_operand() -> None:
    use = runner_of(SPELLINGS["library_function"]).region.key
    cache = np.ones(shape_of(use.before), np.float32)
    assert contraction_operand(use, cache) is cache or np.array_equal(contraction_operand(use, cache), cache)
